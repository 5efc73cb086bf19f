"""`python -m kernelport_ops.bench.jobs`: what bulk jobs promise, in figures."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from kernelport.errors import StackError
from kernelport_ops.bench.jobs import million, padding, sharing, speech
from kernelport_ops.bench.machine import describe_machine
from kernelport_ops.bench.processes import BenchError
from kernelport_ops.bench.report import write_json
from kernelport_ops.bench.terminal import cores, new_console, one_of, prepare_process, separated

PARTS = ["padding", "million", "tiny-calls", "two-jobs", "speech-calls", "speech"]


@click.command(help="Measures bulk jobs: throughput, memory, cancelling, sharing and padding.")
@click.option("--parts", default=",".join(PARTS), show_default=True, callback=separated(one_of(PARTS)))
@click.option(
    "--sentences", default=2000, show_default=True, type=click.IntRange(1), help="Items of the job of speech."
)
@click.option("--rounds", default=1, show_default=True, type=click.IntRange(1), help="Of the speech job.")
@click.option("--tiny", default=1_000_000, show_default=True, type=click.IntRange(1), help="Items of the largest job.")
@click.option("--workers", default=cores(), show_default="one per core", type=click.IntRange(1))
@click.option("--out", default=Path("out/bench"), show_default=True, type=click.Path(path_type=Path))
def main(parts: list[str], sentences: int, rounds: int, tiny: int, workers: int, out: Path) -> None:
    """The command."""
    prepare_process()
    console = new_console()
    folder = out / "run" / "jobs"
    measures: dict[str, Callable[[], dict[str, Any]]] = {
        "padding": lambda: padding.measure(20_000),
        "million": lambda: million.measure(tiny, folder),
        "tiny-calls": lambda: sharing.measure_tiny(10_000, 5.0, folder),
        "two-jobs": lambda: sharing.measure_two_jobs(5_000, folder),
        "speech-calls": lambda: sharing.measure_speech(10_000, workers, 40.0, folder),
        "speech": lambda: speech.measure(sentences, workers, rounds, folder),
    }
    found: dict[str, Any] = {"machine": describe_machine()}
    failed = False
    for part in parts:
        with console.status(part):
            try:
                found[part] = measures[part]()
            except (BenchError, StackError) as error:
                console.print(f"{part}: {error}", style="red", markup=False)
                failed = True
                continue
        console.print(f"[bold]{part}[/]")
        console.print_json(data=found[part])
        write_json(out / "jobs.json", found)
    console.print(f"figures: {out / 'jobs.json'}")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
