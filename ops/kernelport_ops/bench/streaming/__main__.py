"""`python -m kernelport_ops.bench.streaming`: the first sound, and whether the others follow in time."""

import contextlib
import os
import statistics
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import click
import yaml
from rich.console import Console
from rich.table import Table

from kernelport.supervisor.stack import Stack
from kernelport_ops.bench.bulk import workers_running
from kernelport_ops.bench.machine import describe_machine
from kernelport_ops.bench.plain_loop import run_plain_loop
from kernelport_ops.bench.plot import draw, plot_to
from kernelport_ops.bench.processes import cpu_seconds
from kernelport_ops.bench.report import number, write_json
from kernelport_ops.bench.streaming.listeners import MODEL, Ask, Figures, called, figures, heard_aside, streamed
from kernelport_ops.bench.terminal import (
    new_console,
    one_of,
    positive,
    prepare_process,
    progress_bar,
    separated,
    until_stopped,
)
from kernelport_ops.bench.texts import sentences

LEVELS = "1,4,16,64,200"
PLAIN_SENTENCES = 60
PIECES = "kernelport_workers.pipelines.hibari:HibariPipeline"
WHOLE = "kernelport_ops.bench.streaming.whole:WholeRequests"
# Of a call, however many are before it.
REQUEST_S = 600


@dataclass(frozen=True)
class System:
    """One line of the comparison.

    Attributes:
        whole: whether its worker speaks whole requests, first come, first served.
    """

    name: str
    ask: Ask
    whole: bool = False


SYSTEMS = {
    each.name: each
    for each in (System("streams", streamed), System("calls", called), System("whole requests", called, whole=True))
}


@contextlib.contextmanager
def running(system: System, folder: Path) -> Iterator[Stack]:
    """A stack with one worker of the voice, on a core of its own where there are two."""
    entry: dict[str, Any] = {
        "backend": "onnx",
        "image": "none",
        "device": "cpu",
        "pipeline": WHOLE if system.whole else PIECES,
    }
    entry |= {"batching": {"max_batch": 1}, "timeouts": {"request_s": REQUEST_S}}
    file = folder.absolute().with_suffix(".yaml")
    file.write_text(yaml.safe_dump({"deployments": {MODEL: entry}}))
    with workers_running(folder, 1, deployments_file=file) as (stack, _), _cores_of(stack):
        yield stack


@contextlib.contextmanager
def _cores_of(stack: Stack) -> Iterator[None]:
    """The worker has one core; all others, this process included, have the rest."""
    if not hasattr(os, "sched_setaffinity") or len(ours := sorted(os.sched_getaffinity(0))) < 2:
        yield
        return
    for name, child in stack.children.items():
        if child.pid is not None:
            _pin(child.pid, ours[:1] if name == _worker_name() else ours[1:])
    _pin(os.getpid(), ours[1:])
    try:
        yield
    finally:
        _pin(os.getpid(), ours)


def _pin(pid: int, cores: Sequence[int]) -> None:
    for thread in os.listdir(f"/proc/{pid}/task"):
        with contextlib.suppress(ProcessLookupError):
            os.sched_setaffinity(int(thread), cores)


def _worker_name() -> str:
    return f"worker-{MODEL}"


def measure(system: System, stack: Stack, listeners: int, seconds: float) -> Figures:
    """One level."""
    pid = stack.children[_worker_name()].pid
    before = cpu_seconds([pid] if pid else [])
    heard = heard_aside(stack.target, system.ask, listeners, seconds)
    return figures(system.name, listeners, heard, seconds, cpu_seconds([pid] if pid else []) - before)


def medians(found: Sequence[Figures]) -> list[Figures]:
    """Over the rounds of each system at each level."""
    groups: dict[tuple[str, int], list[dict[str, Any]]] = {}
    for each in found:
        groups.setdefault((each.system, each.listeners), []).append(asdict(each))
    return [
        Figures(system, listeners, **{name: statistics.median(each[name] for each in group) for name in _MEASURED})
        for (system, listeners), group in groups.items()
    ]


_MEASURED = [name for name in Figures.__dataclass_fields__ if name not in ("system", "listeners")]


def print_figures(console: Console, rows: Sequence[Figures]) -> None:
    """A table of the medians."""
    table = Table(title="to the first sound, with one worker on one core", title_justify="left")
    for title in ("", "listeners", "texts", "silent", "p50 ms", "p95 ms", "p99 ms", "underruns", "fed", "audio s/s"):
        table.add_column(title, justify="right" if title else "left", no_wrap=True)
    table.add_column("real-time factor", justify="right")
    for row in rows:
        table.add_row(
            row.system,
            str(row.listeners),
            number(row.texts),
            number(row.silent),
            *(number(value) for value in (row.p50_ms, row.p95_ms, row.p99_ms)),
            number(row.underruns),
            f"{row.fed:.0%}",
            f"{row.audio_per_second:.1f}",
            f"{row.cpu_per_audio:.4f}",
        )
    console.print(table)


def plot(rows: Sequence[Figures], path: Path) -> None:
    """The first sound and the share that is fed, over listeners. Raises BenchError when matplotlib is missing."""

    def lines(measure: str, least: float) -> dict[str, tuple[list[float], list[float]]]:
        found: dict[str, tuple[list[float], list[float]]] = {}
        for row in rows:
            xs, ys = found.setdefault(row.system, ([], []))
            xs.append(row.listeners)
            ys.append(max(least, getattr(row, measure)))
        return found

    panels = [
        ("first sound, p50", "ms", lines("p50_ms", 1)),
        ("first sound, p95", "ms", lines("p95_ms", 1)),
        ("heard without an underrun", "share of texts", lines("fed", 0.01)),
    ]
    draw(panels, "listeners", path, columns=3)


@click.command(help="Measures how soon listeners hear speech, and whether the rest follows in time.")
@click.option("--levels", default=LEVELS, show_default=True, callback=separated(positive), help="Listeners at a time.")
@click.option("--seconds", default=40.0, show_default=True, type=click.FloatRange(1), help="Of a level.")
@click.option("--rounds", default=1, show_default=True, type=click.IntRange(1), help="Medians are taken over them.")
@click.option("--systems", default=",".join(SYSTEMS), show_default=True, callback=separated(one_of(list(SYSTEMS))))
@click.option("--out", default=Path("out/bench"), show_default=True, type=click.Path(path_type=Path))
def main(levels: list[int], seconds: float, rounds: int, systems: list[str], out: Path) -> None:
    """The command."""
    prepare_process()
    console = new_console()
    machine = describe_machine()
    (out / "run").mkdir(parents=True, exist_ok=True)
    found: list[Figures] = []
    complete, plain = False, 0.0
    with progress_bar(console) as progress:
        task = progress.add_task("the plain loop", total=rounds * len(levels) * len(systems))
        with until_stopped(console):
            loop = run_plain_loop(sentences(PLAIN_SENTENCES), 1)
            plain = loop.audio_s / loop.seconds
            for round_number in range(1, rounds + 1):
                for name in systems:
                    progress.update(task, description=f"{name}: starting")
                    with running(SYSTEMS[name], out / "run" / name.replace(" ", "-")) as stack:
                        for level in levels:
                            text = f"round {round_number}/{rounds}: {name}, {level} listeners"
                            progress.update(task, description=text, completed=len(found))
                            found.append(measure(SYSTEMS[name], stack, level, seconds))
            complete = True
            progress.update(task, description="done", completed=len(found))
    if not found:
        console.print("nothing was measured")
        sys.exit(1)
    rows = medians(found)
    document = {
        "machine": machine,
        "seconds_per_level": seconds,
        "rounds": rounds,
        "complete": complete,
        "plain_loop_audio_per_second": plain,
        "medians": [asdict(row) for row in rows],
        "runs": [asdict(each) for each in found],
    }
    write_json(out / "streaming.json", document)
    print_figures(console, rows)
    console.print(f"a plain loop with no queue, on any core: {plain:.1f} audio s/s")
    console.print(f"figures: {out / 'streaming.json'}")
    plot_to(console, out / "streaming.png", lambda path: plot(rows, path))
    sys.exit(0 if complete else 1)


if __name__ == "__main__":
    main()
