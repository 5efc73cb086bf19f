"""Requests that may share a run do, and each gets its own rows, at its own length."""

from collections.abc import Mapping

import numpy as np
import pytest

from kernelport.config.deployments import Batching
from kernelport.errors import InternalError
from kernelport.signature import Pad, Signature, TensorSpec, tensor_spec
from kernelport.tensors import Array
from kernelport.v1 import inference_pb2 as pb
from kernelport_workers.backends.base import LoadError, Outputs, Request
from kernelport_workers.backends.stacking import Stacker

ROWS = Signature(
    inputs=[tensor_spec("x", pb.F64, ["N", "W"])], outputs=[tensor_spec("y", pb.F64, ["N", "W"])], batchable=True
)
# What a language model takes and gives: rows along axis 1 of the output, its lengths along axis 0.
TOKENS = Signature(
    inputs=[
        tensor_spec("tokens", pb.I64, ["N", "T"], pads=[Pad(axis=1, value=7)]),
        tensor_spec("mask", pb.BOOL, ["N", "T"], pads=[Pad(axis=1, value=0)]),
    ],
    outputs=[
        tensor_spec("logits", pb.I64, ["T", "N"], batch_axis=1, pads=[Pad(axis=0, follows="tokens", follows_axis=1)]),
        tensor_spec("total", pb.I64, ["N"]),
    ],
    batchable=True,
)


class Model:
    """Notes what each run is given."""

    def __init__(self) -> None:
        self.runs: list[Mapping[str, Array]] = []

    def plus_one(self, inputs: Mapping[str, Array]) -> Outputs:
        self.runs.append(inputs)
        return {"y": inputs["x"] + 1}

    def masked(self, inputs: Mapping[str, Array]) -> Outputs:
        self.runs.append(inputs)
        numbers = inputs["tokens"] * inputs["mask"]
        return {"logits": numbers.T + 1, "total": numbers.sum(axis=1)}


def test_requests_that_fit_together_share_one_run() -> None:
    model = Model()
    arrays = [np.full(shape, float(index)) for index, shape in enumerate([(1, 2), (3, 2), (1, 5), (2, 2)])]
    answers = Stacker("d", ROWS, Batching(), model.plus_one).run([Request({"x": array}) for array in arrays])
    assert [len(run["x"]) for run in model.runs] == [6, 1]
    for array, outputs in zip(arrays, answers, strict=True):
        assert isinstance(outputs, dict)
        np.testing.assert_array_equal(outputs["y"], array + 1)


def test_a_run_keeps_to_the_limits() -> None:
    model = Model()
    requests = [Request({"x": np.zeros((3, 2))}) for _ in range(5)]
    assert len(Stacker("d", ROWS, Batching(max_rows=7), model.plus_one).run(requests)) == 5
    assert [len(run["x"]) for run in model.runs] == [6, 6, 3]


def test_padded_requests_get_their_own_lengths() -> None:
    model = Model()
    rng = np.random.default_rng(0)
    requests = [
        {"tokens": rng.integers(1, 100, shape), "mask": rng.integers(0, 2, shape).astype(bool)}
        for shape in [(1, 4), (2, 9), (3, 1)]
    ]
    answers = Stacker("d", TOKENS, Batching(), model.masked).run([Request(inputs) for inputs in requests])
    assert [run["tokens"].shape for run in model.runs] == [(6, 9)]
    assert model.runs[0]["tokens"][0].tolist() == [*requests[0]["tokens"][0], 7, 7, 7, 7, 7]
    assert model.runs[0]["mask"].dtype == bool
    for inputs, outputs in zip(requests, answers, strict=True):
        assert isinstance(outputs, dict)
        expected = Model().masked(inputs)
        np.testing.assert_array_equal(outputs["logits"], expected["logits"])
        np.testing.assert_array_equal(outputs["total"], expected["total"])


def test_each_axis_of_an_output_is_cut_to_the_axis_that_it_follows() -> None:
    square = Signature(
        inputs=[tensor_spec("x", pb.F64, ["N", "H", "W"], pads=[Pad(axis=1), Pad(axis=2)])],
        outputs=[
            tensor_spec(
                "y",
                pb.F64,
                ["N", "H", "W"],
                pads=[Pad(axis=1, follows="x", follows_axis=1), Pad(axis=2, follows="x", follows_axis=2)],
            )
        ],
        batchable=True,
    )
    arrays = [np.full((1, 6, 4), 1.0), np.full((2, 4, 6), 2.0)]
    answers = Stacker("d", square, Batching(), Model().plus_one).run([Request({"x": array}) for array in arrays])
    assert [outputs["y"].shape for outputs in answers if isinstance(outputs, dict)] == [(1, 6, 4), (2, 4, 6)]


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (tensor_spec("y", pb.F64, ["N"], batch_axis=1), r'tensor "y": expected an axis of F64\[N\], got 1'),
        (tensor_spec("y", pb.F64, ["N", "W"], pads=[Pad(axis=1, follows="z")]), 'output "y": axis 1 is as long as'),
        (tensor_spec("y", pb.F64, ["N", "W"], pads=[Pad(axis=1, follows="x")]), "no padded axis of an input"),
    ],
)
def test_axes_that_do_not_fit_are_refused_at_load(spec: TensorSpec, message: str) -> None:
    signature = Signature(inputs=ROWS.inputs, outputs=[spec], batchable=True)
    with pytest.raises(LoadError, match=message):
        Stacker("d", signature, Batching(), Model().plus_one)


def test_a_shared_run_whose_outputs_cannot_be_split_is_run_one_by_one() -> None:
    model = Model()

    def shorter(inputs: Mapping[str, Array]) -> Outputs:
        return {"y": model.plus_one(inputs)["y"][:1]}

    answers = Stacker("d", ROWS, Batching(), shorter).run([Request({"x": np.full((1, 2), float(k))}) for k in range(3)])
    assert len(model.runs) == 1 + 3
    assert [outputs["y"].tolist() for outputs in answers if isinstance(outputs, dict)] == [
        [[k + 1, k + 1]] for k in range(3)
    ]


def test_a_request_that_fails_a_shared_run_fails_alone() -> None:
    def picky(inputs: Mapping[str, Array]) -> Outputs:
        if np.any(inputs["x"] == 2):
            raise InternalError("no twos")
        return {"y": inputs["x"]}

    answers = Stacker("d", ROWS, Batching(), picky).run([Request({"x": np.full((1, 2), float(k))}) for k in range(4)])
    assert [isinstance(answer, InternalError) for answer in answers] == [False, False, True, False]


def test_other_limits_hold_from_the_next_run_on() -> None:
    model = Model()
    stacker = Stacker("d", ROWS, Batching(), model.plus_one)
    requests = [Request({"x": np.zeros((2, 2))}) for _ in range(3)]
    stacker.run(requests)
    stacker.limits = Batching(max_rows=4)
    stacker.run(requests)
    assert [len(run["x"]) for run in model.runs] == [6, 4, 2]
