"""Models that seem to keep rows apart, and mix them in some runs: nothing is proven of them."""

import numpy as np
import onnx
import pytest
from onnx import numpy_helper, parser

from kernelport_workers.row_proof import Verdict, prove

# Stretches of elements that only the sizes under test keep from spreading over two rows.
_TAIL = "t = Concat<axis = 0>(rest, h) r = Reshape(p, t) y = Slice(r, zero, n, zero)"
_CONSTANTS = "int64[1] zero = {0}, int64[1] one = {1}, int64[1] two = {2}, int64[1] four = {4}, int64[1] rest = {-1}"
# Rows stand last; a stretch of `d` elements is 4 long only if `delta` is 0.
_STRETCH = "d = Add(four, delta) t = Concat<axis = 0>(d, rest) r = Reshape(x, t) q = Softmax<axis = 0>(r) s = Shape(x) "
_STRETCH += "y = Reshape(q, s)"
_TO_FLOAT, _TO_INT32, _TO_INT64 = "Cast<to = 1>", "Cast<to = 6>", "Cast<to = 7>"


def _model(graph: str, opset: int = 21) -> onnx.ModelProto:
    return parser.parse_model(f'<ir_version: 8, opset_import: ["" : {opset}]> {graph}')


def _by_size(steps: str, constants: str) -> str:
    return f"""g (float[12, N] x, float[N, S] k) => (float[12, N] y) <{_CONSTANTS}, {constants}> {{
        size = Shape<start = 1>(k) {steps} {_STRETCH} }}"""


@pytest.mark.parametrize(
    "graph",
    [
        pytest.param(
            f"""g (float[N, 2, T] x) => (float[N, 2, H] y) <{_CONSTANTS}> {{
            p = MaxPool<kernel_shape = [2], strides = [2], auto_pad = "SAME_UPPER">(x)
            n = Shape<end = 1>(x) c = Shape<start = 1, end = 2>(x) w = Shape<start = 2>(x) half = Div(w, two)
            h = Concat<axis = 0>(c, half) {_TAIL} }}""",
            id="half of a size rounded up, and rounded down",
        ),
        pytest.param(
            f"""g (float[N, 2, T] x) => (float[N, 2, H] y) <{_CONSTANTS}> {{
            p = MaxPool<kernel_shape = [2], strides = [3], pads = [1, 0], ceil_mode = 1>(x)
            o = MaxPool<kernel_shape = [2], strides = [3], pads = [0, 1], ceil_mode = 1>(x)
            n = Shape<end = 1>(x) h = Shape<start = 1>(o) {_TAIL} }}""",
            id="windows rounded up, of pads before and after",
        ),
        pytest.param(
            f"""g (float[N, T] x) => (float[N, H] y) <{_CONSTANTS}, int64 trips = {{1}}, bool go = {{1}}> {{
            p, seen = Loop(trips, go, x) <body = b (int64 i, bool c, float[N, A] s)
                => (bool d, float[N, B] after, float[N, A] out)
                {{ d = Identity(c) after = Concat<axis = 1>(s, s) out = Identity(s) }}>
            n = Shape<end = 1>(x) h = Shape<start = 2>(seen) {_TAIL} }}""",
            id="a state before a pass of a loop, and after the last",
        ),
        pytest.param(
            f"""g (float[N, T] x) => (float[N, H] y) <{_CONSTANTS}, float[3] steps = {{0, 0, 0}}> {{
            p, seen = Scan<num_scan_inputs = 1, body = b (float[N, A] s, float step)
                => (float[N, B] after, float[N, A] out)
                {{ after = Concat<axis = 1>(s, s) out = Identity(s) }}>(x, steps)
            n = Shape<end = 1>(x) h = Shape<start = 2>(seen) {_TAIL} }}""",
            id="a state before a pass of a scan, and after the last",
        ),
        pytest.param(
            _by_size(
                "a = Sub(size, ten) b = Mod(a, four) c = Mod<fmod = 1>(a, four) delta = Sub(b, c)", "int64[1] ten={10}"
            ),
            id="two remainders of a negative number",
        ),
        pytest.param(
            _by_size(
                f"a = Mul(size, big) f = {_TO_FLOAT}(a) b = {_TO_INT64}(f) e = Sub(a, b) delta = Mul(e, four)",
                "int64[1] big = {1000001}",
            ),
            id="a float that rounds a large number",
        ),
        pytest.param(
            _by_size(
                f"f = {_TO_FLOAT}(size) a = Mul(f, big) b = {_TO_INT64}(a) i = {_TO_INT64}(big) c = Mul(size, i) "
                "delta = Sub(b, c)",
                "float[1] big = {1000001}",
            ),
            id="a product of floats that is rounded",
        ),
        pytest.param(
            _by_size(
                f"i = {_TO_INT32}(size) w = Mul(i, m) v = Div(w, m) e = Sub(i, v) g = {_TO_INT64}(e) "
                "one_ = Mod(g, two) delta = Mul(one_, four)",
                "int32[1] m = {33100000}",
            ),
            id="a product that has no room in 32 bits",
        ),
        pytest.param(
            _by_size(
                f"i = {_TO_INT32}(size) w = Mul(i, m) a = {_TO_INT64}(w) l = {_TO_INT64}(m) "
                "b = Mul(size, l) delta = Sub(a, b)",
                "int32[1] m = {33100000}",
            ),
            id="one product in 32 bits and one in 64",
        ),
        pytest.param(
            _by_size(
                f"i = {_TO_INT32}(size) j = Concat<axis = 0>(i, m) w = ReduceProd<keepdims = 1>(j) a = {_TO_INT64}(w) "
                f"l = {_TO_INT64}(m) b = Mul(size, l) delta = Sub(a, b)",
                "int32[1] m = {33100000}",
            ),
            id="a reduction in 32 bits and a product in 64",
        ),
        pytest.param(
            _by_size(
                f"a = Mul(size, big) i = {_TO_INT32}(a) b = {_TO_INT64}(i) delta = Sub(a, b)",
                "int64[1] big = {1000000000}",
            ),
            id="a number cut to 32 bits",
        ),
        pytest.param(
            _by_size(
                "a = Mul(size, big) b = Mul(a, big) c = Div(b, big) delta = Sub(c, a)", "int64[1] big = {4294967296}"
            ),
            id="a product that has no room in 64 bits",
        ),
        pytest.param(
            _by_size(
                "a = Mul(size, size) b = Mul(a, a) c = Div(b, a) delta = Sub(c, a)", "int64[1] big = {4294967296}"
            ),
            id="a power that has no room in 64 bits",
        ),
        pytest.param(
            _by_size(
                f"w = Mul(size, two) f = {_TO_FLOAT}(w) g = {_TO_FLOAT}(size) h = Div(f, g) i = {_TO_INT64}(h) "
                "delta = Sub(i, two)",
                "int64[1] big = {1}",
            ),
            id="a quotient of floats that may be 0",
        ),
        pytest.param(
            _by_size(
                "half = Div(size, two) n = Shape<start = 1>(x) u = Concat<axis = 0>(half, n) same = Reshape(x, u) "
                "w = Shape<end = 1>(same) delta = Sub(w, half)",
                "int64[1] big = {1}",
            ),
            id="a size of a shape that may be 0, and copies another",
        ),
    ],
)
def test_sizes_that_are_equal_in_some_runs_only(graph: str) -> None:
    assert prove(_model(graph)).verdict is Verdict.UNKNOWN


@pytest.mark.parametrize("mode", ["linear", "cubic"])
@pytest.mark.parametrize(
    "graph",
    [
        'g (float[N, 6] x) => (float[N, 12] y) <float[2] s = {1, 2}> { y = Resize<mode = "MODE">(x, , s) }',
        'g (float[N, 2, 6] x) => (float[N, 2, 12] y) <float[3] s = {1, 1, 2}> { y = Resize<mode = "MODE">(x, , s) }',
        'g (float[N, 6] x) => (float[N, 8] y) <int64[1] s = {8}> { y = Resize<mode = "MODE", axes = [1]>(x, , , s) }',
        "g (float[1, 2, N, 6] x) => (float[1, 2, N, 8] y) <int64[1] s = {8}> "
        '{ y = Resize<mode = "MODE", axes = [3]>(x, , , s) }',
        "g (float[1, N, 4, 6] x) => (float[1, N, 8, 6] y) <float[4] s = {1, 1, 2, 1}> "
        '{ y = Resize<mode = "MODE">(x, , s) }',
    ],
)
def test_a_runtime_that_interpolates_along_the_rows_too(graph: str, mode: str) -> None:
    assert prove(_model(graph.replace("MODE", mode))).verdict is Verdict.UNKNOWN
    assert prove(_model(graph.replace("MODE", "nearest"))).verdict is Verdict.PROVEN


@pytest.mark.parametrize("mode", ["linear", "cubic"])
def test_interpolation_inside_of_an_image_keeps_rows_apart(mode: str) -> None:
    graph = "g (float[N, 2, 4, 6] x) => (float[N, 2, 8, 9] y) <int64[2] s = {8, 9}> "
    graph += f'{{ y = Resize<mode = "{mode}", axes = [2, 3]>(x, , , s) }}'
    assert prove(_model(graph)).verdict is Verdict.PROVEN


@pytest.mark.parametrize(
    "steps",
    [
        f"f = {_TO_FLOAT}(size) a = Mul(f, double) i = {_TO_INT64}(a) b = Add(size, size) delta = Sub(i, b)",
        f"i = {_TO_INT32}(size) a = Mul(i, three) b = Sub(a, i) c = {_TO_INT64}(b) "
        "twice = Add(size, size) delta = Sub(c, twice)",
        "a = Mul(size, four) b = Div(a, four) delta = Sub(b, size)",
        "a = Add(size, two) b = Add(a, size) c = Div(b, two) e = Add(size, one) delta = Sub(c, e)",
    ],
)
def test_arithmetic_that_is_exact_in_every_run(steps: str) -> None:
    constants = "float[1] double = {2}, int32[1] three = {3}"
    assert prove(_model(_by_size(steps, constants))).verdict is Verdict.PROVEN


@pytest.mark.parametrize(
    ("width", "verdict"), [(3, Verdict.PROVEN), (4, Verdict.PROVEN), (5, Verdict.UNKNOWN), ("T", Verdict.UNKNOWN)]
)
def test_a_place_in_a_row_that_may_reach_into_the_next(width: int | str, verdict: Verdict) -> None:
    graph = f"""g (float[N, 4] x, float[N, {width}] z) => (float[N] y)
        <int64 zero = {{0}}, int64 one = {{1}}, int64 four = {{4}}, int64[1] flat = {{-1}}> {{
        n = Shape<end = 1>(x) s = Squeeze(n) r = Range(zero, s, one) start = Mul(r, four)
        place = ArgMax<axis = 1, keepdims = 0>(z) p = Add(start, place) f = Reshape(x, flat) y = Gather(f, p) }}"""
    assert prove(_model(graph)).verdict is verdict


@pytest.mark.parametrize(
    ("steps", "verdict"),
    [
        ("p = Add(start, place)", Verdict.PROVEN),
        (f"w = {_TO_INT32}(start) q = {_TO_INT64}(w) p = Add(q, place)", Verdict.UNKNOWN),
    ],
)
def test_numbers_of_rows_that_have_no_room_in_32_bits(steps: str, verdict: Verdict) -> None:
    graph = f"""g (float[N, T] x) => (float[N] y) <int64 zero = {{0}}, int64 one = {{1}}, int64[1] flat = {{-1}}> {{
        n = Shape<end = 1>(x) s = Squeeze(n) r = Range(zero, s, one) t = Shape<start = 1>(x) start = Mul(r, t)
        place = ArgMax<axis = 1, keepdims = 0>(x) {steps} f = Reshape(x, flat) y = Gather(f, p) }}"""
    assert prove(_model(graph)).verdict is verdict


def test_what_is_the_same_for_every_row_has_the_rank_that_its_operator_gives_it() -> None:
    """Rows stand second where an LSTM's last states, of rank 3, are added to them."""
    model = parser.parse_model(
        """<ir_version: 8, opset_import: ["" : 21, "com.microsoft" : 1]> g (float[N, 4] x) => (float[1, N, 4] y)
        <float[1, 1, 3] steps = {1, 2, 3}, float[1] scale = {1}, int8[1] zero = {0}> {
        a, h, c = com.microsoft.DynamicQuantizeLSTM<hidden_size = 4>
            (steps, w, r, "", "", "", "", "", scale, zero, scale, zero)
        y = Add(x, h) }"""
    )
    for name, shape in (("w", (1, 3, 16)), ("r", (1, 4, 16))):
        model.graph.initializer.append(numpy_helper.from_array(np.zeros(shape, np.int8), name))
    assert prove(model).verdict is Verdict.UNKNOWN
