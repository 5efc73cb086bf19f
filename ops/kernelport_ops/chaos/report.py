"""Shows an outcome: a table, a JSON file, and a plot where matplotlib is there."""

import importlib
import importlib.util
import json
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from kernelport_ops.chaos.checks import Promise
from kernelport_ops.chaos.memory import Samples, growth, per_second
from kernelport_ops.chaos.run import Outcome

WARM_UP, WINDOW = 0.2, 0.2
MIB = 2**20


def print_promises(console: Console, promises: Sequence[Promise]) -> None:
    """The table of promises, then what broke the broken ones."""
    table = Table("promise", "", "found", show_lines=False)
    for promise in promises:
        table.add_row(promise.name, "[green]kept[/]" if promise.kept else "[red]BROKEN[/]", promise.found)
    console.print(table)
    for promise in promises:
        for example in promise.broken_by:
            console.print(f"[red]{promise.name}:[/] {example}", highlight=False, markup=True)


def print_memory(console: Console, longest: Mapping[str, Samples]) -> None:
    """Resident memory of each process that served, over the longest life it had."""
    table = Table("process", "lived s", "first MiB", "last MiB", "growth after warm-up")
    for name, samples in longest.items():
        grown = growth(samples, WARM_UP, WINDOW)
        table.add_row(
            name,
            f"{samples.at[-1] - samples.at[0]:.0f}",
            f"{samples.rss[0] / MIB:.1f}",
            f"{samples.rss[-1] / MIB:.1f}",
            "-" if grown is None else f"{100 * grown:+.1f} %",
        )
    console.print(table)


def to_document(outcome: Outcome, promises: Sequence[Promise], options: Mapping[str, Any]) -> dict[str, Any]:
    """Everything that was found, as JSON takes it. Times of events are seconds after the start."""
    evidence = outcome.evidence
    answered = [call.ended - call.started for call in evidence.calls if call.code == "OK" and call.kind != "steady"]
    return {
        "options": dict(options),
        "seconds": outcome.ended - outcome.started,
        "kept": all(promise.kept for promise in promises),
        "promises": [{**asdict(promise), "kept": promise.kept} for promise in promises],
        "calls": len(evidence.calls),
        "runs": sum(len(runs) for runs in evidence.runs.values()),
        "ran_again": sum(1 for runs in evidence.runs.values() if len(runs) > 1),
        "answer_seconds": {"median": statistics.median(answered), "max": max(answered)} if answered else {},
        "skipped_events": outcome.skipped,
        "leftovers": dict(outcome.leftovers),
        "events": [
            {
                "kind": event.kind,
                "target": event.target,
                "at_s": event.at - outcome.started,
                "until_s": None if event.until is None else event.until - outcome.started,
            }
            for event in evidence.events
        ],
        "memory": memory_document(outcome.sampler.longest()),
    }


def memory_document(longest: Mapping[str, Samples]) -> dict[str, Any]:
    """Samples and growth by process, as JSON takes it."""
    return {name: {"growth": growth(each, WARM_UP, WINDOW), **asdict(each)} for name, each in longest.items()}


def write_json(path: Path, document: Mapping[str, Any]) -> None:
    """Writes a document that people may read."""
    path.write_text(json.dumps(document, indent=1) + "\n")


def plot(outcome: Outcome, path: Path) -> bool:
    """Answers per second and resident memory over time, with events marked; False when there is no matplotlib."""
    if importlib.util.find_spec("matplotlib") is None:
        return False
    matplotlib: Any = importlib.import_module("matplotlib")
    matplotlib.use("Agg")
    pyplot: Any = importlib.import_module("matplotlib.pyplot")
    figure, (rate, memory) = pyplot.subplots(2, 1, sharex=True, figsize=(12, 7), layout="constrained")
    answered = [call.ended for call in outcome.evidence.calls if call.code == "OK"]
    rate.plot(per_second(answered, outcome.started, outcome.ended), label="answers")
    rate.set_ylabel("answers per second")
    for event in outcome.evidence.events:
        at = event.at - outcome.started
        rate.axvspan(at, (event.until or outcome.ended) - outcome.started, alpha=0.15, color="tab:red")
        rate.annotate(event.kind, (at, 0), rotation=90, fontsize=6)
    for (name, pid), samples in outcome.sampler.samples.items():
        seconds = [at - outcome.started for at in samples.at]
        memory.plot(seconds, [rss / MIB for rss in samples.rss], label=f"{name} {pid}")
    memory.set_ylabel("resident MiB")
    memory.set_xlabel("seconds")
    figure.savefig(path, dpi=120)
    pyplot.close(figure)
    return True
