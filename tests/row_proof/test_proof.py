"""What `prove` says of a model: the axes, the verdict, and the node that stops it."""

import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper, parser

from kernelport_workers.row_proof import Verdict, prove
from kernelport_workers.row_proof.graphs import Walk, size
from kernelport_workers.row_proof.values import Value

_HEADER = '<ir_version: 10, opset_import: ["" : 21, "com.microsoft" : 1, "local" : 1]>'


def _model(graph: str) -> onnx.ModelProto:
    return parser.parse_model(_HEADER + graph)


# Which axes.


def test_rows_stand_first_where_the_model_leaves_the_first_axis_free() -> None:
    proof = prove(_model("g (float[batch, T] a, float[rows, T] b) => (float[n, T] y) { y = Add(a, b) }"))
    assert proof.verdict is Verdict.PROVEN
    assert proof.input_axes == {"a": 0, "b": 0}
    assert proof.output_axes == {"y": 0}
    assert proof.reason == "rows stay apart through 1 node"


def test_rows_stand_where_one_name_is_in_all_inputs() -> None:
    proof = prove(
        _model("g (float[T, batch, 2] a, float[1, batch, 2] b) => (float[T, batch, 2] y) { y = Add(a, b) }"),
    )
    assert (proof.verdict, proof.input_axes, proof.output_axes) == (Verdict.PROVEN, {"a": 1, "b": 1}, {"y": 1})


def test_other_free_axes_are_tried_when_rows_do_not_stand_first() -> None:
    proof = prove(_model("g (float[T, N] x) => (float[T, N] y) <int64 at = {0}> { y = CumSum(x, at) }"))
    assert (proof.verdict, proof.input_axes, proof.output_axes) == (Verdict.PROVEN, {"x": 1}, {"y": 1})


def test_a_refutation_of_the_likeliest_axes_tells_of_others_that_are_not() -> None:
    graph = """g (float[T, N] x) => (float[T, N] y) <int64 at = {0}> {
        c = CumSum(x, at) y = com.microsoft.Inverse(c) }"""
    proof = prove(_model(graph))
    assert (proof.verdict, proof.input_axes) == (Verdict.REFUTED, {"x": 0})
    assert proof.reason == (
        "CumSum 'c' sums along the rows; with the rows on axis 1 of 'x', it is unknown: "
        "Inverse 'y' is an operator that is not known (of com.microsoft)"
    )
    assert prove(_model(graph), input_axes={"x": 0}).reason == "CumSum 'c' sums along the rows"


def test_the_verdict_is_for_the_axes_that_are_given() -> None:
    model = _model("g (float[T, N] x) => (float[T, N] y) <int64 at = {0}> { y = CumSum(x, at) }")
    assert prove(model, input_axes={"x": 1}).verdict is Verdict.PROVEN
    assert prove(model, input_axes={"x": -1}).output_axes == {"y": 1}
    proof = prove(model, input_axes={"x": 0})
    assert (proof.verdict, proof.input_axes, proof.output_axes) == (Verdict.REFUTED, {"x": 0}, {})
    assert proof.reason == "CumSum 'y' sums along the rows"


@pytest.mark.parametrize(
    ("axes", "reason"),
    [
        ({}, "input 'x' is given no axis"),
        ({"x": 2}, "input 'x' has no axis 2"),
        ({"x": 1}, "axis 1 of input 'x' is fixed at 3"),
        ({"x": 0, "z": 0}, "the model has no required input 'z'"),
    ],
)
def test_axes_that_cannot_be_are_refuted(axes: dict[str, int], reason: str) -> None:
    proof = prove(_model("g (float[N, 3] x) => (float[N, 3] y) { y = Neg(x) }"), input_axes=axes)
    assert (proof.verdict, proof.reason) == (Verdict.REFUTED, reason)


def test_an_initializer_that_may_be_overridden_is_a_constant() -> None:
    proof = prove(_model("g (float[N] x, float[1] w) => (float[N] y) <float[1] w = {2}> { y = Mul(x, w) }"))
    assert (proof.verdict, proof.input_axes) == (Verdict.PROVEN, {"x": 0})


@pytest.mark.parametrize(
    ("graph", "reason"),
    [
        ("g (float[2, 3] x) => (float[2, 3] y) { y = Neg(x) }", "input 'x' has no free axis"),
        ("g () => (float[1] y) { y = Constant<value_floats = [1.0]>() }", "the model has no required input"),
        (
            "g (float[N, N] x) => (float[N, N] y) { y = Neg(x) }",
            "input 'x' has 'N', the rows' dimension, on another axis",
        ),
        (
            "g (float[N] x, float[M, N] z) => (float[M, N] y) { y = Add(x, z) }",
            "input 'z' has 'N', the rows' dimension, on another axis",
        ),
    ],
)
def test_inputs_that_cannot_be_stacked_are_refuted(graph: str, reason: str) -> None:
    axes = {"x": 0, "z": 0} if " z)" in graph else None
    proof = prove(_model(graph), input_axes=axes)
    assert (proof.verdict, proof.reason) == (Verdict.REFUTED, reason)


@pytest.mark.parametrize("shape", ["", "[1]"])
def test_an_input_of_one_value_for_all_rows_is_refuted_with_what_to_do(shape: str) -> None:
    graph = f"g (float[N] x, float{shape} scale) => (float[N] y)"
    proof = prove(_model(f"{graph} {{ y = Mul(x, scale) }}"))
    assert proof.verdict is Verdict.REFUTED
    assert proof.reason.startswith("input 'scale' has no free axis, so that")
    assert "give it a default in the model" in proof.reason
    assert prove(_model(f"{graph} <float{shape} scale = {{1}}> {{ y = Mul(x, scale) }}")).verdict is Verdict.PROVEN


@pytest.mark.parametrize(
    ("graph", "reason"),
    [
        (
            "g (float[N] x) => (float[1] y) <float[1] w = {1}> { z = Neg(x) y = Neg(w) }",
            "output 'y' is the same for any rows",
        ),
        ("g (float[N] x) => (int64[1] y) { y = Shape(x) }", "output 'y' is made of the number of rows"),
        (
            "g (float[N, 3] x) => (float[M] y) <int64[1] flat = {-1}> { y = Reshape(x, flat) }",
            "output 'y' has 3*N elements on axis 0 for N rows",
        ),
    ],
)
def test_every_output_has_an_axis_of_exactly_the_rows(graph: str, reason: str) -> None:
    proof = prove(_model(graph))
    assert (proof.verdict, proof.reason) == (Verdict.REFUTED, reason)


# What stops it.


def test_the_reason_names_the_node_and_its_operator() -> None:
    proof = prove(_model('g (float[N] x) => (float[N] y) <int64 at = {0}> { ["cs_3"] y = CumSum(x, at) }'))
    assert (proof.verdict, proof.reason) == (Verdict.REFUTED, "CumSum 'cs_3' sums along the rows")


def test_an_operator_that_is_not_in_the_table_is_unknown() -> None:
    proof = prove(_model("g (float[N] x) => (float[N] y) { y = com.microsoft.Inverse(x) }"))
    assert proof.verdict is Verdict.UNKNOWN
    assert proof.reason == "Inverse 'y' is an operator that is not known (of com.microsoft)"


def test_an_attribute_or_input_that_a_rule_does_not_know_is_unknown() -> None:
    model = _model("g (float[N] x) => (float[N] y) { y = Neg(x) }")
    model.graph.node[0].attribute.append(helper.make_attribute("over_rows", 1))
    assert prove(model).reason == "Neg 'y' has an attribute that is not followed: over_rows"
    model = _model("g (float[N] x) => (float[N] y) { y = Neg(x, x) }")
    assert prove(model).verdict is Verdict.UNKNOWN


def test_what_reaches_no_output_does_not_count() -> None:
    graph = """g (float[N, 2] x) => (float[N, 2] y) <int64 at = {0}>
        { lost = CumSum(x, at) other = NonZero(lost) y = Neg(x) }"""
    assert prove(_model(graph)).verdict is Verdict.PROVEN


def test_a_mix_tells_more_than_what_is_not_known() -> None:
    graph = """g (float[N] x) => (float[N] a, float[N] b) <int64 at = {0}>
        { a = com.microsoft.Inverse(x) b = CumSum(x, at) }"""
    assert prove(_model(graph)).reason == "CumSum 'b' sums along the rows"


def test_a_shape_in_which_rows_cannot_be_followed_is_unknown() -> None:
    graph = "g (float[N, 3] x) => (float[M, 2] y) <int64[2] two = {-1, 2}> { y = Reshape(x, two) }"
    assert prove(_model(graph)).verdict is Verdict.UNKNOWN


def test_a_constant_of_a_free_size_may_not_meet_rows() -> None:
    graph = """g (float[N, T] x) => (float[N, T] y) <int64[1] at = {1}> {
        s = Shape<start = 1>(x) e = ConstantOfShape(s) v = Unsqueeze(e, at) y = Add(x, v)
    }"""
    proof = prove(_model(graph), input_axes={"x": 0})
    assert (proof.verdict, proof.reason) == (Verdict.UNKNOWN, "Add 'y' meets 'T' elements where the rows stand")


# Models that are not as they should be.


def test_a_file_that_is_no_model_is_unknown(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(b"no model at all")
    assert prove(path).verdict is Verdict.UNKNOWN
    assert prove(tmp_path / "none.onnx").verdict is Verdict.UNKNOWN


def test_a_model_of_a_newer_opset_than_the_rules_know_is_unknown() -> None:
    model = _model("g (float[N] x) => (float[N] y) { y = Neg(x) }")
    model.opset_import[0].version = 999
    proof = prove(model)
    assert (proof.verdict, proof.reason) == (
        Verdict.UNKNOWN,
        "the model is of opset 999; rules are known up to 28",
    )


def test_a_wrong_node_is_unknown_and_named(caplog: pytest.LogCaptureFixture) -> None:
    model = _model("g (float[N] x) => (float[N] y) { y = DepthToSpace<blocksize = 2>(x) }")
    model.graph.input[0].CopyFrom(helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 4, 2, 2]))
    del model.graph.node[0].attribute[:]
    proof = prove(model)
    assert proof.verdict is Verdict.UNKNOWN
    assert proof.reason.startswith("DepthToSpace 'y' cannot be followed: TypeError")
    assert "cannot follow DepthToSpace 'y'" in caplog.text


def test_a_value_that_no_node_gives_is_unknown() -> None:
    proof = prove(_model("g (float[N] x) => (float[N] y) { y = Add(x, z) }"))
    assert (proof.verdict, proof.reason) == (Verdict.UNKNOWN, "Add 'y' takes 'z', which no node gives")


# Functions, files, size.


def test_the_models_own_functions_are_followed() -> None:
    function = """<domain: "local", opset_import: ["" : 21]> centred (a) => (b)
        { at = Constant<value_ints = [%d]>() m = ReduceMean(a, at) b = Sub(a, m) }"""
    graph = "g (float[N, 3] x) => (float[N, 3] y) { y = local.centred(x) }"
    assert prove(_model(graph + function % 1)).verdict is Verdict.PROVEN
    proof = prove(_model(graph + function % 0))
    assert proof.verdict is Verdict.REFUTED
    assert "ReduceMean" in proof.reason


def test_attributes_of_a_function_are_those_of_its_call_or_its_defaults() -> None:
    def verdict(call: str, declared: str) -> Verdict:
        function = f"""<domain: "local", opset_import: ["" : 21]> largest <{declared}> (a) => (b)
            {{ b = Hardmax<axis: int = @at>(a) }}"""
        return prove(
            _model(f"g (float[N, 3] x) => (float[N, 3] y) {{ y = local.largest{call}(x) }}" + function)
        ).verdict

    assert verdict("<at = 1>", "at") is Verdict.PROVEN
    assert verdict("<at = 0>", "at") is Verdict.REFUTED
    assert verdict("", "at: int = 0") is Verdict.REFUTED
    assert verdict("<at = 1>", "at: int = 0") is Verdict.PROVEN


@pytest.mark.parametrize(("declared", "verdict"), [("to: int = 1", Verdict.PROVEN), ("to", Verdict.UNKNOWN)])
def test_an_attribute_that_a_function_hands_on_must_be_known(declared: str, verdict: Verdict) -> None:
    functions = f"""<domain: "local", opset_import: ["" : 21, "local" : 1]> outer <{declared}> (a) => (b)
            {{ b = local.inner<at: int = @to>(a) }}
        <domain: "local", opset_import: ["" : 21]> inner <at: int = 0> (a) => (b)
            {{ b = Hardmax<axis: int = @at>(a) }}"""
    proof = prove(_model("g (float[N, 3] x) => (float[N, 3] y) { y = local.outer(x) }" + functions))
    assert proof.verdict is verdict


def test_a_function_of_another_opset_is_unknown() -> None:
    text = (
        "g (float[N, 3] x) => (float[N, 3] y) { y = local.Softmax(x) }"
        '<domain: "local", opset_import: ["" : 11]> Softmax (a) => (b) { b = Softmax<axis = 1>(a) }'
    )
    assert prove(_model(text)).reason == "Softmax 'y' is a function that cannot be inlined"


@pytest.mark.parametrize("domain", ["", "ai.onnx", "ai.onnx.ml", "com.microsoft"])
def test_a_function_where_the_runtime_has_operators_is_unknown(domain: str) -> None:
    name = {"com.microsoft": "Gelu", "ai.onnx.ml": "Normalizer"}.get(domain, "Neg")
    model = _model(f"g (float[N, 3] x) => (float[N, 3] y) {{ y = local.{name}(x) }}")
    model.graph.node[0].domain = domain
    opsets = [helper.make_opsetid("", 21)]
    body = helper.make_node("Abs", ["a"], ["b"])
    model.functions.append(helper.make_function(domain, name, ["a"], ["b"], [body], opsets))
    proof = prove(model)
    assert (proof.verdict, proof.reason) == (Verdict.UNKNOWN, f"{name} 'y' is a function that cannot be inlined")


def test_functions_that_call_others_in_branches_without_end_are_unknown() -> None:
    bodies = "".join(
        f'<domain: "local", opset_import: ["" : 21, "local" : 1]> f{i} (a, q) => (b) {{ b = If(q) <then_branch = t{i} '
        f"() => (float[N] u) {{ c = {f'local.f{i - 1}(a, q)' if i else 'Neg(a)'} "
        f"u = {f'local.f{i - 1}(c, q)' if i else 'Neg(c)'} }}, "
        f"else_branch = e{i} () => (float[N] v) {{ v = Neg(a) }}> }}"
        for i in range(18)
    )
    proof = prove(_model("g (float[N] x) => (float[N] y) <bool q = {1}> { y = local.f17(x, q) }" + bodies))
    assert (proof.verdict, "too long" in proof.reason) == (Verdict.UNKNOWN, True)


def test_functions_without_end_are_unknown() -> None:
    bodies = "".join(
        f'<domain: "local", opset_import: ["" : 21, "local" : 1]> f{i} (a) => (b) '
        f"{{ c = {'Neg(a)' if i == 0 else f'local.f{i - 1}(a)'} b = {'Neg(c)' if i == 0 else f'local.f{i - 1}(c)'} }}"
        for i in range(40)
    )
    proof = prove(_model("g (float[N] x) => (float[N] y) { y = local.f39(x) }" + bodies))
    assert (proof.verdict, "too long" in proof.reason) == (Verdict.UNKNOWN, True)


def test_weights_stay_on_disk_and_small_constants_are_read_from_there(tmp_path: Path) -> None:
    model = _model(
        "g (float[N, 2, 3] x, float[6, 4] w, int64[2] shape) => (float[N, 4] y) { f = Reshape(x, shape) "
        "y = MatMul(f, w) }"
    )
    del model.graph.input[1:]
    model.graph.initializer.append(numpy_helper.from_array(np.ones((96, 4), np.float32)[:6], "w"))
    model.graph.initializer.append(numpy_helper.from_array(np.array([-1, 6]), "shape"))
    path = tmp_path / "model.onnx"
    onnx.save(model, path, save_as_external_data=True, location="weights.bin", size_threshold=0)
    assert prove(path).verdict is Verdict.PROVEN
    apart = onnx.load(path, load_external_data=False)
    assert prove(apart, folder=tmp_path).verdict is Verdict.PROVEN
    assert prove(apart).verdict is Verdict.UNKNOWN
    (tmp_path / "weights.bin").unlink()
    assert prove(path).verdict is Verdict.UNKNOWN


def test_weights_in_the_model_are_held_only_while_it_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    weights = helper.make_tensor("w", TensorProto.FLOAT, [1000, 100], b"\0" * 400_000, raw=True)
    function = """<domain: "local", opset_import: ["" : 21]> layer (a) => (b) { w = Constant<value_float = 0.0>()
        b = MatMul(a, w) }"""
    model = _model("g (float[N, 1000] x) => (float[N, 100] y) { y = local.layer(x) }" + function)
    model.functions[0].node[0].attribute[0].CopyFrom(helper.make_attribute("value", weights))
    model.graph.initializer.append(weights)
    seen: list[onnx.GraphProto] = []
    follow = Walk.run

    def run(walk: Walk, graph: onnx.GraphProto, inputs: Mapping[str, Value]) -> list[Value]:
        seen.append(graph)
        return follow(walk, graph, inputs)

    monkeypatch.setattr(Walk, "run", run)
    assert prove(model).verdict is Verdict.PROVEN
    assert len(seen[0].SerializeToString()) < 1000
    assert len(model.SerializeToString()) > 800_000


def test_ten_thousand_nodes_take_less_than_a_second() -> None:
    constants = {
        "w": np.zeros((8, 8), np.float32),
        "zero": np.array([0]),
        "one": np.array([1]),
        "heads": np.array([2, 4]),
    }
    nodes, name = [], "x"
    for layer in range(1250):
        own = [f"{letter}{layer}" for letter in "abcdefgh"]
        nodes += [
            helper.make_node("MatMul", [name, "w"], [own[0]]),
            helper.make_node("Shape", [own[0]], [own[1]]),
            helper.make_node("Gather", [own[1], "zero"], [own[2]]),
            helper.make_node("Gather", [own[1], "one"], [own[3]]),
            helper.make_node("Concat", [own[2], own[3], "heads"], [own[4]], axis=0),
            helper.make_node("Reshape", [own[0], own[4]], [own[5]]),
            helper.make_node("Reshape", [own[5], own[1]], [own[6]]),
            helper.make_node("Add", [own[6], name], [own[7]]),
        ]
        name = own[7]
    graph = helper.make_graph(
        nodes,
        "layers",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", "T", 8])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, None)],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)])
    started = time.process_time()
    proof = prove(model)
    assert time.process_time() - started < 1
    assert (proof.verdict, proof.reason) == (Verdict.PROVEN, "rows stay apart through 10,000 nodes")


def test_equal_names_in_two_branches_are_two_sizes() -> None:
    graph = """g (float[N, 6] x, bool[6] c) => (float[M, K] y)
        <bool[6] c = {1, 1, 1, 0, 0, 0}, bool[6] d = {1, 1, 0, 0, 0, 0}, bool go = {1}> {
        also = And(go, go)
        three = If(also) <then_branch = t () => (float[N, A] v) { v = Compress<axis = 1>(x, c) },
            else_branch = e () => (float[N, A] v) { v = Compress<axis = 1>(x, c) }>
        two = If(also) <then_branch = u () => (float[N, B] v) { v = Compress<axis = 1>(x, d) },
            else_branch = f () => (float[N, B] v) { v = Compress<axis = 1>(x, d) }>
        width = Shape<start = 1>(two) rest = Constant<value_ints = [-1]>() shape = Concat<axis = 0>(rest, width)
        y = Reshape(three, shape)
    }"""
    assert prove(_model(graph), input_axes={"x": 0}).verdict is Verdict.UNKNOWN


def _nested(depth: int, innermost: str, constants: str = "") -> onnx.ModelProto:
    """Loops inside each other, around a node that gives `after` from `before`."""
    body = innermost
    for level in range(depth):
        body = (
            f"t{level} = Loop(n, go, before) <body = body{level} (int64 i{level}, bool c{level}, float[N, M] before) "
            f"=> (bool d{level}, float[N, M] after) {constants} "
            f"{{ d{level} = Identity(c{level}) {body} }}> after = Identity(t{level})"
        )
    return _model(f"g (float[N, M] before) => (float[N, K] after) <int64 n = {{2}}, bool go = {{1}}> {{ {body} }}")


@pytest.mark.parametrize("constants", ["", f"<{', '.join(f'float w{index} = {{1}}' for index in range(100))}>"])
def test_loops_inside_loops_are_followed_in_a_limited_number_of_steps(
    constants: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    walks: list[Walk] = []
    follow = Walk.run

    def run(walk: Walk, graph: onnx.GraphProto, inputs: Mapping[str, Value]) -> list[Value]:
        walks.append(walk)
        return follow(walk, graph, inputs)

    monkeypatch.setattr(Walk, "run", run)
    model = _nested(24, "after = Concat<axis = 1>(before, before)", constants)
    proof = prove(model)
    assert proof.verdict is Verdict.UNKNOWN
    assert "is nested too deep" in proof.reason
    assert all(walk.steps <= 10_000 + 11 * size(model.graph) for walk in walks)


def test_a_few_loops_inside_loops_are_followed() -> None:
    assert prove(_nested(6, "after = Concat<axis = 1>(before, before)")).verdict is Verdict.PROVEN
