"""Models whose rows depend on each other though their shapes look as if they did not, with requests that show it.

Each takes and gives N rows. Stacked with other callers' rows, some of these requests would get other answers.
"""

from collections.abc import Callable

import numpy as np
import onnx

from kernelport.tensors import Array
from tests.row_independence.cases import CROWD, Case

_HEADER = '<ir_version: 10, opset_import: ["" : 21, "com.microsoft" : 1, "ai.onnx.ml" : 3, "local" : 1]>'
_OPSET_11 = '<ir_version: 6, opset_import: ["" : 11]>'
_IN, _BOTH, _IDS = "(float[N, 4] x) => ", "(float[N, 4] x) => (float[N, 4] y)", "(int64[N] x) => (int64[N] y)"
# The number of rows as `n` INT64[1], and as the scalar `count`.
_COUNT = "size = Shape(x) first = Constant<value_ints = [0]>() n = Gather(size, first) count = Squeeze(n)"
_STEPS = "zero = Constant<value_int = 0>() one = Constant<value_int = 1>()"
_BODY_STATE = "(float[4] sum, float[4] row) => (float[4] next, float[4] each)"

Requests = Callable[[np.random.Generator, int], dict[str, Array]]
"""The request of one caller, with so many rows."""


def _rows(rng: np.random.Generator, rows: int) -> dict[str, Array]:
    """Rows of a magnitude of their caller's, 0.01 to 1000."""
    return {"x": (rng.normal(size=(rows, 4)) * 10.0 ** rng.integers(-2, 4)).astype(np.float32)}


def _ids(rng: np.random.Generator, rows: int) -> dict[str, Array]:
    return {"x": rng.integers(0, 100, rows)}


def _tokens(rng: np.random.Generator, rows: int) -> dict[str, Array]:
    return {"x": rng.integers(0, 3, rows)}


def _levels(rng: np.random.Generator, rows: int) -> dict[str, Array]:
    """Steps of at most 2 within a request, far apart between requests."""
    return {"x": (rng.integers(-1, 2, rows) + 10.0 * rng.integers(0, 7)).astype(np.float32)}


def _quiet_and_loud(rng: np.random.Generator, rows: int) -> dict[str, Array]:
    """Requests of which some are a thousand times as large as others."""
    return {"x": (rng.normal(size=(rows, 64)) * 0.01 * 10.0 ** rng.integers(0, 4)).astype(np.float32)}


def _pointers(rng: np.random.Generator, rows: int) -> dict[str, Array]:
    """Rows, and for each the number of a row of its own request."""
    return {**_rows(rng, rows), "at": rng.integers(0, rows, rows)}


def _scattered(rng: np.random.Generator, rows: int) -> dict[str, Array]:
    return {**_rows(rng, rows), "at": np.stack([rng.permutation(rows) for _ in range(4)], axis=1)}


def _boxes(rng: np.random.Generator, rows: int) -> dict[str, Array]:
    """Boxes around one place, so that those of other requests would suppress them."""
    corner = rng.uniform(0, 0.2, (rows, 2))
    boxes = np.concatenate([corner, corner + 1.0], axis=1).astype(np.float32)
    return {"boxes": boxes, "scores": rng.uniform(0.1, 1, rows).astype(np.float32)}


def _images(rng: np.random.Generator, rows: int) -> dict[str, Array]:
    return {"x": (rng.normal(size=(rows, 2, 3, 3)) * 10.0 ** rng.integers(-2, 4)).astype(np.float32)}


# Name, why, model in ONNX's text syntax without its header, requests.
_ENTRIES: list[tuple[str, str, str, Requests]] = [
    (
        "lag_one",
        "subtracts the row before",
        f"g {_BOTH} <int64[1] a = {{0}}, int64[1] b = {{1}}, int64[1] m = {{-1}}> "
        "{ first = Slice(x, a, b) before = Slice(x, a, m) shifted = Concat<axis = 0>(first, before) "
        "y = Sub(x, shifted) }",
        _rows,
    ),
    (
        "lag_seven",
        "subtracts the row seven rows before",
        f"g {_BOTH} <int64[4] pads = {{7, 0, 0, 0}}, int64[1] a = {{0}}, int64[1] m = {{-7}}> "
        "{ padded = Pad(x, pads) shifted = Slice(padded, a, m) y = Sub(x, shifted) }",
        _rows,
    ),
    (
        "jump_above_two",
        "compares with the row before, above a threshold that no input in 0..1 reaches",
        "g (float[N] x) => (bool[N] y) <int64[1] a = {0}, int64[1] b = {1}, int64[1] m = {-1}, float limit = {2}> "
        "{ first = Slice(x, a, b) before = Slice(x, a, m) shifted = Concat<axis = 0>(first, before) "
        "step = Sub(x, shifted) size = Abs(step) y = Greater(size, limit) }",
        _levels,
    ),
    (
        "roll",
        "moves rows round",
        f"g {_BOTH} <int64[1] a = {{0}}, int64[1] m = {{-1}}, int64[1] end = {{9223372036854775807}}> "
        "{ last = Slice(x, m, end) rest = Slice(x, a, m) y = Concat<axis = 0>(last, rest) }",
        _rows,
    ),
    ("cumulative_sum", "sums along the rows", f"g {_BOTH} <int64 axis = {{0}}> {{ y = CumSum(x, axis) }}", _rows),
    ("softmax", "normalises over the rows", f"g {_BOTH} {{ y = Softmax<axis = 0>(x) }}", _rows),
    (
        "softmax_of_old",
        "flattens from axis 0 on, as before opset 13, and normalises over all",
        f"{_OPSET_11} g {_BOTH} {{ y = Softmax<axis = 0>(x) }}",
        _rows,
    ),
    ("hardmax", "takes the largest of all rows", f"g {_BOTH} {{ y = Hardmax<axis = 0>(x) }}", _rows),
    ("lp_normalise", "divides by the norm of all rows", f"g {_BOTH} {{ y = LpNormalization<axis = 0>(x) }}", _rows),
    (
        "mean",
        "subtracts the mean of all rows",
        f"g {_BOTH} <int64[1] axes = {{0}}> {{ mean = ReduceMean(x, axes) y = Sub(x, mean) }}",
        _rows,
    ),
    (
        "largest",
        "divides by the largest magnitude of all rows",
        f"g {_BOTH} {{ size = Abs(x) largest = ReduceMax(size) y = Div(x, largest) }}",
        _rows,
    ),
    (
        "normalise",
        "normalises over all axes",
        f"g {_BOTH} {{ mean = ReduceMean(x) centred = Sub(x, mean) square = Mul(centred, centred) "
        "variance = ReduceMean(square) deviation = Sqrt(variance) y = Div(centred, deviation) }",
        _rows,
    ),
    (
        "mean_variance",
        "normalises over the axes that are the default, of which the first is one",
        "g (float[N, 2, 3, 3] x) => (float[N, 2, 3, 3] y) { y = MeanVarianceNormalization(x) }",
        _images,
    ),
    (
        "layer_norm_of_all",
        "normalises from axis 0 on",
        f"g {_BOTH} {{ scale = Shape(x) ones = ConstantOfShape<value = float[1] {{1}}>(scale) "
        "y = LayerNormalization<axis = 0>(x, ones) }",
        _rows,
    ),
    (
        "instance_norm",
        "normalises over the rows as places of an image",
        f"g {_BOTH} <float[4] s = {{1, 2, 3, 4}}, float[4] b = {{0, 0, 0, 1}}, int64[1] axes = {{0}}> "
        "{ turned = Transpose(x) image = Unsqueeze(turned, axes) normal = InstanceNormalization(image, s, b) "
        "flat = Squeeze(normal, axes) y = Transpose(flat) }",
        _rows,
    ),
    (
        "group_norm",
        "normalises over the rows as channels of one group",
        f"g {_BOTH} <int64[1] axes = {{0}}> {{ {_COUNT} ones = ConstantOfShape<value = float[1] {{1}}>(n) "
        "zeros = ConstantOfShape(n) image = Unsqueeze(x, axes) "
        "normal = GroupNormalization<num_groups = 1>(image, ones, zeros) y = Squeeze(normal, axes) }",
        _rows,
    ),
    (
        "batch_norm_in_training",
        "normalises by the batch's own mean",
        f"g {_BOTH} <float[4] s = {{1, 2, 3, 4}}, float[4] b = {{0, 0, 0, 1}}, "
        "float[4] m = {0, 0, 0, 0}, float[4] v = {1, 1, 1, 1}> "
        "{ y, mean, variance = BatchNormalization<training_mode = 1>(x, s, b, m, v) }",
        _rows,
    ),
    (
        "sort",
        "sorts the rows",
        f"g {_BOTH} {{ {_COUNT} y, at = TopK<axis = 0>(x, n) }}",
        _rows,
    ),
    (
        "second_largest",
        "subtracts the largest row",
        f"g {_BOTH} <int64[1] k = {{1}}> {{ top, at = TopK<axis = 0>(x, k) y = Sub(x, top) }}",
        _rows,
    ),
    (
        "arg_max",
        "says how far each row is from the largest",
        "g (float[N, 4] x) => (int64[N, 4] y) "
        f"{{ {_COUNT} {_STEPS} top = ArgMax<axis = 0>(x) places = Range(zero, count, one) "
        "axes = Constant<value_ints = [1]>() column = Unsqueeze(places, axes) y = Sub(column, top) }",
        _rows,
    ),
    (
        "unique",
        "numbers the different values of all rows",
        "g (int64[N] x) => (int64[N] y) { values, first, y, counts = Unique(x) }",
        _ids,
    ),
    (
        "dynamic_quantise",
        "takes a scale from all rows",
        f"g {_BOTH} {{ q, scale, zero = DynamicQuantizeLinear(x) y = DequantizeLinear(q, scale, zero) }}",
        _rows,
    ),
    (
        "saturated_sigmoid",
        "takes a scale from all rows, and hides it where inputs are large",
        "g (float[N, 64] x) => (float[N, 64] y) <uint8 middle = {128}, float size = {20}> "
        "{ q, scale, zero = DynamicQuantizeLinear(x) number = DequantizeLinear(q, scale, zero) "
        "logit = Mul(number, size) y = Sigmoid(logit) }",
        _quiet_and_loud,
    ),
    (
        "dynamic_quantise_matmul",
        "takes a scale from all rows within a contrib operator",
        "g (float[N, 4] x) => (float[N, 2] y) <uint8[4, 2] w = {1, 200, 30, 4, 50, 6, 7, 80}, float s = {0.1}, "
        "uint8 z = {128}> { y = com.microsoft.DynamicQuantizeMatMul(x, w, s, z) }",
        _rows,
    ),
    (
        "non_max_suppression",
        "keeps the boxes that no better one covers",
        "g (float[N, 4] boxes, float[N] scores) => (float[N] y) <int64 most = {1000}, float overlap = {0.5}, "
        "int64[1] b = {0}, int64[2] bc = {0, 1}, int64[1] two = {2}, float[1] one = {1}, int64[1] last = {1}> "
        "{ all = Unsqueeze(boxes, b) rated = Unsqueeze(scores, bc) chosen = NonMaxSuppression(all, rated, most, "
        "overlap) rows = Gather<axis = 1>(chosen, two) size = Shape(scores) none = ConstantOfShape(size) "
        "count = Shape<end = 1>(rows) ones = Expand(one, count) kept = ScatterND(none, rows, ones) "
        "y = Mul(kept, scores) }",
        _boxes,
    ),
    (
        "compress",
        "divides by the number of positive rows",
        f"g {_BOTH} <int64[1] axes = {{1}}, float zero = {{0}}> {{ flat = ReduceSum<keepdims = 0>(x, axes) "
        "keep = Greater(flat, zero) kept = Compress<axis = 0>(x, keep) sum = ReduceSum(kept) y = Add(x, sum) }",
        _rows,
    ),
    (
        "non_zero",
        "multiplies by the number of values that are not zero",
        f"g {_BOTH} {{ at = NonZero(x) number = Shape<start = 1>(at) times = Cast<to = 1>(number) y = Mul(x, times) }}",
        _rows,
    ),
    (
        "if_any_is_large",
        "turns all signs when any value is above 500",
        f"g {_BOTH} <float limit = {{500}}> {{ largest = ReduceMax<keepdims = 0>(x) above = Greater(largest, limit) "
        "y = If(above) <then_branch = t () => (float[N, 4] a) { a = Neg(x) }, "
        "else_branch = e () => (float[N, 4] b) { b = Identity(x) }> }",
        _rows,
    ),
    (
        "mixed_in_a_branch",
        "sums along the rows in a branch",
        f"g {_BOTH} {{ width = Shape<start = 1>(x) four = Constant<value_int = 4>() is = Equal(width, four) "
        "wide = Squeeze(is) y = If(wide) <then_branch = t () => (float[N, 4] a) "
        "{ axis = Constant<value_int = 0>() a = CumSum(x, axis) }, "
        "else_branch = e () => (float[N, 4] b) { b = Identity(x) }> }",
        _rows,
    ),
    (
        "mixed_in_a_nested_body",
        "subtracts the mean of all rows in a branch of a loop's body",
        f"g {_BOTH} <int64 times = {{2}}, bool go = {{1}}> {{ y = Loop(times, go, x) <body = b "
        "(int64 i, bool c, float[N, 4] before) => (bool d, float[N, 4] after) { d = Identity(c) "
        "zero = Constant<value_int = 0>() start = Equal(i, zero) after = If(start) <then_branch = t () => "
        "(float[N, 4] p) { axes = Constant<value_ints = [0]>() mean = ReduceMean(x, axes) p = Sub(before, mean) }, "
        "else_branch = e () => (float[N, 4] q) { q = Identity(before) }> }> }",
        _rows,
    ),
    (
        "loop_over_rows",
        "adds up the rows one after the other",
        f"g {_BOTH} <bool go = {{1}}, float[4] none = {{0, 0, 0, 0}}> {{ {_COUNT} "
        "total, y = Loop(count, go, none) <body = b (int64 i, bool c, float[4] sum) => "
        "(bool d, float[4] next, float[4] each) { d = Identity(c) row = Gather(x, i) next = Add(sum, row) "
        "each = Identity(next) }> }",
        _rows,
    ),
    (
        "scan_over_rows",
        "adds up the rows one after the other",
        f"g {_BOTH} <float[4] none = {{0, 0, 0, 0}}> {{ total, y = Scan<num_scan_inputs = 1, body = b {_BODY_STATE} "
        "{ next = Add(sum, row) each = Identity(next) }>(none, x) }",
        _rows,
    ),
    (
        "last_of_a_sequence",
        "subtracts the last row",
        f"g {_BOTH} {{ rows = SplitToSequence<axis = 0>(x) at = Constant<value_int = -1>() "
        "last = SequenceAt(rows, at) y = Sub(x, last) }",
        _rows,
    ),
    (
        "division_by_the_count",
        "divides by the number of rows",
        f"g {_BOTH} {{ {_COUNT} number = Cast<to = 1>(n) y = Div(x, number) }}",
        _rows,
    ),
    (
        "remainder_by_the_count",
        "takes the remainder by the number of rows",
        f"g {_IDS} {{ {_COUNT} y = Mod(x, n) }}",
        _ids,
    ),
    (
        "positions",
        "adds a row's place in the batch",
        f"g {_BOTH} <int64[1] axes = {{1}}> {{ {_COUNT} {_STEPS} places = Range(zero, count, one) "
        "column = Unsqueeze(places, axes) number = Cast<to = 1>(column) y = Add(x, number) }",
        _rows,
    ),
    (
        "x_by_its_transpose",
        "multiplies the rows with each other",
        f"g {_BOTH} {{ turned = Transpose(x) products = MatMul(x, turned) y = MatMul(products, x) }}",
        _rows,
    ),
    (
        "einsum",
        "sums over the rows of a product",
        f'g {_BOTH} {{ square = Einsum<equation = "ni,nj->ij">(x, x) y = MatMul(x, square) }}',
        _rows,
    ),
    (
        "gemm_of_rows",
        "has the rows of a transposed operand as the ones that are summed over",
        f"g {_BOTH} {{ square = Gemm<transA = 1>(x, x) y = Gemm(x, square) }}",
        _rows,
    ),
    (
        "attention",
        "lets each row look at all",
        f"g {_BOTH} {{ turned = Transpose(x) scores = MatMul(x, turned) weights = Softmax<axis = 1>(scores) "
        "y = MatMul(weights, x) }",
        _rows,
    ),
    (
        "causal_attention",
        "lets each row look at those before",
        f"g {_BOTH} <float lowest = {{-1e9}}> {{ turned = Transpose(x) scores = MatMul(x, turned) "
        "size = Shape(scores) all = Expand(lowest, size) up = Constant<value_int = 1>() mask = Trilu(all, up) "
        "masked = Add(scores, mask) weights = Softmax<axis = 1>(masked) y = MatMul(weights, x) }",
        _rows,
    ),
    ("triangle", "keeps what is on and below the diagonal", f"g {_BOTH} {{ y = Trilu<upper = 0>(x) }}", _rows),
    ("eye", "adds one on the diagonal", f"g {_BOTH} {{ eye = EyeLike(x) y = Add(x, eye) }}", _rows),
    (
        "reversed",
        "gathers the rows in reverse",
        f"g {_BOTH} {{ {_COUNT} {_STEPS} places = Range(zero, count, one) last = Sub(count, one) "
        "from_last = Sub(last, places) y = Gather(x, from_last) }",
        _rows,
    ),
    (
        "reverse_sequence",
        "reverses the rows as time",
        f"g {_BOTH} <int64[1] wide = {{4}}> {{ {_COUNT} lengths = Expand(n, wide) "
        "y = ReverseSequence<time_axis = 0, batch_axis = 1>(x, lengths) }",
        _rows,
    ),
    (
        "gather",
        "gathers rows by numbers that are rows themselves",
        "g (float[N, 4] x, int64[N] at) => (float[N, 4] y) { y = Gather(x, at) }",
        _pointers,
    ),
    (
        "gather_nd",
        "gathers rows by numbers that are rows themselves",
        "g (float[N, 4] x, int64[N] at) => (float[N, 4] y) <int64[1] axes = {1}> "
        "{ column = Unsqueeze(at, axes) y = GatherND(x, column) }",
        _pointers,
    ),
    (
        "gather_elements",
        "gathers elements along the rows",
        "g (float[N, 4] x, int64[N, 4] at) => (float[N, 4] y) { y = GatherElements<axis = 0>(x, at) }",
        _scattered,
    ),
    (
        "scatter_elements",
        "scatters elements along the rows",
        "g (float[N, 4] x, int64[N, 4] at) => (float[N, 4] y) { y = ScatterElements<axis = 0>(x, at, x) }",
        _scattered,
    ),
    (
        "scatter_nd",
        "writes rows where other rows say",
        "g (float[N, 4] x, int64[N] at) => (float[N, 4] y) <int64[1] axes = {1}> "
        '{ column = Unsqueeze(at, axes) y = ScatterND<reduction = "add">(x, column, x) }',
        _pointers,
    ),
    (
        "first_row",
        "subtracts the first row",
        f"g {_BOTH} <int64[1] a = {{0}}, int64[1] b = {{1}}, int64[1] one = {{1}}> "
        f"{{ {_COUNT} first_row = Slice(x, a, b) "
        "times = Concat<axis = 0>(n, one) all = Tile(first_row, times) y = Sub(x, all) }",
        _rows,
    ),
    (
        "folded_rows",
        "folds the rows away, normalises, and folds back",
        f"g {_BOTH} <int64[2] one = {{1, -1}}, int64[2] back = {{-1, 4}}> "
        "{ flat = Reshape(x, one) soft = Softmax(flat) y = Reshape(soft, back) }",
        _rows,
    ),
    (
        "folded_in_the_middle",
        "turns the rows behind the columns before it folds them",
        f"g {_BOTH} <int64[2] back = {{-1, 4}}> {{ turned = Transpose(x) y = Reshape(turned, back) }}",
        _rows,
    ),
    (
        "convolution",
        "slides over the rows",
        f"g {_BOTH} <int64[1] axes = {{0}}, float[4, 4, 3] w = {{{', '.join(str(k % 7 - 3) for k in range(48))}}}> "
        "{ turned = Transpose(x) image = Unsqueeze(turned, axes) slid = Conv<pads = [1, 1]>(image, w) "
        "flat = Squeeze(slid, axes) y = Transpose(flat) }",
        _rows,
    ),
    (
        "pooling",
        "takes the largest of neighbouring rows",
        f"g {_BOTH} <int64[1] axes = {{0}}> {{ turned = Transpose(x) image = Unsqueeze(turned, axes) "
        "slid = MaxPool<kernel_shape = [3], pads = [1, 1]>(image) flat = Squeeze(slid, axes) y = Transpose(flat) }",
        _rows,
    ),
    (
        "lstm_over_rows",
        "has the rows as time",
        f"g {_IN}(float[N, 1] y) <int64[1] axes = {{1}}, int64[2] twice = {{1, 2}}, "
        "float[1, 4, 4] w = {1, 0, 0, 1, 0, 1, 0, 1, 0, 0, 1, 1, 1, 1, 0, 0}, float[1, 4, 1] r = {1, 1, 1, 1}> "
        "{ time = Unsqueeze(x, axes) steps = LSTM<hidden_size = 1>(time, w, r) y = Squeeze(steps, twice) }",
        _rows,
    ),
    (
        "gru_over_rows",
        "has the rows as time",
        f"g {_IN}(float[N, 1] y) <int64[1] axes = {{1}}, int64[2] twice = {{1, 2}}, "
        "float[1, 3, 4] w = {1, 0, 0, 1, 0, 1, 0, 1, 0, 0, 1, 1}, float[1, 3, 1] r = {1, 1, 1}> "
        "{ time = Unsqueeze(x, axes) steps = GRU<hidden_size = 1>(time, w, r) y = Squeeze(steps, twice) }",
        _rows,
    ),
    (
        "spectrum_of_rows",
        "transforms the rows as a signal",
        f"g {_BOTH} <int64[1] batch = {{0}}, int64 axis = {{1}}, int64 last = {{-1}}, int64 real = {{0}}, "
        "int64[1] end = {-1}> { time = Unsqueeze(x, batch) deep = Unsqueeze(time, end) "
        "spectrum = DFT(deep, , axis) part = Gather<axis = -1>(spectrum, real) y = Squeeze(part, batch) }",
        _rows,
    ),
    (
        "token_counts",
        "counts the tokens of all rows",
        "g (int64[N] x) => (float[N] y) { counts = TfIdfVectorizer<max_gram_length = 1, max_skip_count = 0, "
        'min_gram_length = 1, mode = "TF", ngram_counts = [0], ngram_indexes = [0, 1, 2], pool_int64s = [0, 1, 2]>(x) '
        "y = Gather(counts, x) }",
        _tokens,
    ),
    (
        "functions",
        "sums along the rows in a function that a function calls",
        f"g {_BOTH} {{ y = local.outer(x) }} "
        '<domain: "local", opset_import: ["" : 21, "local" : 1]> outer (a) => (b) { b = local.inner(a) } '
        '<domain: "local", opset_import: ["" : 21]> inner (c) => (d) '
        "{ axis = Constant<value_int = 0>() d = CumSum(c, axis) }",
        _rows,
    ),
]


def dependent() -> list[Case]:
    """Every model, each time the same."""
    return [
        Case(
            name,
            onnx.parser.parse_model(text if text.startswith("<") else _HEADER + text),
            tuple(requests(np.random.default_rng(caller), 1 + caller % 4) for caller in range(CROWD)),
            independent=False,
            why=why,
        )
        for name, why, text, requests in _ENTRIES
    ]
