"""Kernels written in Helion beside plain PyTorch: helion-demo's softmax, and the fused kernels of LuxTTS."""

import statistics
import time
from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from kernelport_ops.bench.gpu.setting import DTYPES, SERVED, Record, Setting, attempt
from kernelport_workers.kernels import environment
from kernelport_workers.luxtts.checkpoint import CheckpointFiles
from kernelport_workers.luxtts.kernels.selection import choose

_RUNS = 20
_TOLERANCES = {"float32": 1e-5, "float16": 2e-3}


def kernels(setting: Setting) -> Iterator[Record]:
    """Every kernel as Helion configures it untuned, in every type."""
    for dtype in _TOLERANCES:
        yield from _softmax(setting, dtype)
    for dtype in DTYPES:
        yield from _fused(setting, dtype)


def tuned_kernels(setting: Setting) -> Iterator[Record]:
    """Every kernel after a short search for its best configuration, in the type that is served."""
    yield from _softmax(setting, SERVED)
    yield from _fused(setting, SERVED)


def _softmax(setting: Setting, dtype: str) -> Iterator[Record]:
    for rows, columns in setting.softmax:

        def measure(rows: int = rows, columns: int = columns) -> Iterator[Record]:
            environment.prepare(gpu=not setting.dry)
            from kernelport_workers.kernels.softmax import softmax_two_pass

            generator = torch.Generator().manual_seed(0)
            x = torch.randn(rows, columns, generator=generator).to(setting.device, DTYPES[dtype])
            expected, found = torch.softmax(x, dim=1), softmax_two_pass(x)
            error = float((found.float() - expected.float()).abs().max() / expected.float().abs().max())
            eager = _milliseconds(lambda: torch.softmax(x, dim=1), setting)
            fused = _milliseconds(lambda: softmax_two_pass(x), setting)
            limits = {"error": error, "tolerance": _TOLERANCES[dtype]}
            yield {"eager_ms": eager, "fused_ms": fused, **limits, "ok": error <= _TOLERANCES[dtype]}

        yield from attempt({"kernel": f"softmax {rows}x{columns}", "dtype": dtype}, measure)


def _fused(setting: Setting, dtype: str) -> Iterator[Record]:
    def measure() -> Iterator[Record]:
        environment.prepare(gpu=not setting.dry)
        import helion  # noqa: F401  # without it there is nothing to choose from: the record says why

        config = CheckpointFiles.open(setting.random).config.fm_decoder
        for jobs in setting.kernel_jobs:
            _, trials = choose(config, setting.device, DTYPES[dtype], jobs, setting.kernel_frames)
            for trial in trials:
                what = {"kernel": trial.name, "batch": jobs}
                found = {"eager_ms": 1e3 * trial.eager, "fused_ms": 1e3 * trial.fused}
                found |= {"error": trial.error, "tolerance": trial.tolerance, "kept": trial.kept}
                failed = {"failure": trial.failure}
                yield what | (failed if trial.failure else found | {"ok": trial.error <= trial.tolerance})

    yield from attempt({"dtype": dtype}, measure)


def _milliseconds(work: Callable[[], Tensor], setting: Setting) -> float:
    """Median of one call, launch included."""
    times = []
    for _ in range(1 if setting.dry else _RUNS):
        _wait(setting)
        began = time.perf_counter()
        work()
        _wait(setting)
        times.append(time.perf_counter() - began)
    return 1e3 * statistics.median(times)


def _wait(setting: Setting) -> None:
    if not setting.dry:
        torch.cuda.synchronize(setting.device)
