"""Compare each fused kernel with plain PyTorch on this machine, and keep those that are right and faster."""

from __future__ import annotations

import logging
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from kernelport_workers.kernels import environment
from kernelport_workers.luxtts import ops
from kernelport_workers.luxtts.attention import AttentionWeights, Frames, SelfAttention
from kernelport_workers.luxtts.config import ZipformerConfig
from kernelport_workers.luxtts.kernels import EAGER, Fused
from kernelport_workers.luxtts.zipformer import BiasNorm, Bypass, FeedForward

_LOGGER = logging.getLogger(__name__)
_RUNS = 20
_TOLERANCE = {torch.float32: 1e-4, torch.float16: 5e-3, torch.bfloat16: 4e-2}


@dataclass(frozen=True, slots=True)
class Trial:
    """One kernel against plain PyTorch; times in seconds of the median run.

    Attributes:
        error: Largest difference relative to the largest value.
        failure: Why the kernel could not run; empty when it could.
    """

    name: str
    eager: float
    fused: float
    error: float
    tolerance: float
    failure: str = ""

    @property
    def kept(self) -> bool:
        """Whether the kernel is right and faster."""
        return not self.failure and self.error <= self.tolerance and self.fused < self.eager


def choose(
    config: ZipformerConfig, device: torch.device, dtype: torch.dtype, batch: int = 1, frames: int = 1400
) -> tuple[Fused, list[Trial]]:
    """Try every kernel on a layer's operations at the given size.

    On a GPU the first use tunes a kernel, which takes a minute or so; the result is cached. Without a GPU the kernels
    are interpreted, which tells whether they are right and nothing about speed.
    """
    chosen: dict[str, Callable[..., Tensor]] = {}
    trials = []
    for name, kernel in load_kernels(device).items():
        trial = _try(name, kernel, config, device, dtype, batch, frames)
        trials.append(trial)
        if trial.kept:
            chosen[name] = kernel
        _LOGGER.info("kernel %s", describe(trial))
    return Fused(**chosen), trials


def load_kernels(device: torch.device) -> dict[str, Callable[..., Tensor]]:
    """Every kernel by its name in :class:`Fused`; none where Helion cannot be imported."""
    try:
        environment.prepare(gpu=device.type != "cpu")
        from kernelport_workers.luxtts.kernels import helion_kernels
    except ImportError as error:
        _LOGGER.info("no fused kernels: %s", error)
        return {}
    return {name: getattr(helion_kernels, name) for name in Fused.__dataclass_fields__}


def describe(trial: Trial) -> str:
    """One line about a trial."""
    if trial.failure:
        return f"{trial.name}: not used: {trial.failure}"
    verdict = "kept" if trial.kept else "not used"
    return (
        f"{trial.name}: eager {1e3 * trial.eager:.3f} ms, fused {1e3 * trial.fused:.3f} ms, "
        f"error {trial.error:.1e} (at most {trial.tolerance:g}): {verdict}"
    )


@torch.inference_mode()
def _try(
    name: str,
    kernel: Callable[..., Tensor],
    config: ZipformerConfig,
    device: torch.device,
    dtype: torch.dtype,
    batch: int,
    frames: int,
) -> Trial:
    run = _operation(name, config, device, dtype, batch, frames)
    fused = Fused(**{name: kernel})
    expected = run(EAGER).float().clone()
    tolerance = _TOLERANCE[dtype]
    try:
        found = run(fused).float()
        error = float((found - expected).abs().max() / expected.abs().max())
        eager_s, fused_s = (_seconds(lambda use=use: run(use), device) for use in (EAGER, fused))  # type: ignore[misc]
    # A kernel that this GPU or compiler cannot take may raise anything; plain PyTorch serves.
    except Exception as failure:
        return Trial(name, 0.0, 0.0, 0.0, tolerance, f"{type(failure).__name__}: {str(failure)[:200]}")
    return Trial(name, eager_s, fused_s, error, tolerance)


def _operation(
    name: str, config: ZipformerConfig, device: torch.device, dtype: torch.dtype, batch: int, frames: int
) -> Callable[[Fused], Tensor]:
    """One operation of a layer with random weights and inputs, to be run with or without a kernel."""
    generator = torch.Generator().manual_seed(0)

    def random(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator).to(device, dtype)

    def ready(module: torch.nn.Module) -> torch.nn.Module:
        for parameter in module.parameters():
            parameter.data = torch.randn(parameter.shape, generator=generator) * 0.05
        return module.to(device, dtype).eval()

    x, origin = random(batch, frames, config.dim), random(batch, frames, config.dim)
    if name == "norm_bypass":
        norm, bypass = ready(BiasNorm(config.dim)), ready(Bypass(config.dim))
        return lambda fused: ops.norm_bypass(fused.norm_bypass, norm, bypass, origin, x)
    if name == "linear_swoosh_l":
        feed = ready(FeedForward(config.dim, config.feedforward_dim))

        def forward(fused: Fused) -> Tensor:
            feed.fused = fused  # type: ignore[assignment]
            result: Tensor = feed(x)
            return result

        return forward
    weights, attention = ready(AttentionWeights(config)), ready(SelfAttention(config))
    mask = torch.arange(frames, device=device)[None] >= torch.full((batch, 1), frames - frames // 8, device=device)

    described = Frames.of(x, frames, config.pos_dim, mask)

    def attend(fused: Fused) -> Tensor:
        weights.fused = fused  # type: ignore[assignment]
        result: Tensor = attention(x, weights(origin, described))
        return result

    return attend


def _seconds(work: Callable[[], object], device: torch.device) -> float:
    runs = _RUNS if device.type != "cpu" else 1
    times: list[float] = []
    for _ in range(runs + 1):
        _wait(device)
        began = time.perf_counter()
        work()
        _wait(device)
        times.append(time.perf_counter() - began)
    return statistics.median(times[1:])


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
