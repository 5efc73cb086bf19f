"""`python -m kernelport_ops.bench.wire`: servers of one model, called by 64 connections of a client in C."""

import contextlib
import shutil
import statistics
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from kernelport_ops.bench.cells import PAYLOADS, Job, Payload
from kernelport_ops.bench.compare import Notify, available
from kernelport_ops.bench.machine import describe_machine
from kernelport_ops.bench.processes import BenchError
from kernelport_ops.bench.report import number, write_json
from kernelport_ops.bench.rivals import RIVALS
from kernelport_ops.bench.systems import MODEL, KernelPort, Running, System
from kernelport_ops.bench.terminal import new_console, positive, prepare_process, progress_bar, separated, until_stopped
from kernelport_ops.bench.wire.clients import Load, check_installed, load

CONNECTIONS = 64
PEERS = ("mosec", "bentoml")
WARM_UP_S = 1.0


@dataclass(frozen=True)
class Record:
    """A system in one round with one payload; `load` is None where `failure` says why."""

    round: int
    system: str
    payload: str
    load: Load | None
    failure: str = ""


@click.command(help="Measures servers of one model called by wrk over HTTP, and by h2load over gRPC, on this machine.")
@click.option("--rounds", default=3, show_default=True, type=click.IntRange(1), help="Medians are taken over them.")
@click.option("--seconds", default=4.0, show_default=True, help="Of each load, after a warm-up.")
@click.option("--payloads", default=",".join(PAYLOADS), show_default=True, callback=separated(Payload.parse))
@click.option("--connections", default=str(CONNECTIONS), show_default=True, callback=lambda *told: positive(told[-1]))
@click.option("--out", default=Path("out/bench"), show_default=True, type=click.Path(path_type=Path))
def main(rounds: int, seconds: float, payloads: list[Payload], connections: int, out: Path) -> None:
    """The command."""
    prepare_process()
    console = new_console()
    systems: list[System] = [KernelPort(over_http=True), KernelPort()]
    systems += [replace(each, environments=out) for each in RIVALS if each.name in PEERS]
    records: list[Record] = []
    with until_stopped(console), progress_bar(console) as progress:
        task = progress.add_task("", total=None)
        check_installed()
        systems, skipped = available(systems, lambda text: progress.update(task, description=text))
        for name, reason in skipped.items():
            console.print(f"without {name}: {reason}", style="yellow", markup=False)
        progress.update(task, total=rounds * len(systems) * len(payloads))

        def notify(text: str) -> None:
            progress.update(task, description=text, completed=len(records))

        for number_of_round in range(1, rounds + 1):
            for system in systems:
                _measure(system, payloads, number_of_round, connections, seconds, out / "run-wire", records, notify)
    if not records:
        sys.exit(1)
    show(console, records)
    document = {
        "machine": describe_machine(),
        "connections": connections,
        "seconds": seconds,
        "records": [asdict(each) for each in records],
    }
    write_json(out / "wire.json", document)
    console.print(f"figures: {out / 'wire.json'}")


def _measure(
    system: System,
    payloads: Sequence[Payload],
    round_number: int,
    connections: int,
    seconds: float,
    folder: Path,
    records: list[Record],
    notify: Notify,
) -> None:
    """A round of one system, which has the machine to itself."""
    shutil.rmtree(folder / system.name, ignore_errors=True)
    with system.running(folder / system.name) as running:
        for payload in payloads:
            notify(f"round {round_number}: {system.name}, {payload.name}")
            job = _job(running, payload, connections, seconds)
            try:
                with contextlib.suppress(BenchError):  # what is wrong is still wrong when it counts
                    load(replace(job, seconds=WARM_UP_S), folder / "requests")
                record = Record(round_number, system.name, payload.name, load(job, folder / "requests"))
            except (BenchError, OSError) as error:
                record = Record(round_number, system.name, payload.name, None, str(error))
            records.append(record)


def _job(running: Running, payload: Payload, connections: int, seconds: float) -> Job:
    return Job(
        transport=running.transport,
        target=running.target,
        model=MODEL,
        shape=list(payload.shape),
        answer_bytes=payload.size,
        concurrency=connections,
        seconds=seconds,
        processes=running.processes,
    )


def show(console: Console, records: Sequence[Record]) -> None:
    """A table a payload: medians over rounds, and each system beside the best of the others."""
    for payload in dict.fromkeys(record.payload for record in records):
        table = Table(title=f"{payload} in, {payload} out", title_justify="left")
        for name in (
            "system",
            "answers/s",
            "ms",
            "x mosec",
            "x best peer",
            "CPU us an answer",
            "by process",
            "failures",
        ):
            table.add_column(name, justify="left" if name in ("system", "by process", "failures") else "right")
        found = {
            name: [each for each in records if (each.system, each.payload) == (name, payload)]
            for name in dict.fromkeys(record.system for record in records)
        }
        speeds = {name: statistics.median(_speeds(group)) for name, group in found.items() if _speeds(group)}
        best = max((speeds[name] for name in PEERS if name in speeds), default=0.0)
        for name, group in found.items():
            table.add_row(name, *_row(group, speeds.get("mosec", 0.0), best))
        console.print(table)


def _speeds(group: Sequence[Record]) -> list[float]:
    return [each.load.per_second for each in group if each.load]


def _row(group: Sequence[Record], mosec: float, best: float) -> list[str]:
    loads = [each.load for each in group if each.load]
    failures = "; ".join(dict.fromkeys(each.failure for each in group if each.failure))
    if not loads:
        return ["", "", "", "", "", "", failures]
    per_second = statistics.median(each.per_second for each in loads)
    cpu_us = {label: statistics.median(each.cpu_us[label] for each in loads) for label in loads[0].cpu_us}
    return [
        number(per_second),
        number(statistics.median(each.p50_ms for each in loads)),
        f"{per_second / mosec:.2f}" if mosec else "",
        f"{per_second / best:.2f}" if best else "",
        number(sum(cpu_us.values())),
        ", ".join(f"{label} {number(value)}" for label, value in cpu_us.items()),
        failures,
    ]


if __name__ == "__main__":
    main()
