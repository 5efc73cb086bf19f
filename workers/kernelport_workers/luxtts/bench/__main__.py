"""`kernelport bench luxtts`: time every path at the real dimensions.

Without a model directory a random checkpoint of the published shape is made, exported and quantised, so that speed can
be measured where no weights can be had. Every path is compared with the engine's own plain eager float32 model in the
same run.
"""

from __future__ import annotations

import argparse
import platform
import tempfile
from collections.abc import Sequence
from pathlib import Path

import torch
from torch.profiler import profile

from kernelport_workers.luxtts.acoustic import Schedule
from kernelport_workers.luxtts.bench.measure import PATHS, Bench, prompt_seconds
from kernelport_workers.luxtts.bench.random_checkpoint import random_checkpoint
from kernelport_workers.luxtts.bench.report import limit, mixed_lines, round_line, table
from kernelport_workers.luxtts.bench.workload import Workload, jobs_of
from kernelport_workers.luxtts.cpu_layers import has_bfloat16
from kernelport_workers.luxtts.kernels.selection import choose, describe

_DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}
_INTERPRETED_FRAMES = 24


def main(arguments: Sequence[str] | None = None) -> None:
    """Command line entry."""
    options = _options(arguments)
    cpu = options.device == "cpu"
    paths = options.paths or [path for path in PATHS if _suits(path, cpu)]
    workloads = [Workload(options.seconds, options.reference, options.steps, batch) for batch in options.batch]
    with tempfile.TemporaryDirectory() as temporary:
        root = options.model
        if root is None:
            print("making a random checkpoint of the published shape ...", flush=True)
            root = random_checkpoint(Path(temporary), any(path.startswith("onnx") for path in paths))
        bench = Bench(root, options.device, _DTYPES[options.dtype])
        print(
            f"{options.seconds:g} s of speech, {options.reference:g} s reference, {options.steps} steps; {_machine()}"
        )
        rows = []
        for row in bench.rows(workloads, paths, options.repeat):
            rows.append(row)
            print(f"measured {row.path}, batch {row.batch}: {row.total:.2f} s", flush=True)
        matrix_flops = bench.matrix_flops(options.repeat)
        print(table(rows, matrix_flops))
        print(limit(rows[0], matrix_flops, options.dtype))
        if options.mixed:
            path = min(rows, key=lambda row: row.real_time_factor).path
            print(f"{path}, calls of items of mixed length", flush=True)
            mixed = bench.mixed(
                options.mixed, workloads[0], path, options.mix, lambda each: print(round_line(each), flush=True)
            )
            print(mixed_lines(mixed), flush=True)
        if options.profile:
            print("\n".join(_profile(bench, path, workloads[0]) for path in paths if "onnx" not in path))
        if options.kernels:
            frames = _INTERPRETED_FRAMES if cpu else int(1.5 * options.seconds * 94)
            print("kernels" + (", interpreted: their times mean nothing" if cpu else ""))
            _, trials = choose(
                bench.config.fm_decoder, torch.device(options.device), _DTYPES[options.dtype], frames=frames
            )
            print("\n".join(f"  {describe(trial)}" for trial in trials) or "  helion is not installed")
    encode, look_up, read = prompt_seconds(options.reference)
    print(f"reference: encoding {1e3 * encode:.1f} ms, cached {1e3 * look_up:.2f} ms, from Redis {1e3 * read:.2f} ms")


def _suits(path: str, cpu: bool) -> bool:
    """Whether a path is worth measuring here."""
    if not cpu:
        return path in ("plain", "torch", "torch-tuned")
    return path != "torch-tuned" and (path != "torch-bf16" or has_bfloat16())


def _profile(bench: Bench, path: str, workload: Workload) -> str:
    """The operators that take most of one utterance on one path, vocoder left out."""
    model, jobs = bench.model(path), jobs_of(workload, bench.config.feat_dim)
    schedule = Schedule(workload.steps, 0.9, 3.0)
    model.generate(jobs, schedule)
    with profile() as trace:
        model.generate(jobs, schedule)
    table = trace.key_averages().table(sort_by="self_cpu_time_total", row_limit=12, max_name_column_width=40)
    return f"{path}:\n{table}"


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="kernelport bench luxtts", description="Time every path of LuxTTS.")
    parser.add_argument("--model", type=Path, help="model directory; a random one is made when absent")
    parser.add_argument("--device", default="cpu", help="cpu, cuda or cuda:N")
    parser.add_argument("--dtype", choices=_DTYPES, default="float32", help="of the paths torch and torch-tuned")
    parser.add_argument("--paths", nargs="+", choices=PATHS, help="default: all that the device can run")
    parser.add_argument("--batch", nargs="+", type=int, default=[1], help="batch sizes")
    parser.add_argument("--seconds", type=float, default=15.0, help="seconds of speech of one item")
    parser.add_argument("--reference", type=float, default=5.0, help="seconds of the reference")
    parser.add_argument("--steps", type=int, default=4, help="solver steps")
    parser.add_argument("--repeat", type=int, default=2, help="runs, of which the best counts")
    parser.add_argument(
        "--mixed", type=int, default=0, metavar="N", help="also N items of mixed length, on the path that was fastest"
    )
    parser.add_argument(
        "--mix", choices=("even", "short"), default="even", help="their lengths: spread evenly, or mostly short ones"
    )
    parser.add_argument("--profile", action="store_true", help="also the operators of each path on PyTorch")
    parser.add_argument("--kernels", action="store_true", help="also each fused kernel against plain PyTorch")
    options = parser.parse_args(arguments)
    if options.device != "cpu" and not torch.cuda.is_available():
        parser.error(f"--device {options.device}: torch {torch.__version__} sees no CUDA device")
    for path in options.paths or ():
        if (path == "torch-tuned") if options.device == "cpu" else (path not in ("plain", "torch", "torch-tuned")):
            parser.error(f"--paths {path}: needs a {'GPU' if options.device == 'cpu' else 'CPU'}")
    return options


def _machine() -> str:
    if torch.cuda.is_available():
        return torch.cuda.get_device_name()
    return f"{platform.machine()}, {torch.get_num_threads()} threads"


if __name__ == "__main__":
    main()
