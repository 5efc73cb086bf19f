"""`python -m kernelport_ops.bench`: request paths side by side."""

import sys
from dataclasses import asdict, replace
from pathlib import Path

import click

from kernelport_ops.bench.cells import CONCURRENCIES, PAYLOADS, Cell, Payload
from kernelport_ops.bench.compare import Record, available, compare, count
from kernelport_ops.bench.machine import describe_machine
from kernelport_ops.bench.plot import plot_comparison, plot_to
from kernelport_ops.bench.processes import BenchError
from kernelport_ops.bench.report import medians, print_tables, ratios, record_to_dict, write_json
from kernelport_ops.bench.rivals import RIVALS
from kernelport_ops.bench.systems import Echo, KernelPort, NaiveCelery, RawRedis, System
from kernelport_ops.bench.terminal import (
    new_console,
    one_of,
    positive,
    prepare_process,
    progress_bar,
    separated,
)


def systems_of(out: Path) -> list[System]:
    """Every system, in the order of a round."""
    return [
        Echo(),
        NaiveCelery(),
        KernelPort(),
        KernelPort(over_http=True),
        *(replace(rival, environments=out) for rival in RIVALS),
        RawRedis(persistent=False),
        RawRedis(persistent=True),
    ]


NAMES = [system.name for system in systems_of(Path())]


@click.command(help="Measures request paths side by side on this machine.")
@click.option("--rounds", default=3, show_default=True, type=click.IntRange(1), help="Medians are taken over them.")
@click.option(
    "--concurrency", default=",".join(map(str, CONCURRENCIES)), show_default=True, callback=separated(positive)
)
@click.option("--payloads", default=",".join(PAYLOADS), show_default=True, callback=separated(Payload.parse))
@click.option("--seconds", default=2.0, show_default=True, help="Of a cell: no request starts later.")
@click.option("--requests", default=10**9, help="Of a cell: no more are sent (but one a caller).  [default: no limit]")
@click.option("--systems", default=",".join(NAMES), show_default=True, callback=separated(one_of(NAMES)))
@click.option("--out", default=Path("out/bench"), show_default=True, type=click.Path(path_type=Path))
def main(
    rounds: int,
    concurrency: list[int],
    payloads: list[Payload],
    seconds: float,
    requests: int,
    systems: list[str],
    out: Path,
) -> None:
    """The command."""
    prepare_process()
    console = new_console()
    machine = describe_machine()
    out.mkdir(parents=True, exist_ok=True)
    cells = [Cell(payload, callers) for payload in payloads for callers in concurrency]
    chosen = [system for system in systems_of(out) if system.name in systems]
    records: list[Record] = []
    skipped: dict[str, str] = {}
    interrupted = False
    with progress_bar(console) as progress:
        task = progress.add_task("", total=None)
        try:
            chosen, skipped = available(chosen, lambda text: progress.update(task, description=text))
            for name, reason in skipped.items():
                console.print(f"without {name}: {reason}", style="yellow", markup=False)
            progress.update(task, total=count(chosen, cells, rounds))
            compare(
                chosen,
                cells,
                rounds,
                seconds,
                requests,
                out / "run",
                records,
                lambda text: progress.update(task, description=text, completed=len(records)),
            )
            progress.update(task, description="done", completed=len(records))
        except KeyboardInterrupt:
            interrupted = True
        except BenchError as error:
            console.print(str(error), style="red", markup=False)
            interrupted = True
    if not records:
        console.print("nothing was measured")
        sys.exit(1)
    rows = medians(records)
    compared = ratios(rows, {payload.name: payload.size for payload in payloads})
    document = {
        "machine": machine,
        "rounds": rounds,
        "seconds_per_cell": seconds,
        "complete": not interrupted,
        "systems": {system.name: system.about for system in chosen},
        "skipped": skipped,
        "medians": [asdict(row) for row in rows],
        "ratios": compared,
        "records": [record_to_dict(record) for record in records],
    }
    write_json(out / "bench.json", document)
    print_tables(console, rows, compared)
    console.print(f"figures: {out / 'bench.json'}")
    plot_to(console, out / "bench.png", lambda path: plot_comparison(rows, path))
    sys.exit(130 if interrupted else 0)


if __name__ == "__main__":
    main()
