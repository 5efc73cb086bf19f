"""What is proven is so: each request's share of a stacked run is its answer alone."""

import pytest

from kernelport_workers.row_proof import Verdict, prove
from kernelport_workers.row_proof.nodes import TABLE
from tests.row_proof.mixed import MIXED
from tests.row_proof.samples import SAMPLES
from tests.row_proof.stacking import Runner, axes_of_rows, model_of, requests_for, same_as_alone, stacked

ALWAYS_MIXED = {
    *(("", name) for name in ("Bernoulli", "Multinomial", "RandomNormal", "RandomNormalLike", "RandomUniform")),
    *(("", name) for name in ("RandomUniformLike", "DynamicQuantizeLinear", "MaxRoiPool", "RoiAlign", "MaxUnpool")),
    *(("", name) for name in ("StringNormalizer", "StringSplit")),
    ("com.microsoft", "DynamicQuantizeMatMul"),
}
"""Operators of which nothing is ever proven; they are among the mixed models."""
NOT_COMPUTED = {
    ("ai.onnx.ml", "ZipMap"): "gives a sequence of maps, which is no array",
    ("com.microsoft", "DynamicQuantizeLSTM"): "takes weights that only the quantisation tool of ONNX Runtime packs",
}


@pytest.mark.parametrize(("graph", "opsets"), SAMPLES)
def test_a_stacked_run_answers_each_request_as_alone(graph: str, opsets: str | None) -> None:
    model = model_of(graph, opsets)
    proof = prove(model, input_axes=axes_of_rows(model))
    assert proof.verdict is Verdict.PROVEN, proof.reason
    run = Runner(model)
    feeds = requests_for(model)
    assert same_as_alone(run(stacked(feeds, proof.input_axes)), [run(feed) for feed in feeds], proof.output_axes)


def test_every_operator_of_the_table_is_tried() -> None:
    proven = {key for graph, opsets in SAMPLES for key in _operators(graph, opsets)}
    mixed = {key for graph in MIXED.values() for key in _operators(graph, None)}
    assert not TABLE.keys() - proven - ALWAYS_MIXED - NOT_COMPUTED.keys()
    assert mixed >= ALWAYS_MIXED


def _operators(graph: str, opsets: str | None) -> set[tuple[str, str]]:
    return {(node.domain, node.op_type) for node in model_of(graph, opsets).graph.node}
