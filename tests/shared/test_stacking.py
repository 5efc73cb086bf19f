"""Which requests may share a run, and how large it gets."""

import numpy as np
import pytest

from kernelport.config.deployments import Batching
from kernelport.signature import Pad, Signature, tensor_spec
from kernelport.stacking import ANY, RunSize, Share, Stacking
from kernelport.tensors import from_arrays
from kernelport.v1 import inference_pb2 as pb

TOKENS = Signature(
    inputs=[
        tensor_spec("tokens", pb.I64, ["batch", "length"], pads=[Pad(axis=1)]),
        tensor_spec("image", pb.F32, [3, "pictures", "width"], batch_axis=1),
        tensor_spec("wide", pb.F32, ["b", "width"]),
        tensor_spec("gain", pb.F32, [1], optional=True),
    ],
    outputs=[tensor_spec("y", pb.F32, ["batch", 2])],
    batchable=True,
)


def share(rows: int = 2, length: int = 5, width: int = 4, **others: np.ndarray) -> Share:
    arrays = {
        "tokens": np.zeros((rows, length), np.int64),
        "image": np.zeros((3, rows, width), np.float32),
        "wide": np.zeros((rows, width), np.float32),
    }
    stacking = Stacking.of(TOKENS)
    assert stacking is not None
    return stacking.share(from_arrays({**arrays, **others}))


def test_requests_share_a_run_when_all_but_their_rows_and_padded_lengths_are_equal() -> None:
    assert share(rows=1, length=9).group == share(rows=3, length=2).group is not None
    assert share(width=4).group != share(width=5).group
    assert (share(rows=3).rows, share(length=9).extents) == (3, (9,))


def test_the_order_in_which_inputs_are_given_does_not_matter() -> None:
    stacking = Stacking.of(TOKENS)
    assert stacking is not None
    arrays = {
        "wide": np.zeros((1, 4), np.float32),
        "image": np.zeros((3, 1, 4), np.float32),
        "tokens": np.zeros((1, 7), np.int64),
    }
    assert stacking.share(from_arrays(arrays)) == share(rows=1, length=7)


@pytest.mark.parametrize(
    "others",
    [
        {"tokens": np.zeros((3, 5), np.int64)},  # rows that differ
        {"image": np.zeros((3, 2, 7), np.float32)},  # dimensions of one name that differ
        {"gain": np.ones(1, np.float32)},  # an optional input
    ],
    ids=["rows", "names", "optional"],
)
def test_a_request_that_is_not_as_the_proof_takes_it_runs_alone(others: dict[str, np.ndarray]) -> None:
    assert share(**others).alone


def test_requests_that_run_alone_are_in_a_batch_with_their_like_only() -> None:
    gain = {"gain": np.ones(1, np.float32)}
    assert share(rows=1, **gain).group == share(rows=3, **gain).group
    assert share(**gain).group not in {share().group, share(rows=0).group, share(width=9, **gain).group}


@pytest.mark.parametrize("empty", [{"rows": 0}, {"length": 0}, {"width": 0}], ids=str)
def test_a_request_with_an_empty_axis_runs_alone(empty: dict[str, int]) -> None:
    assert share(**empty).alone  # type: ignore[arg-type]


def test_nothing_is_stacked_where_the_signature_is_not_batchable() -> None:
    assert Stacking.of(Signature(inputs=TOKENS.inputs)) is None
    assert Stacking.of(None) is None


def test_a_request_without_an_axis_that_is_padded_runs_alone() -> None:
    """As a signature may say that no worker of ours published."""
    stacking = Stacking.of(Signature(inputs=[tensor_spec("x", pb.F32, [], pads=[Pad(axis=1)])], batchable=True))
    assert stacking is not None
    assert stacking.share(from_arrays({"x": np.ones(2, np.float32)})).alone


def admitted(limits: Batching, *shares: Share, size: int = 1) -> int:
    run = RunSize(limits)
    return [run.admits(share, size) for share in shares].count(True)


def test_a_run_keeps_to_its_limits() -> None:
    one = Share("g", rows=1000)
    assert admitted(Batching(max_batch=3), *[one] * 9) == 3
    assert admitted(Batching(max_rows=2500), *[one] * 9) == 2
    assert admitted(Batching(max_bytes=25), *[one] * 9, size=10) == 2
    assert admitted(Batching(max_rows=1, max_bytes=1), one, size=10) == 1  # the first always may


def test_the_limit_in_bytes_counts_what_padding_adds() -> None:
    short, long = share(rows=1, length=1), share(rows=1, length=1000)
    assert admitted(Batching(max_bytes=15_000), long, short) == 1  # 2 rows of 1,000 tokens of 8 bytes
    assert admitted(Batching(max_bytes=17_000), long, short) == 2
    assert admitted(Batching(max_bytes=15_000), *[short] * 9) == 9


def test_rows_of_requests_that_are_not_stacked_are_not_limited() -> None:
    assert admitted(Batching(max_rows=1), ANY, ANY, ANY) == 3
