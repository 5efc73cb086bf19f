"""`python -m kernelport_ops.chaos.drains`: tell processes to stop under load, and count what callers notice."""

import itertools
import os
import random
import shutil
import signal
import statistics
import sys
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from kernelport_ops.bench.terminal import new_console, progress_bar
from kernelport_ops.chaos.drains.stacks import Stacks, end
from kernelport_ops.chaos.records import OK, Call, read_calls
from kernelport_ops.chaos.report import write_json
from kernelport_ops.chaos.system import ChaosError

FRONT_DOOR, WORKER, UP, RESTART = "front door", "worker", "up", "restart"
KINDS = (FRONT_DOOR, WORKER, UP, FRONT_DOOR, RESTART)
STOP_S = 10.0
# What a process may take beyond that to be gone.
MARGIN_S = 5.0
# `up` stops its front doors, then its workers.
LIMITS_S = {FRONT_DOOR: STOP_S + MARGIN_S, WORKER: STOP_S + MARGIN_S, UP: 2 * (STOP_S + MARGIN_S)}
# Between two drains, once everything serves again, in seconds.
SHORTEST_GAP_S, LONGEST_GAP_S = 0.2, 1.0
PROCESSES = 4
_EXAMPLES = 10
_BROKEN = 1


@dataclass(frozen=True)
class Drain:
    """One drain.

    Attributes:
        at: when it began, Unix seconds.
        seconds: until the process was gone, or all front doors were replaced.
        wrong: what was wrong with it; empty when nothing was.
    """

    kind: str
    at: float
    seconds: float
    wrong: str


def drain(stacks: Stacks, kind: str, dice: random.Random) -> Drain:
    """Has one process stop, or the front doors of one stack replaced; returns when everything serves again."""
    name = dice.choice(sorted(stacks.ups))
    up, at, began, wrong = stacks.ups[name], time.time(), time.monotonic(), ""
    if kind == RESTART:
        wrong = up.replace_front_doors()
    elif kind == UP:
        up.stop(LIMITS_S[UP])
    else:
        pid = dice.choice(stacks.front_doors() if kind == FRONT_DOOR else stacks.workers())
        if not end(pid, LIMITS_S[kind]):
            os.kill(pid, signal.SIGKILL)
    seconds = time.monotonic() - began
    if kind in LIMITS_S and seconds >= LIMITS_S[kind]:
        wrong = f"not gone after {LIMITS_S[kind]:g} s"
    if kind == UP:
        up.start()
    stacks.wait_until_served()
    time.sleep(dice.uniform(SHORTEST_GAP_S, LONGEST_GAP_S))
    return Drain(kind, at, seconds, wrong)


def run(stacks: Stacks, drains: list[Drain], count: int, seed: int, callers: int, console: Console) -> None:
    """So many drains under load, each added to `drains` when it is over; returns when all calls have ended."""
    dice = random.Random(seed)  # noqa: S311 - a plan must repeat
    streams, jobs = max(1, callers // 16), max(1, callers // 32)
    for index in range(PROCESSES):
        calls = callers // PROCESSES - streams - jobs
        stacks.start_callers(index, seed=seed, calls=calls, streams=streams, jobs=jobs)
    with progress_bar(console) as progress:
        task = progress.add_task("drains", total=count)
        for kind in itertools.islice(itertools.cycle(KINDS), count):
            progress.update(task, description=f"drains: {kind}")
            drains.append(drain(stacks, kind, dice))
            progress.advance(task)
    stacks.stop_callers()


def report(console: Console, drains: Sequence[Drain], calls: Sequence[Call], troubles: Sequence[str]) -> dict[str, Any]:
    """Shows what came of it; the same as JSON takes it.

    Args:
        troubles: what else went wrong.
    """
    table = Table("drain", "times", "median s", "longest s", "wrong")
    by_kind: dict[str, list[Drain]] = defaultdict(list)
    for each in drains:
        by_kind[each.kind].append(each)
    for kind, of_kind in by_kind.items():
        took = [each.seconds for each in of_kind]
        wrong = sum(bool(each.wrong) for each in of_kind)
        table.add_row(kind, str(len(took)), f"{statistics.median(took):.1f}", f"{max(took):.1f}", str(wrong))
    console.print(table)
    table = Table("call", "answered", "told otherwise", "wrong", "median s", "longest s")
    by_call: dict[str, list[Call]] = defaultdict(list)
    for call in calls:
        by_call[call.kind].append(call)
    for kind, ended in sorted(by_call.items()):
        answered = [call.ended - call.started for call in ended if call.code == OK]
        wrong = sum(not call.right for call in ended)
        times = [f"{statistics.median(answered):.2f}", f"{max(answered):.2f}"] if answered else ["-", "-"]
        table.add_row(kind, str(len(answered)), str(len(ended) - len(answered)), str(wrong), *times)
    console.print(table)
    bad_calls = [call for call in calls if call.code != OK or not call.right]
    found = [f"{each.kind}: {each.wrong}" for each in drains if each.wrong]
    found += [f"{call.kind} {call.number} at {call.ended:.3f}: {call.code} {call.message}" for call in bad_calls]
    found += troubles
    for line in found[:_EXAMPLES]:
        console.print(line, style="red", markup=False)
    return {
        "found": found,
        "calls": {kind: len(ended) for kind, ended in by_call.items()},
        "drains": [asdict(each) for each in drains],
    }


@click.command(help="Tells front doors, workers and whole stacks to stop under load, and counts what callers notice.")
@click.option("--drains", "count", default=200, show_default=True, type=click.IntRange(1))
@click.option("--callers", default=64, show_default=True, type=click.IntRange(4 * PROCESSES))
@click.option("--seed", default=None, type=int, help="Of the plan.  [default: another one each time]")
@click.option("--out", default=Path("out/chaos"), show_default=True, type=click.Path(path_type=Path))
def main(count: int, callers: int, seed: int | None, out: Path) -> None:
    """The command."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    console = new_console()
    folder = (out / "drains").absolute()
    shutil.rmtree(folder, ignore_errors=True)
    seed = int.from_bytes(os.urandom(2)) if seed is None else seed
    console.print(f"seed {seed}")
    try:
        with Stacks(folder, STOP_S) as stacks:
            found = _run_and_tell(stacks, count, seed, callers, console, out)
    except (ChaosError, KeyboardInterrupt) as error:
        console.print(str(error) or "interrupted", style="red", markup=False)
        sys.exit(_BROKEN)
    sys.exit(_BROKEN if found else 0)


def _run_and_tell(stacks: Stacks, count: int, seed: int, callers: int, console: Console, out: Path) -> list[str]:
    """Runs, shows what came of it and keeps the figures, also of a run that is ended early; gives what was wrong."""
    drains: list[Drain] = []
    troubles: list[str] = []
    try:
        run(stacks, drains, count, seed, callers, console)
    except KeyboardInterrupt:
        console.print(f"ended after {len(drains)} of {count} drains: calls under way are in no figure")
    except ChaosError as error:
        troubles.append(str(error))
    # Behind the figures everything stops, which takes a while, and is not to be ended early, too.
    for each in (signal.SIGTERM, signal.SIGINT):
        signal.signal(each, signal.SIG_IGN)
    troubles += [f"{name}: {line}" for name, up in stacks.ups.items() for line in up.badly_ended()]
    document = report(console, drains, list(read_calls(stacks.records)), troubles)
    write_json(out / "drains.json", {"seed": seed, **document})
    console.print(f"figures: {out / 'drains.json'}")
    found: list[str] = document["found"]
    return found


if __name__ == "__main__":
    main()
