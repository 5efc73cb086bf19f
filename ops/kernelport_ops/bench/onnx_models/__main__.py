"""`python -m kernelport_ops.bench.onnx_models`: twenty models through the stack, and in a plain loop."""

import shutil
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from kernelport_ops.bench.generator import Generator
from kernelport_ops.bench.machine import describe_machine
from kernelport_ops.bench.onnx_models.measure import GOAL, GOAL_FROM_MS, Result, measure, to_dict
from kernelport_ops.bench.onnx_models.zoo import MODELS
from kernelport_ops.bench.plot import draw, plot_to
from kernelport_ops.bench.report import number, write_json
from kernelport_ops.bench.terminal import (
    NO_TERMINAL_WIDTH,
    cores,
    new_console,
    one_of,
    prepare_process,
    progress_bar,
    separated,
    until_stopped,
)

NAMES = [model.name for model in MODELS]
_MODEL_MS_TICKS = (0.01, 0.1, 1, 10, 100)


def table(results: Sequence[Result]) -> Table:
    """Medians over rounds."""
    found = Table(title="ONNX models: medians over rounds", title_justify="left")
    for title in (
        "model",
        "MiB",
        "bytes",
        "model ms",
        "loop/s",
        "calls/s",
        "job/s",
        "calls/loop",
        "job/loop",
        "stacked",
    ):
        found.add_column(title, justify="left" if title in ("model", "stacked") else "right", no_wrap=True)
    for result in results:
        speeds = (result.model_ms, result.direct, result.calls, result.job)
        found.add_row(
            result.model.name,
            number(result.model_mib),
            str(result.request_bytes),
            *(number(statistics.median(each)) for each in speeds),
            f"{result.calls_ratio:.2f}",
            f"{result.job_ratio:.2f}",
            "yes" if result.stacked else "no",
        )
    return found


def print_results(console: Console, results: Sequence[Result]) -> None:
    """The table, and the models that miss the goal."""
    console.print(table(results))
    missed = [result.model.name for result in results if result.misses_goal]
    console.print(f"below {GOAL} of the loop with {GOAL_FROM_MS:g} ms or more: {', '.join(missed) or 'none'}")


def plot(results: Sequence[Result], path: Path) -> None:
    """The share of the plain loop's throughput over the model's time. Raises BenchError when matplotlib is missing."""
    ordered = sorted(results, key=lambda result: statistics.median(result.model_ms))
    times = [statistics.median(result.model_ms) for result in ordered]
    lines = {
        "calls": (times, [result.calls_ratio for result in ordered]),
        "job": (times, [result.job_ratio for result in ordered]),
        "plain loop": (times, [1.0] * len(times)),
    }
    panels = [("throughput beside a plain loop", "share of the loop's throughput", lines)]
    draw(panels, "milliseconds of the model alone", path, columns=1, x_ticks=_MODEL_MS_TICKS)


@click.command(help="Measures ONNX models of many kinds beside a plain loop over ONNX Runtime.")
@click.option(
    "--models", default=",".join(NAMES), callback=separated(one_of(NAMES)), help="Commas between. [default: all]"
)
@click.option("--rounds", default=3, show_default=True, type=click.IntRange(1), help="Medians are taken over them.")
@click.option("--seconds", default=1.0, show_default=True, help="Of each measurement.")
@click.option("--callers", default=16, show_default=True, type=click.IntRange(1))
@click.option(
    "--workers",
    default=cores(),
    show_default="one per core",
    type=click.IntRange(1),
    help="Worker processes, and processes of the plain loop.",
)
@click.option("--out", default=Path("out/bench"), show_default=True, type=click.Path(path_type=Path))
def main(models: list[str], rounds: int, seconds: float, callers: int, workers: int, out: Path) -> None:
    """The command."""
    prepare_process()
    console = new_console()
    machine = describe_machine()
    chosen = [model for model in MODELS if model.name in models]
    folder = out / "run" / "onnx"
    shutil.rmtree(folder, ignore_errors=True)
    results: list[Result] = []
    complete = False
    with progress_bar(console) as progress, Generator() as generator:
        task = progress.add_task("", total=len(chosen))

        def notify(text: str) -> None:
            progress.update(task, description=text, completed=len(results))

        with until_stopped(console):
            for model in chosen:
                place = folder / model.name
                results.append(measure(model, place, workers, callers, rounds, seconds, generator, notify))
            complete = True
            notify("done")
    if not results:
        console.print("nothing was measured")
        sys.exit(1)
    document = {
        "machine": machine,
        "callers": callers,
        "workers": workers,
        "seconds": seconds,
        "complete": complete,
        "models": [to_dict(result) for result in results],
    }
    write_json(out / "onnx.json", document)
    print_results(console, results)
    with (out / "onnx.txt").open("w") as text:
        print_results(Console(file=text, width=NO_TERMINAL_WIDTH), results)
    console.print(f"figures: {out / 'onnx.json'}, {out / 'onnx.txt'}")
    plot_to(console, out / "onnx.png", lambda path: plot(results, path))
    sys.exit(0 if complete else 1)


if __name__ == "__main__":
    main()
