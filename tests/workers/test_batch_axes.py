"""Along which axes an ONNX model is stacked: proven on its graph, declared by its manifest, or not at all."""

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import yaml
from prometheus_client import REGISTRY

from kernelport.config.deployments import BatchAxes, Batching, Deployment
from kernelport.config.manifests import load_manifest
from kernelport.tensors import Array
from kernelport.v1 import deployment_pb2 as pb
from kernelport_workers.backends import batch_axes
from kernelport_workers.backends.base import LoadError, Request
from kernelport_workers.backends.onnx import OnnxBackend
from kernelport_workers.backends.onnx_session import Session

SUM_OVER_TIME = "g (float[T, N] x) => (float[T, N] y) <int64 axis = {0}> { y = CumSum(x, axis) }"
# A sequence hides from the proof what the model does; ONNX Runtime runs it all the same.
HIDDEN = (
    "g (float[N, 2] x) => (float[N, 2] y) <int64 first = {0}> { s = SequenceConstruct(x) y = SequenceAt(s, first) }"
)
HIDDEN_SUM = """g (float[N, 2] x) => (float[N, 2] y) <int64 first = {0}> {
  s = SequenceConstruct(x) z = SequenceAt(s, first) y = CumSum(z, first)
}"""
# Takes the tokens 100 to 103 and no random ones; its mean over the rows is the same for equal requests.
HIDDEN_MEAN = """g (int64[N] tokens) => (float[N] y)
<float[4] table = {1, 10, 100, 1000}, int64 first = {0}, int64[1] rows = {0}, int64 least = {100}> {
  s = SequenceConstruct(tokens) known = SequenceAt(s, first) ids = Sub(known, least)
  values = Gather(table, ids) mean = ReduceMean(values, rows) y = Sub(values, mean)
}"""
TOKEN_AXES = {"inputs": {"tokens": 0}, "outputs": {"y": 0}}
# What a language model does with a mask: nothing of a padded token reaches another.
MASKED = """g (int64[N, T] tokens, float[N, T] mask) => (float[N, T] logits, float[N] total)
<float[4] table = {1, 10, 100, 1000}, int64[1] last = {1}> {
  embedded = Gather(table, tokens)
  logits = Mul(embedded, mask)
  total = ReduceSum<keepdims = 0>(logits, last)
}"""
# Takes the token before the first that the mask leaves out, or the last of all: a pad, if it leaves out a row's first.
LAST = """g (int64[N, T] tokens, MASK[N, T] mask) => (float[N, 1] y)
<float[4] table = {1, 10, 100, 1000}, int64 one = {1}> {
  embedded = Gather(table, tokens)
  kept = Cast<to = 1>(mask)
  length = ArgMin<axis = 1>(kept)
  at = Sub(length, one)
  y = GatherElements<axis = 1>(embedded, at)
}"""
PADS = {
    "inputs": {"tokens": {"axis": 1, "value": 3}, "mask": {"axis": 1}},
    "outputs": {"logits": {"axis": 1, "as": "tokens"}},
}
LAST_PADS = {"inputs": PADS["inputs"]}


def load(folder: Path, text: str, axes: BatchAxes = "auto", **fields: Any) -> OnnxBackend:
    """Loads a model in ONNX's text syntax, with further fields of its manifest."""
    onnx.save(onnx.parser.parse_model('<ir_version: 10, opset_import: ["" : 21]>' + text), folder / "model.onnx")
    content = {"id": "m", "source": {"kind": "local", "path": "."}, "format": "onnx", "backend": "onnx"}
    (folder / "m.yaml").write_text(yaml.safe_dump({**content, "files": {"model": "model.onnx"}, **fields}))
    manifest = load_manifest(folder / "m.yaml")
    deployment = Deployment(
        name="m", backend="onnx", image="i", manifest=manifest, device="cpu", batching=Batching(axes=axes)
    )
    return OnnxBackend.load(deployment)


def answers(backend: OnnxBackend, *requests: dict[str, Array]) -> list[dict[str, list[Any]]]:
    found = backend.run([Request(inputs) for inputs in requests])
    assert all(isinstance(outputs, dict) for outputs in found), found
    return [{name: array.tolist() for name, array in outputs.items()} for outputs in found if isinstance(outputs, dict)]


def runs_for(backend: OnnxBackend, *requests: dict[str, Array]) -> int:
    """How often the model ran to answer them."""

    def count() -> float:
        return REGISTRY.get_sample_value("kernelport_run_requests_count", {"deployment": "m"}) or 0.0

    before = count()
    answers(backend, *requests)
    return round(count() - before)


def axes_of(backend: OnnxBackend) -> dict[str, int]:
    return {spec.name: spec.batch_axis for spec in (*backend.signature.inputs, *backend.signature.outputs)}


def test_a_model_is_stacked_along_the_axis_that_keeps_rows_apart(tmp_path: Path) -> None:
    backend = load(tmp_path, SUM_OVER_TIME)
    signature = backend.signature
    assert signature.batchable
    assert signature.row_independence == pb.ROW_INDEPENDENCE_PROVEN
    assert axes_of(backend) == {"x": 1, "y": 1}
    first, second = np.ones((3, 1), np.float32), np.full((3, 2), 5, np.float32)
    assert runs_for(backend, {"x": first}, {"x": second}) == 1
    assert answers(backend, {"x": first}, {"x": second}) == [
        {"y": np.cumsum(first, 0).tolist()},
        {"y": np.cumsum(second, 0).tolist()},
    ]


def test_requests_that_leave_an_input_to_its_default_share_a_run(tmp_path: Path) -> None:
    text = "g (float[N] x, float[1] scale) => (float[N] y) <float[1] scale = {3}> { y = Mul(x, scale) }"
    backend = load(tmp_path, text)
    ones, twos, scale = np.ones(1, np.float32), np.full(1, 2, np.float32), np.full(1, 5, np.float32)
    requests = {"x": ones}, {"x": twos}, {"x": twos, "scale": scale}
    assert runs_for(backend, *requests) == 2
    assert answers(backend, *requests) == [{"y": [3]}, {"y": [6]}, {"y": [10]}]


def test_what_the_proof_cannot_follow_is_stacked_where_the_manifest_says_so(tmp_path: Path) -> None:
    backend = load(tmp_path, HIDDEN)
    assert not backend.signature.batchable
    assert backend.signature.row_independence == pb.ROW_INDEPENDENCE_UNKNOWN
    assert "Sequence" in backend.signature.reason
    declared = load(tmp_path, HIDDEN, batch_axes={"inputs": {"x": 0}, "outputs": {"y": 0}})
    assert declared.signature.batchable
    assert declared.signature.row_independence == pb.ROW_INDEPENDENCE_DECLARED
    assert declared.signature.reason == "the manifest says batch_axes"


def test_padded_requests_of_several_lengths_get_their_own_answers(tmp_path: Path) -> None:
    backend = load(tmp_path, MASKED, pad=PADS)
    requests = [
        {"tokens": np.full((rows, length), value, np.int64), "mask": np.ones((rows, length), np.float32)}
        for rows, length, value in [(1, 2, 0), (2, 5, 1), (1, 1, 2)]
    ]
    assert runs_for(backend, *requests) == 1
    assert answers(backend, *requests) == [answers(backend, inputs)[0] for inputs in requests]


TWO_LENGTHS = {"inputs": {"x": {"axis": 1}, "z": {"axis": 1}}}


@pytest.mark.parametrize(
    ("graph", "outputs"),
    [
        pytest.param(
            "(float[N, A] y, float[N, B] w) { y = Neg(x) w = Neg(z) }",
            {"y": {"axis": 1, "as": "z"}, "w": {"axis": 1, "as": "x"}},
            id="outputs that follow each other's input",
        ),
        pytest.param(
            """(float[N, 1] y) <int64[1] zero = {0}, int64[1] one = {1}> {
            n = Shape<start = 1, end = 2>(x) c = Slice(z, zero, n, one, one) y = ReduceSum(c, one) }""",
            {},
            id="one input cut to the length of another",
        ),
    ],
)
def test_a_trial_has_inputs_of_different_lengths(graph: str, outputs: Any, tmp_path: Path) -> None:
    text = f"g (float[N, T] x, float[N, U] z) => {graph}"
    with pytest.raises(LoadError, match="a trial contradicts the manifest"):
        load(tmp_path, text, pad={**TWO_LENGTHS, "outputs": outputs})


def test_inputs_whose_lengths_may_differ_are_padded(tmp_path: Path) -> None:
    text = "g (float[N, T] x, float[N, U] z) => (float[N, T] y, float[N, U] w) { y = Neg(x) w = Neg(z) }"
    outputs = {"y": {"axis": 1, "as": "x"}, "w": {"axis": 1, "as": "z"}}
    backend = load(tmp_path, text, pad={**TWO_LENGTHS, "outputs": outputs})
    requests = [{"x": np.ones((1, a), np.float32), "z": np.ones((1, b), np.float32)} for a, b in [(1, 5), (5, 1)]]
    assert runs_for(backend, *requests) == 1
    assert answers(backend, *requests) == [answers(backend, inputs)[0] for inputs in requests]


def test_inputs_that_a_model_takes_at_one_length_only_are_padded(tmp_path: Path) -> None:
    """Exporters name dimensions of one length differently: what the model rejects is no verdict."""
    text = "g (float[N, T] x, float[N, U] z) => (float[N, V] y) { y = Add(x, z) }"
    backend = load(tmp_path, text, pad={**TWO_LENGTHS, "outputs": {"y": {"axis": 1, "as": "x"}}})
    assert backend.signature.batchable


def test_a_file_that_is_replaced_while_it_is_loaded_is_not_served(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    decide = batch_axes.decide

    def replaced(session: Session, path: Path, *rest: Any) -> Any:
        (path.parent / "new").write_bytes(path.read_bytes())
        (path.parent / "new").rename(path)
        return decide(session, path, *rest)

    monkeypatch.setattr(batch_axes, "decide", replaced)
    with pytest.raises(LoadError, match=r"model\.onnx was replaced while it was loaded"):
        load(tmp_path, SUM_OVER_TIME)


def test_a_warm_up_request_whose_rows_differ_is_no_verdict_on_stacking(tmp_path: Path) -> None:
    text = "g (float[N, 2] x, float[N, 2] z) => (float[N, 2] y) { y = Add(x, z) }"
    warm_up = [{"x": [[1, 2], [3, 4]], "z": [[5, 6]]}]
    assert load(tmp_path, text, onnx={"warm_up": warm_up}).signature.batchable


def test_warm_up_requests_that_differ_are_tried_together(tmp_path: Path) -> None:
    differing = {"warm_up": [{"tokens": [101]}, {"tokens": [103]}]}
    with pytest.raises(LoadError, match='a trial contradicts the manifest: output "y" is another in company'):
        load(tmp_path, HIDDEN_MEAN, batch_axes=TOKEN_AXES, onnx=differing)


def test_rows_of_one_warm_up_request_are_tried_apart(tmp_path: Path) -> None:
    warm_up = {"warm_up": [{"tokens": [101, 103]}]}
    with pytest.raises(LoadError, match='a trial contradicts the manifest: output "y" is another in company'):
        load(tmp_path, HIDDEN_MEAN, batch_axes=TOKEN_AXES, onnx=warm_up)


@pytest.mark.parametrize("mask", ["bool", "float"])
@pytest.mark.parametrize("lengths", [[3], [3, 2]], ids=str)
def test_warm_up_requests_are_tried_and_no_random_masks_beside_them(
    lengths: list[int], mask: str, tmp_path: Path
) -> None:
    text = LAST.replace("MASK", mask)
    warm_up = [{"tokens": [[1, 2, 3][:length]], "mask": [[1] * length]} for length in lengths]
    with pytest.raises(LoadError, match=r"a trial contradicts the manifest: .* give onnx\.warm_up"):
        load(tmp_path, text, pad=LAST_PADS)
    assert load(tmp_path, text, pad=LAST_PADS, onnx={"warm_up": warm_up}).signature.batchable


def test_warm_up_requests_of_several_lengths_contradict_a_wrong_pad(tmp_path: Path) -> None:
    warm_up = [{"tokens": [[1, 2, 3][:length]], "mask": [[0] * length]} for length in (3, 2)]
    with pytest.raises(LoadError, match="a trial contradicts the manifest"):
        load(tmp_path, LAST.replace("MASK", "float"), pad=LAST_PADS, onnx={"warm_up": warm_up})


@pytest.mark.parametrize("warm_up", [[], [[101]], [[101], [101]]], ids=str)
def test_a_declaration_that_no_trial_could_contradict_says_so(warm_up: list[Any], tmp_path: Path) -> None:
    settings = {"warm_up": [{"tokens": tokens} for tokens in warm_up]}
    signature = load(tmp_path, HIDDEN_MEAN, batch_axes=TOKEN_AXES, onnx=settings).signature
    assert signature.reason.startswith("the manifest says batch_axes; no trial could contradict the manifest: ")


@pytest.mark.parametrize(
    ("text", "fields", "message"),
    [
        (
            "g (float[N, 2] x) => (float[N, 2] y) <int64 rows = {0}> { y = CumSum(x, rows) }",
            {"batch_axes": {"inputs": {"x": 0}, "outputs": {"y": 0}}},
            "batch_axes: the model mixes rows: .*CumSum",
        ),
        (
            HIDDEN_SUM,
            {"batch_axes": {"inputs": {"x": 0}, "outputs": {"y": 0}}},
            'a trial contradicts the manifest: output "y".* off',
        ),
        (
            "g (float[N, T] x) => (float[N] y) <int64[1] last = {1}> { y = ReduceSum<keepdims = 0>(x, last) }",
            {"pad": {"inputs": {"x": {"axis": 1, "value": 5}}}},
            "a trial contradicts the manifest",
        ),
        (
            SUM_OVER_TIME,
            {"batch_axes": {"inputs": {"x": 1}, "outputs": {"y": 0}}},
            r"batch_axes.outputs: expected \{'y': 1\} as in the model, got \{'y': 0\}",
        ),
        (HIDDEN, {"batch_axes": {"inputs": {"z": 0}, "outputs": {"y": 0}}}, "batch_axes.inputs: expected .* x; got z"),
        (
            HIDDEN,
            {"batch_axes": {"inputs": {"x": 1}, "outputs": {"y": 0}}},
            "batch_axes.inputs.x: expected a free axis",
        ),
        (HIDDEN, {"pad": {"inputs": {"x": {"axis": 1}}}}, "pad: needs batch_axes"),
        (MASKED, {"pad": {"inputs": {"tokens": {"axis": 0}}}}, "pad.inputs.tokens.axis: expected another axis"),
        (
            MASKED,
            {"pad": {"inputs": {"tokens": {"axis": 1, "value": 0.5}}}},
            "pad.inputs.tokens.value: .* I64, got 0.5",
        ),
        (MASKED, {"pad": {"inputs": {"word": {"axis": 1}}}}, "pad.inputs.word: the model has no such tensor"),
        (
            MASKED,
            {"pad": {"inputs": {"tokens": {"axis": 1, "value": 2**53 + 2}, "mask": {"axis": 1}}}},
            "tokens.value: .* I64, got",
        ),
        (
            MASKED,
            {"pad": {"inputs": {"tokens": {"axis": 1}, "mask": {"axis": 1, "value": 1e39}}}},
            r"mask.value: .* F32, got 1e\+39",
        ),
        (
            "g (float[N, T] x, float[N, U] z) => (float[N, T] y) { y = Neg(x) }",
            {"pad": {**TWO_LENGTHS, "outputs": {"y": {"axis": 1, "as": "z"}}}},
            "pad.outputs.y.as: expected x, whose padded axis has the name 'T', too",
        ),
        (
            MASKED,
            {"pad": {"inputs": {"tokens": {"axis": 1}}}},
            "pad.inputs.mask: expected a pad of axis 1, which has the name 'T' like the padded axis 1 of tokens",
        ),
        (MASKED, {"pad": {"inputs": {"tokens": {"axis": 1, "value": float("inf")}}}}, "tokens.value: .* I64, got inf"),
        (
            "g (float[N, H, W] x) => (float[N, H, W] y) { y = Relu(x) }",
            {"pad": {"inputs": {"x": [{"axis": 1}, {"axis": 2}]}, "outputs": {"y": {"axis": 2, "as": "x"}}}},
            "pad.outputs.y.as_axis: expected 1 or 2, the padded axes of x; got nothing",
        ),
        (
            MASKED,
            {"pad": {**PADS, "outputs": {"logits": {"axis": 1, "as": "words"}}}},
            'pad.outputs.logits.as: expected one of mask, tokens, got "words"',
        ),
    ],
)
def test_a_declaration_that_is_wrong_is_refused(
    text: str, fields: dict[str, Any], message: str, tmp_path: Path
) -> None:
    with pytest.raises(LoadError, match=message):
        load(tmp_path, text, **fields)


@pytest.mark.parametrize(
    ("axes", "fields", "batchable", "reason"),
    [
        ("off", {}, False, "axes is off"),
        ("off", {"batch_axes": {"inputs": {"x": 1}, "outputs": {"y": 1}}}, False, "axes is off"),
        ("declared", {}, False, "the manifest has no batch_axes"),
        ("declared", {"batch_axes": {"inputs": {"x": 1}, "outputs": {"y": 1}}}, True, "the manifest says batch_axes"),
        ("auto", {"batch_axes": "none"}, False, "batch_axes: none"),
    ],
)
def test_the_operator_and_the_manifest_can_switch_it_off(
    axes: BatchAxes, fields: dict[str, Any], batchable: bool, reason: str, tmp_path: Path
) -> None:
    signature = load(tmp_path, SUM_OVER_TIME, axes, **fields).signature
    assert signature.batchable is batchable
    assert reason in signature.reason


def test_without_the_package_that_reads_graphs_nothing_is_proven_and_that_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = importlib.util.find_spec
    monkeypatch.setattr("importlib.util.find_spec", lambda name, *rest: None if name == "onnx" else real(name, *rest))
    signature = load(tmp_path, SUM_OVER_TIME).signature
    assert not signature.batchable
    assert "the package onnx" in signature.reason
