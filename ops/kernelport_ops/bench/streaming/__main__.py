"""`python -m kernelport_ops.bench.streaming`: the first sound, and whether the others follow in time."""

import contextlib
import math
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
from kernelport_ops.bench.streaming.calls import Calls, measure_calls
from kernelport_ops.bench.streaming.listeners import (
    LINES,
    MODEL,
    Ask,
    Figures,
    Level,
    called,
    fed,
    figures,
    heard_aside,
    measured_sentence_s,
    streamed,
)
from kernelport_ops.bench.terminal import (
    new_console,
    positive,
    prepare_process,
    progress_bar,
    separated,
    until_stopped,
)

LEVELS = "10,30,60,80,100,120"
PLAIN_SENTENCES = 60
# To the first sound, for whole requests to count as fed.
LATEST_MS = 2000.0
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


STREAMS, WHOLE_REQUESTS = "streams", "whole requests"
SYSTEMS = {each.name: each for each in (System(STREAMS, streamed), System(WHOLE_REQUESTS, called, whole=True))}


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
    with workers_running(folder, 1, deployments_file=file) as (stack, _):
        if len(ours := _cores()) > 1:
            for name, child in stack.children.items():
                if child.pid is not None:
                    _pin(child.pid, ours[:1] if name == _worker_name() else ours[1:])
        yield stack


@contextlib.contextmanager
def beside_workers() -> Iterator[None]:
    """This process and what it starts leave a core to the workers."""
    ours = _cores()
    if len(ours) > 1:
        _pin(os.getpid(), ours[1:])
    try:
        yield
    finally:
        if len(ours) > 1:
            _pin(os.getpid(), ours)


def _cores() -> list[int]:
    """Those that this process may use; none where the system does not tell."""
    return sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []


def _pin(pid: int, cores: Sequence[int]) -> None:
    for thread in os.listdir(f"/proc/{pid}/task"):
        with contextlib.suppress(ProcessLookupError):
            os.sched_setaffinity(int(thread), cores)


def _worker_name() -> str:
    return f"worker-{MODEL}"


def measure(system: System, stack: Stack, level: Level) -> Figures:
    """One level."""
    pid = stack.children[_worker_name()].pid
    before = cpu_seconds([pid] if pid else [])
    run = heard_aside(stack.target, system.ask, level)
    return figures(system.name, level, run, cpu_seconds([pid] if pid else []) - before)


def medians(found: Sequence[Figures]) -> list[Figures]:
    """Over the rounds of each system at each level."""
    groups: dict[tuple[str, int], list[dict[str, Any]]] = {}
    for each in found:
        groups.setdefault((each.system, each.listeners), []).append(asdict(each))
    return [
        Figures(system, listeners, **{name: statistics.median(each[name] for each in group) for name in _MEASURED})
        for (system, listeners), group in sorted(groups.items(), key=lambda group: list(SYSTEMS).index(group[0][0]))
    ]


_MEASURED = [name for name in Figures.__dataclass_fields__ if name not in ("system", "listeners")]


@dataclass(frozen=True)
class Plain:
    """A plain loop over the voice, with no queue and one core.

    Attributes:
        sentences_per_second: that it speaks, the silence around them included.
        sentence_s: for how long one is heard in a stream, its pause included.
    """

    sentences_per_second: float
    sentence_s: float

    @property
    def feeds(self) -> float:
        """How many listeners it would feed if all of them had something to hear at any time."""
        return self.sentences_per_second * self.sentence_s


def rows_of(found: Sequence[Figures]) -> list[list[str]]:
    """The figures as a table has them, its titles first."""
    titles = [
        "",
        "listeners",
        "playing",
        "texts",
        "p50 ms",
        "p95 ms",
        "p99 ms",
        "underruns",
        "audio s/s",
        "CPU s/audio s",
    ]
    return [
        titles,
        *(
            [row.system, str(row.listeners), f"{row.playing:.1f}", number(row.texts)]
            + [number(value) for value in (row.p50_ms, row.p95_ms, row.p99_ms, row.underruns)]
            + [f"{row.audio_per_second:.1f}", f"{row.cpu_per_audio:.4f}"]
            for row in found
        ),
    ]


def findings(found: Sequence[Figures], plain: Plain, calls: Calls | None) -> list[str]:
    """What follows from the figures, a sentence each."""
    told = [
        f"A plain loop with no queue speaks {plain.sentences_per_second:.1f} sentences a second, which are heard for"
        f" {plain.sentence_s:.2f} s each: it would feed {plain.feeds:.0f} listeners."
    ]
    most = {system: fed(found, system, math.inf if system == STREAMS else LATEST_MS) for system in SYSTEMS}
    told.append(
        f"Streams feed {most[STREAMS]} listeners without an underrun, {most[STREAMS] / plain.feeds:.2f} of these;"
        f" whole requests {most[WHOLE_REQUESTS]} with a first sound within {LATEST_MS / 1000:g} s for 95 of 100 texts."
    )
    by_level: dict[int, dict[str, Figures]] = {}
    for row in found:
        by_level.setdefault(row.listeners, {})[row.system] = row
    for listeners, rows in by_level.items():
        if len(rows) == len(SYSTEMS) and all(row.texts for row in rows.values()):
            ratio = rows[STREAMS].p95_ms / rows[WHOLE_REQUESTS].p95_ms
            told.append(
                f"With {listeners} listeners the p95 of the first sound is {ratio:.2f} of that of whole requests."
            )
    return [*told, calls.finding] if calls else told


def section(found: Sequence[Figures], told: Sequence[str], setting: str) -> str:
    """What docs/performance.md says of a run, in Markdown."""
    titles, *rows = rows_of(found)
    lines = [titles, ["---"] * len(titles), *rows]
    table = "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
    return "\n\n".join([setting, table, *told]) + "\n"


def print_figures(console: Console, found: Sequence[Figures], told: Sequence[str]) -> None:
    """A table of the medians, and what follows from them."""
    titles, *rows = rows_of(found)
    table = Table(title="to the first sound, with one worker on one core", title_justify="left")
    for title in titles:
        table.add_column(title, justify="right" if title else "left")
    for cells in rows:
        table.add_row(*cells)
    console.print(table)
    for finding in told:
        console.print(finding, highlight=False)


def plot(found: Sequence[Figures], path: Path) -> None:
    """The first sound and the underruns, over listeners. Raises BenchError when matplotlib is missing."""

    def lines(measure: str, least: float) -> dict[str, tuple[list[float], list[float]]]:
        drawn: dict[str, tuple[list[float], list[float]]] = {}
        for row in found:
            xs, ys = drawn.setdefault(row.system, ([], []))
            xs.append(row.listeners)
            ys.append(max(least, getattr(row, measure)))
        return drawn

    panels = [
        ("first sound, p50", "ms", lines("p50_ms", 1)),
        ("first sound, p95", "ms", lines("p95_ms", 1)),
        ("sound that came", "seconds a second", lines("audio_per_second", 0.1)),
    ]
    draw(panels, "listeners", path, columns=3)


@click.command(help="Measures how soon listeners hear speech, and whether the rest follows in time.")
@click.option("--levels", default=LEVELS, show_default=True, callback=separated(positive), help="Listeners at a time.")
@click.option("--seconds", default=50.0, show_default=True, type=click.FloatRange(1), help="Of a level.")
@click.option("--rounds", default=1, show_default=True, type=click.IntRange(1), help="Medians are taken over them.")
@click.option("--out", default=Path("out/bench"), show_default=True, type=click.Path(path_type=Path))
def main(levels: list[int], seconds: float, rounds: int, out: Path) -> None:
    """The command."""
    prepare_process()
    console = new_console()
    machine = describe_machine()
    (out / "run").mkdir(parents=True, exist_ok=True)
    found: list[Figures] = []
    complete, plain, calls = False, Plain(0.0, 0.0), None
    with progress_bar(console) as progress:
        task = progress.add_task("the plain loop", total=rounds * len(levels) * len(SYSTEMS))
        with until_stopped(console):
            loop = run_plain_loop(LINES[:PLAIN_SENTENCES], 1)
            progress.update(task, description="starting")
            with contextlib.ExitStack() as running_stacks:
                stacks = {
                    name: running_stacks.enter_context(running(system, out / "run" / name.replace(" ", "-")))
                    for name, system in SYSTEMS.items()
                }
                running_stacks.enter_context(beside_workers())
                plain = Plain(loop.items / loop.seconds, measured_sentence_s(stacks[STREAMS].target))
                for round_number in range(1, rounds + 1):
                    for listeners in levels:
                        for name, system in SYSTEMS.items():
                            text = f"round {round_number}/{rounds}: {listeners} listeners, {name}"
                            progress.update(task, description=text, completed=len(found))
                            level = Level(listeners, seconds, plain.sentence_s)
                            found.append(measure(system, stacks[name], level))
                progress.update(task, description="calls beside listeners and a job", completed=len(found))
                calls = measure_calls(stacks[STREAMS].target, seconds, plain.sentence_s)
            complete = True
            progress.update(task, description="done", completed=len(found))
    if not found:
        console.print("nothing was measured")
        sys.exit(1)
    rows = medians(found)
    told = findings(rows, plain, calls)
    document = {
        "machine": machine,
        "seconds_per_level": seconds,
        "rounds": rounds,
        "complete": complete,
        "plain_loop": {**asdict(plain), "feeds": plain.feeds},
        "calls": asdict(calls) if calls else None,
        "findings": told,
        "medians": [asdict(row) for row in rows],
        "runs": [asdict(each) for each in found],
    }
    write_json(out / "streaming.json", document)
    setting = f"One run of `make bench-streaming` ({seconds:g} s a level, {rounds} round{'s' * (rounds > 1)}):"
    (out / "streaming.md").write_text(section(rows, told, setting))
    print_figures(console, rows, told)
    console.print(f"figures: {out / 'streaming.json'}; for docs/performance.md: {out / 'streaming.md'}")
    plot_to(console, out / "streaming.png", lambda path: plot(rows, path))
    sys.exit(0 if complete else 1)


if __name__ == "__main__":
    main()
