"""`python -m kernelport_ops.chaos`: disturb a running system for some minutes, then account for every request."""

import json
import os
import shutil
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.live import Live
from rich.text import Text

from kernelport_ops.chaos.checks import judge
from kernelport_ops.chaos.report import (
    memory_document,
    plot,
    print_memory,
    print_promises,
    to_document,
    write_json,
)
from kernelport_ops.chaos.run import Outcome, run
from kernelport_ops.chaos.soak import TARGET, soak
from kernelport_ops.chaos.system import ChaosError

console = Console()
_BROKEN, _INTERRUPTED = 1, 130


@click.command(help="Kills, pauses and drains real processes under load, then accounts for every request.")
@click.option("--minutes", default=3.0, show_default=True, type=click.FloatRange(0.1), help="Of chaos.")
@click.option("--seed", default=None, type=int, help="Of the plan.  [default: another one each time]")
@click.option("--workers", default=2, show_default=True, type=click.IntRange(1))
@click.option("--lease", default=4.0, show_default=True, type=click.FloatRange(1.0), help="Seconds.")
@click.option("--refusals", is_flag=True, help="Nothing but a Redis that answers with errors.")
@click.option("--soak", "requests", default=None, type=click.IntRange(1000), help="Send so many requests, no chaos.")
@click.option("--out", default=Path("out/chaos"), show_default=True, type=click.Path(path_type=Path))
def main(
    minutes: float, seed: int | None, workers: int, lease: float, refusals: bool, requests: int | None, out: Path
) -> None:
    """The command."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    folder = out / "run"
    shutil.rmtree(folder, ignore_errors=True)
    try:
        if requests is not None:
            sys.exit(_soak(folder, requests, workers, out))
        seed = int.from_bytes(os.urandom(2)) if seed is None else seed
        options = {"minutes": minutes, "seed": seed, "workers": workers, "lease": lease}
        console.print(f"seed {seed}", highlight=False)
        with _live() as tell:
            outcome = run(folder, 60 * minutes, seed, workers, lease, tell, refusals)
        sys.exit(_report(outcome, options, out))
    except KeyboardInterrupt:
        console.print("stopped; every process is gone")
        sys.exit(_INTERRUPTED)
    except ChaosError as error:
        console.print(f"[red]{error}[/]", highlight=False)
        sys.exit(_BROKEN)


def _report(outcome: Outcome, options: dict[str, Any], out: Path) -> int:
    promises = judge(outcome.evidence)
    document = to_document(outcome, promises, options)
    write_json(out / "chaos.json", document)
    console.print(json.dumps({key: document[key] for key in ("calls", "runs", "ran_again", "answer_seconds")}))
    print_memory(console, outcome.sampler.longest())
    print_promises(console, promises)
    console.print(f"figures: {out / 'chaos.json'}")
    if plot(outcome, out / "chaos.png"):
        console.print(f"plot: {out / 'chaos.png'}")
    return 0 if document["kept"] else _BROKEN


def _soak(folder: Path, requests: int, workers: int, out: Path) -> int:
    with _live() as tell:
        outcome = soak(folder, requests, workers, tell)
    print_memory(console, outcome.samples)
    write_json(
        out / "soak.json",
        {
            "requests": outcome.requests,
            "seconds": outcome.seconds,
            "wrong": outcome.wrong,
            "memory": memory_document(outcome.samples),
        },
    )
    console.print(
        f"{outcome.requests} requests in {outcome.seconds:.0f} s, "
        f"{outcome.requests / outcome.seconds:.0f} a second, {outcome.wrong} wrong answers"
    )
    grown = [name for name, share in outcome.growth.items() if share is not None and share >= TARGET]
    for name in grown:
        console.print(f"[red]{name} grew by {100 * TARGET:g} % or more[/]")
    return _BROKEN if grown or outcome.wrong else 0


@contextmanager
def _live() -> Iterator[Any]:
    """A line that shows progress as it is told; nothing when nobody watches."""
    with Live(Text("starting"), console=console, transient=True, refresh_per_second=4) as live:
        yield lambda text: live.update(Text(text))


if __name__ == "__main__":
    main()
