"""The comparison: every system, round after round, in the same cells."""

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from kernelport_ops.bench.cells import Cell, Figures, Job
from kernelport_ops.bench.generator import Generator
from kernelport_ops.bench.processes import BenchError
from kernelport_ops.bench.systems import MODEL, Running, System

Notify = Callable[[str], None]


@dataclass(frozen=True)
class Record:
    """The figures of one system in one cell of one round; `figures` is None when `failure` says why there are none."""

    round: int
    system: str
    cell: Cell
    figures: Figures | None
    failure: str = ""


def available(systems: Sequence[System], notify: Notify) -> tuple[list[System], dict[str, str]]:
    """The systems that can be measured here, and why the others cannot, by name."""
    usable: list[System] = []
    skipped: dict[str, str] = {}
    for system in systems:
        notify(f"preparing {system.name}")
        try:
            system.prepare()
        except BenchError as error:
            skipped[system.name] = str(error)
        else:
            usable.append(system)
    return usable, skipped


def count(systems: Sequence[System], cells: Sequence[Cell], rounds: int) -> int:
    """How many records `compare` makes."""
    return rounds * sum(system.measures(cell) for system in systems for cell in cells)


def compare(
    systems: Sequence[System],
    cells: Sequence[Cell],
    rounds: int,
    seconds: float,
    requests: int,
    folder: Path,
    records: list[Record],
    notify: Notify,
) -> None:
    """Measures A B C, A B C, ...: in each round each system starts anew and has the machine to itself.

    Args:
        seconds, requests: a cell ends with the first of the two.
        folder: for logs and data.
        records: what is measured is appended here, so that an interrupted run leaves what it has.
        notify: told what comes next, before each record.
    """
    for number in range(1, rounds + 1):
        for system in systems:
            state = folder / system.name
            shutil.rmtree(state, ignore_errors=True)
            wanted = [cell for cell in cells if system.measures(cell)]
            if not wanted:
                continue
            with system.running(state) as running, Generator() as generator:
                generator.wait_until_served(_job(running, wanted[0], seconds, requests))
                for cell in wanted:
                    notify(f"round {number}/{rounds}: {system.name}, {cell.payload.name} x {cell.concurrency}")
                    try:
                        figures, failure = generator.run(_job(running, cell, seconds, requests)), ""
                    except BenchError as error:
                        figures, failure = None, str(error)
                    records.append(Record(number, system.name, cell, figures, failure))


def _job(running: Running, cell: Cell, seconds: float, requests: int) -> Job:
    return Job(
        transport=running.transport,
        target=running.target,
        model=MODEL,
        shape=list(cell.payload.shape),
        answer_bytes=cell.payload.size,
        concurrency=cell.concurrency,
        seconds=seconds,
        requests=max(requests, cell.concurrency),
        processes=running.processes,
    )
