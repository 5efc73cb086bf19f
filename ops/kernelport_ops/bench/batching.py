"""`python -m kernelport_ops.bench.batching`: the batches that a GPU-like backend gets, and what they are worth.

The backend takes a fixed time per call and a time per item. With c callers and batches of at most b, the best that one
worker can do is min(b, c) items per `fixed + item * min(b, c)`.
"""

import os
import shutil
import statistics
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import click
import yaml
from rich.console import Console
from rich.table import Table

from kernelport.config.settings import Settings
from kernelport.supervisor.stack import Stack
from kernelport_ops.bench.cells import F32_BYTES, Figures, Job
from kernelport_ops.bench.generator import Generator
from kernelport_ops.bench.machine import describe_machine
from kernelport_ops.bench.plot import draw, plot_to
from kernelport_ops.bench.report import number, write_json
from kernelport_ops.bench.rivals import SERVERS
from kernelport_ops.bench.systems import START_TIMEOUT_S, labelled
from kernelport_ops.bench.terminal import new_console, positive, prepare_process, progress_bar, separated, until_stopped

MODEL = "simulated-gpu"
CONCURRENCIES = "1,4,16,32,64,128,256"


@dataclass(frozen=True)
class CostModel:
    """Milliseconds per call and per item, and how many items a call may take."""

    fixed_ms: float
    item_ms: float
    max_batch: int

    def ideal_per_second(self, concurrency: int) -> float:
        """Items a second of one worker that never waits, when so many callers wait for their answers."""
        batch = min(self.max_batch, concurrency)
        return 1000 * batch / (self.fixed_ms + self.item_ms * batch)


@dataclass(frozen=True)
class Point:
    """Medians over rounds at one concurrency.

    Attributes:
        per_second: items a second; `ideal_per_second` is the bound of the cost model.
        mean_batch: items a call.
        full: the share of items that ran in a batch of `max_batch`.
        p50_ms, p99_ms: milliseconds.
    """

    concurrency: int
    per_second: float
    ideal_per_second: float
    mean_batch: float
    full: float
    p50_ms: float
    p99_ms: float

    @property
    def of_ideal(self) -> float:
        """Throughput as a share of the ideal."""
        return self.per_second / self.ideal_per_second


def mean_batch(figures: Figures) -> float:
    """Items a call: each answer tells the size of its batch, so a batch of n is counted n times."""
    calls = sum(count / int(size) for size, count in figures.counts.items())
    return sum(figures.counts.values()) / calls if calls else 0.0


def points(runs: Sequence[tuple[int, Figures]], model: CostModel) -> list[Point]:
    """A point a concurrency."""
    found = []
    for concurrency in dict.fromkeys(callers for callers, _ in runs):
        figures = [each for callers, each in runs if callers == concurrency]
        median = statistics.median
        found.append(
            Point(
                concurrency=concurrency,
                per_second=median(each.per_second for each in figures),
                ideal_per_second=model.ideal_per_second(concurrency),
                mean_batch=median(mean_batch(each) for each in figures),
                full=median(each.counts.get(str(model.max_batch), 0) / max(1, each.answered) for each in figures),
                p50_ms=median(each.p50_ms for each in figures),
                p99_ms=median(each.p99_ms for each in figures),
            )
        )
    return found


@contextmanager
def backend_running(folder: Path, model: CostModel) -> Iterator[Stack]:
    """A stack with one worker that runs the simulated backend."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    entry = {
        "backend": "onnx",
        "image": "none",
        "device": "cpu",
        "pipeline": "simulated_gpu:SimulatedGpu",
        "batching": {"max_batch": model.max_batch},
    }
    deployments = folder / "deployments.yaml"
    deployments.write_text(yaml.safe_dump({"deployments": {MODEL: entry}}))
    # The worker inherits them.
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(SERVERS), os.environ.get("PYTHONPATH", "")]))
    os.environ["SIMULATED_GPU_FIXED_MS"] = str(model.fixed_ms)
    os.environ["SIMULATED_GPU_ITEM_MS"] = str(model.item_ms)
    settings = replace(Settings(), listen="127.0.0.1:0", deployments_file=deployments.absolute())
    with Stack(settings, [MODEL], folder) as stack:
        stack.wait_ready(START_TIMEOUT_S)
        yield stack


def job(stack: Stack, concurrency: int, seconds: float) -> Job:
    """So many callers of the simulated backend."""
    return Job(
        transport="grpc",
        target=stack.target,
        model=MODEL,
        shape=[1],
        answer_bytes=F32_BYTES,
        concurrency=concurrency,
        seconds=seconds,
        counted="batch",
        processes=labelled(list(stack.children.values())),
    )


def print_points(console: Console, found: Sequence[Point], model: CostModel) -> None:
    """A table of the medians."""
    costs = f"{model.fixed_ms:g} ms a call + {model.item_ms:g} ms an item, batches of at most {model.max_batch}"
    table = Table(title=f"simulated backend: {costs}", title_justify="left")
    for title in ("callers", "items/s", "ideal", "of ideal", "mean batch", "in full batches", "p50 ms", "p99 ms"):
        table.add_column(title, justify="right", no_wrap=True)
    for point in found:
        table.add_row(
            str(point.concurrency),
            number(point.per_second),
            number(point.ideal_per_second),
            f"{point.of_ideal:.3f}",
            f"{point.mean_batch:.1f}",
            f"{point.full:.0%}",
            number(point.p50_ms),
            number(point.p99_ms),
        )
    console.print(table)


def plot(found: Sequence[Point], path: Path) -> None:
    """Throughput and batch size over callers. Raises BenchError when matplotlib is missing."""
    callers = [point.concurrency for point in found]
    throughput = {
        "kernelport": (callers, [point.per_second for point in found]),
        "ideal": (callers, [point.ideal_per_second for point in found]),
    }
    batches = {"kernelport": (callers, [point.mean_batch for point in found])}
    panels = [("throughput", "items per second", throughput), ("batch size", "items per call", batches)]
    draw(panels, "callers", path, columns=2)


@click.command(help="Measures the batches that a GPU-like backend gets.")
@click.option("--fixed-ms", default=10.0, show_default=True, help="Milliseconds per call.")
@click.option("--item-ms", default=1.0, show_default=True, help="Milliseconds per item.")
@click.option("--max-batch", default=32, show_default=True, type=click.IntRange(1))
@click.option("--concurrency", default=CONCURRENCIES, show_default=True, callback=separated(positive))
@click.option("--rounds", default=3, show_default=True, type=click.IntRange(1), help="Medians are taken over them.")
@click.option("--seconds", default=3.0, show_default=True, help="Of a cell: no request starts later.")
@click.option("--out", default=Path("out/bench"), show_default=True, type=click.Path(path_type=Path))
def main(
    fixed_ms: float, item_ms: float, max_batch: int, concurrency: list[int], rounds: int, seconds: float, out: Path
) -> None:
    """The command."""
    prepare_process()
    console = new_console()
    machine = describe_machine()
    model = CostModel(fixed_ms, item_ms, max_batch)
    runs: list[tuple[int, Figures]] = []
    complete = False
    with progress_bar(console) as progress:
        task = progress.add_task("starting", total=rounds * len(concurrency))
        with until_stopped(console):
            with backend_running(out / "run" / MODEL, model) as stack, Generator() as generator:
                for number_of_round in range(1, rounds + 1):
                    for callers in concurrency:
                        text = f"round {number_of_round}/{rounds}: {callers} callers"
                        progress.update(task, description=text, completed=len(runs))
                        runs.append((callers, generator.run(job(stack, callers, seconds))))
            complete = True
            progress.update(task, description="done", completed=len(runs))
    if not runs:
        console.print("nothing was measured")
        sys.exit(1)
    found = points(runs, model)
    document = {
        "machine": machine,
        "cost_model": asdict(model),
        "complete": complete,
        "medians": [{**asdict(point), "of_ideal": point.of_ideal} for point in found],
        "runs": [{"concurrency": callers, "figures": figures.to_dict()} for callers, figures in runs],
    }
    write_json(out / "batching.json", document)
    print_points(console, found, model)
    console.print(f"figures: {out / 'batching.json'}")
    plot_to(console, out / "batching.png", lambda path: plot(found, path))
    sys.exit(0 if complete else 1)


if __name__ == "__main__":
    main()
