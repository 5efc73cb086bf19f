"""What only a GPU runs, as far as a CPU can tell: kernels interpreted, and graphs that repeat what they recorded."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from kernelport_workers.luxtts.acoustic import Schedule, TorchAcousticModel
from kernelport_workers.luxtts.bench.workload import Workload, jobs_of, mixed_jobs, mixed_lengths
from kernelport_workers.luxtts.checkpoint import CheckpointFiles
from kernelport_workers.luxtts.decoder import FlowDecoder
from kernelport_workers.luxtts.graphs import GraphedSteps, bucket
from kernelport_workers.luxtts.kernels import EAGER, Fused
from kernelport_workers.luxtts.kernels.selection import choose
from kernelport_workers.luxtts.text_encoder import TextModel
from tests.luxtts.conftest import relative_error

Acoustic = tuple[TextModel, FlowDecoder]
SCHEDULE = Schedule(2, 0.9, 3.0)
MIXED = mixed_jobs(mixed_lengths(3, 0.6, "even"), 0.3, 100)


@pytest.fixture
def model(acoustic: Acoustic, tiny: object) -> TorchAcousticModel:
    return TorchAcousticModel(CheckpointFiles.open(str(tiny)).config, *acoustic, max_batch=4)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_every_kernel_agrees_with_plain_pytorch(acoustic: Acoustic, dtype: torch.dtype) -> None:
    _, trials = choose(acoustic[1].config, torch.device("cpu"), dtype, batch=2, frames=21)
    assert [trial.name for trial in trials] == list(Fused.__dataclass_fields__)
    for trial in trials:
        assert not trial.failure
        assert trial.error <= trial.tolerance, trial


def test_a_model_with_every_kernel_speaks_the_same(model: TorchAcousticModel) -> None:
    expected = model.generate(MIXED, SCHEDULE)
    from kernelport_workers.luxtts.kernels import helion_kernels

    kernels = {name: getattr(helion_kernels, name) for name in Fused.__dataclass_fields__}
    model.decoder.use(Fused(**kernels))
    try:
        fused = model.generate(MIXED, SCHEDULE)
    finally:
        model.decoder.use(EAGER)
    for found, wanted in zip(fused, expected, strict=True):
        assert relative_error(found, wanted) < 2e-5


def test_a_kernel_that_fails_is_left_out(acoustic: Acoustic, monkeypatch: pytest.MonkeyPatch) -> None:
    from kernelport_workers.luxtts.kernels import helion_kernels

    def broken(*_: Tensor) -> Tensor:
        raise RuntimeError("no such instruction")

    monkeypatch.setattr(helion_kernels, "norm_bypass", broken)
    fused, trials = choose(acoustic[1].config, torch.device("cpu"), torch.float32, frames=9)
    assert fused.norm_bypass is None
    assert "no such instruction" in trials[0].failure


def test_replayed_steps_equal_eager_ones_in_every_bucket(model: TorchAcousticModel) -> None:
    recorded: list[None] = []

    def repeat(function: Callable[[], Tensor]) -> tuple[Callable[[], None], Tensor]:
        recorded.append(None)
        result = function().clone()
        return lambda: result.copy_(function()), result  # type: ignore[return-value]

    batches = [MIXED, MIXED[:1], MIXED[:1], jobs_of(Workload(0.9, 0.3, batch=2), 100), MIXED]
    expected = [model.generate(batch, SCHEDULE) for batch in batches]
    model.graphs = GraphedSteps(model.decoder, repeat)
    for batch, wanted in zip(batches, expected, strict=True):
        for found, alone in zip(model.generate(batch, SCHEDULE), wanted, strict=True):
            assert relative_error(found, alone) < 2e-5
    assert len(recorded) == len({bucket(len(batch), max(job.frames for job in batch)) for batch in batches})


def test_a_bucket_is_little_larger_than_its_batch() -> None:
    assert [bucket(*size) for size in ((1, 1), (2, 128), (3, 129), (16, 1_400), (33, 1_500))] == [
        (1, 128),
        (2, 128),
        (4, 256),
        (16, 1_408),
        (48, 1_536),
    ]
