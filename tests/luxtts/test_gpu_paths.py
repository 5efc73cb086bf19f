"""What only a GPU runs, as far as a CPU can tell: kernels interpreted, and graphs that repeat what they recorded."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from kernelport_workers.luxtts.acoustic import Schedule, TorchAcousticModel
from kernelport_workers.luxtts.attention import AttentionWeights, Frames, StoredAttention
from kernelport_workers.luxtts.bench.workload import Workload, jobs_of, mixed_jobs, mixed_lengths
from kernelport_workers.luxtts.checkpoint import CheckpointFiles
from kernelport_workers.luxtts.config import ZipformerConfig
from kernelport_workers.luxtts.decoder import FlowDecoder
from kernelport_workers.luxtts.graphs import GraphedSteps, sizes
from kernelport_workers.luxtts.kernels import EAGER, Fused, Kernels, kept
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


def every_kernel() -> Fused:
    from kernelport_workers.luxtts.kernels import helion_kernels

    return Fused(**{name: getattr(helion_kernels, name) for name in Fused.__dataclass_fields__})


def test_a_model_with_every_kernel_speaks_the_same(model: TorchAcousticModel) -> None:
    expected = model.generate(MIXED, SCHEDULE)
    model.kernels = Kernels({(4, 100): every_kernel()})
    try:
        fused = model.generate(MIXED, SCHEDULE)
    finally:
        model.decoder.use(EAGER)
    for found, wanted in zip(fused, expected, strict=True):
        assert relative_error(found, wanted) < 2e-5


def scores_of(factor: float, dtype: torch.dtype, config: ZipformerConfig) -> tuple[AttentionWeights, Tensor, Tensor]:
    """Attention whose scores are ``factor`` times as large as usual, its input and values."""
    generator = torch.Generator().manual_seed(0)
    module = AttentionWeights(config)
    for parameter in module.parameters():
        parameter.data = torch.randn(parameter.shape, generator=generator) * 0.2
    module.in_proj.weight.data[: 2 * module.sizes[0]] *= factor**0.5
    x, values = (
        torch.randn(2, *shape, generator=generator) for shape in ((23, config.dim), (config.num_heads, 23, 12))
    )
    return module.to(dtype), x.to(dtype), values.to(dtype)


@pytest.mark.parametrize("kernels", ["plain", "fused"])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float16, 2e-3), (torch.bfloat16, 2e-2)])
@torch.inference_mode()
def test_scores_beyond_a_small_type_do_no_harm(
    acoustic: Acoustic, kernels: str, dtype: torch.dtype, tolerance: float
) -> None:
    config = acoustic[1].config
    module, x, values = scores_of(1e5, dtype, config)
    mask = torch.arange(23) >= torch.tensor([[23], [15]])
    exact = AttentionWeights(config)
    exact.load_state_dict(module.state_dict())
    projected = module.in_proj(x)
    query, key, _ = (part.float().unflatten(-1, (config.num_heads, -1)) for part in projected.split(module.sizes, -1))
    assert torch.einsum("bihd,bjhd->bhij", query, key).abs().max() > 65_504
    if kernels == "fused":
        module.fused = every_kernel()  # type: ignore[assignment]
    exact.in_proj = _Fixed(projected.float())  # type: ignore[assignment]
    expected = exact(x.float(), Frames.of(x.float(), 23, config.pos_dim, mask)).mix(values.float())
    found = module(x, Frames.of(x, 23, config.pos_dim, mask)).mix(values)
    assert found.isfinite().all()
    assert relative_error(found.float(), expected) < tolerance


class _Fixed(torch.nn.Module):
    """A projection that has been computed: both attentions then start from the same rounded numbers."""

    def __init__(self, projected: Tensor) -> None:
        super().__init__()
        self.projected = projected

    def forward(self, _: Tensor) -> Tensor:
        return self.projected


@torch.inference_mode()
def test_a_fused_kernel_stores_no_weights(acoustic: Acoustic) -> None:
    config = acoustic[1].config
    module, x, values = scores_of(1.0, torch.float32, config)
    module.fused = every_kernel()  # type: ignore[assignment]
    frames = Frames.of(x, 23, config.pos_dim)
    attention = module(x, frames)
    attention.mix(values)
    assert frames.scratch.numel() == 0
    assert not isinstance(attention, StoredAttention)


def test_a_kernel_that_fails_is_left_out(acoustic: Acoustic, monkeypatch: pytest.MonkeyPatch) -> None:
    from kernelport_workers.luxtts.kernels import helion_kernels

    def broken(*_: Tensor) -> Tensor:
        raise RuntimeError("no such instruction")

    monkeypatch.setattr(helion_kernels, "norm_bypass", broken)
    fused, trials = choose(acoustic[1].config, torch.device("cpu"), torch.float32, frames=9)
    assert fused.norm_bypass is None
    assert "no such instruction" in trials[0].failure


def test_kernels_are_tried_once_for_each_size_and_software(
    acoustic: Acoustic, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried: list[tuple[int, int]] = []
    chosen = every_kernel()

    def trial(*arguments: Any) -> tuple[Fused, list[Any]]:
        tried.append(arguments[-2:])
        return Fused(attention=chosen.attention) if arguments[-2] > 1 else EAGER, []

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(kept, "choose", trial)
    device, sizes = torch.device("cpu"), [(1, 100), (8, 100)]

    def kernels(dtype: torch.dtype = torch.float32) -> Kernels:
        return kept.kernels_of(acoustic[1].config, device, dtype, sizes)

    for _ in range(2):
        found = kernels()
        assert (found.of(1, 120).attention, found.of(9, 90).attention) == (None, chosen.attention)
        assert tried == sizes
    kernels(torch.float16)
    assert tried == sizes * 2
    monkeypatch.setattr(kept, "version", lambda _: "another")
    kernels()
    assert tried == sizes * 3
    (tmp_path / "kernelport" / "luxtts-kernels.json").write_text("cut o")
    kernels()
    assert tried == sizes * 4
    assert len(json.loads((tmp_path / "kernelport" / "luxtts-kernels.json").read_text())) == 2


class Repeater:
    """Stands for CUDA graphs: repeats a function, and counts what it has recorded, a byte each."""

    def __init__(self) -> None:
        self.recorded = 0

    def __call__(self, function: Callable[[], None]) -> Callable[[], None]:
        self.recorded += 1
        function()
        return function

    def memory(self) -> int:
        return self.recorded


SIZES = [(4, 256), (2, 256), (2, 128), (1, 128)]


def test_replayed_steps_equal_eager_ones_and_none_is_recorded_in_a_call(model: TorchAcousticModel) -> None:
    batches = [
        MIXED,
        MIXED[:1],
        MIXED[:1],
        jobs_of(Workload(0.9, 0.3, batch=2), 100),
        MIXED,
        jobs_of(Workload(5, 1), 100),
    ]
    expected = [model.generate(batch, SCHEDULE) for batch in batches]
    recorder = Repeater()
    model.graphs = GraphedSteps(model.decoder, recorder, SIZES)
    assert recorder.recorded == len(SIZES)
    for batch, wanted in zip(batches, expected, strict=True):
        for found, alone in zip(model.generate(batch, SCHEDULE), wanted, strict=True):
            assert relative_error(found, alone) < 2e-5
    assert recorder.recorded == len(SIZES)


def test_a_batch_takes_the_smallest_graph_that_holds_it_or_none(model: TorchAcousticModel) -> None:
    graphs = GraphedSteps(model.decoder, Repeater(), SIZES)
    assert [graphs.bucket(*size) for size in ((1, 1), (2, 128), (1, 129), (3, 20), (4, 257), (5, 20))] == [
        (1, 128),
        (2, 128),
        (2, 256),
        (4, 256),
        None,
        None,
    ]


def test_graphs_share_their_memory_and_stop_at_a_limit(model: TorchAcousticModel) -> None:
    graphs = GraphedSteps(model.decoder, Repeater(), SIZES, most_bytes=1)
    assert graphs.sizes == set(SIZES[:2])
    assert graphs.bytes_held == 2
    memory = graphs._memory
    assert memory.x.shape[0] == memory.result.shape[0] == 4 * 256
    assert memory.frames.scratch.numel() == 4 * model.decoder.config.num_heads * 256 * 256


def test_every_usual_batch_that_launches_hold_up_has_a_graph() -> None:
    wanted = sizes(64)
    assert len(wanted) == len(set(wanted)) <= 64
    assert max(jobs * frames for jobs, frames in wanted) <= 8_192
    assert {(1, 256), (1, 2048), (4, 2048), (8, 1024)} <= set(wanted)
    assert {jobs for jobs, _ in sizes(1)} == {1}
