"""`python -m kernelport_ops.bench.bulk`: the queue's share of a long job.

Sentences through the stack with one worker process per core, against the same pipeline in a plain loop with one process
per core.
"""

import asyncio
import os
import shutil
import statistics
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from kernelport import AsyncClient
from kernelport.config.settings import Settings, bundled_deployments
from kernelport.supervisor.processes import Child
from kernelport.supervisor.stack import Stack
from kernelport.supervisor.worker_command import worker_command
from kernelport_ops.bench.machine import describe_machine
from kernelport_ops.bench.plain_loop import Spoken, run_plain_loop
from kernelport_ops.bench.processes import POLL_S, BenchError, check_alive, cpu_seconds, start, stop
from kernelport_ops.bench.report import number, write_json
from kernelport_ops.bench.systems import START_TIMEOUT_S, labelled
from kernelport_ops.bench.terminal import cores, new_console, prepare_process, progress_bar, until_stopped
from kernelport_ops.bench.texts import sentences

MODEL = "hibari-en"
# Enough that each worker has its next batch waiting while it speaks one.
CALLS_PER_WORKER = 32
STACK, PLAIN = "kernelport", "plain loop"


@contextmanager
def workers_running(
    folder: Path, workers: int, model: str = MODEL, deployments_file: Path | None = None
) -> Iterator[tuple[Stack, list[Child]]]:
    """A stack with so many workers of the deployment, all serving, and its processes.

    Args:
        deployments_file: has the deployment; the bundled one when it is None.
    """
    shutil.rmtree(folder, ignore_errors=True)
    file = deployments_file or bundled_deployments()
    settings = replace(Settings(), listen="127.0.0.1:0", deployments_file=file)
    further: list[Child] = []
    with Stack(settings, [model], folder) as stack:
        try:
            for index in range(2, workers + 1):
                worker_id = f"{model}-{os.getpid()}-{index}"
                environment = replace(stack.settings, worker_id=worker_id).to_environment()
                further.append(start(f"worker-{index}", worker_command([model]), folder, environment))
            stack.wait_ready(START_TIMEOUT_S)
            asyncio.run(_wait_for_workers(stack.target, model, workers, further))
            yield stack, [*stack.children.values(), *further]
        finally:
            stop(further)


async def _wait_for_workers(target: str, model: str, workers: int, further: Sequence[Child]) -> None:
    deadline = time.monotonic() + START_TIMEOUT_S
    async with AsyncClient(target, timeout_s=10) as client:
        while len((await client.deployment(model)).workers) < workers:
            for child in further:
                check_alive(child)
            if time.monotonic() > deadline:
                raise BenchError(f"not {workers} workers within {START_TIMEOUT_S:g} s")
            await asyncio.sleep(POLL_S)


def run_stack(texts: Sequence[str], workers: int, folder: Path) -> Spoken:
    """Speaks the texts through a stack with so many workers. Starting it is not counted."""
    with workers_running(folder, workers) as (stack, children):
        processes = labelled(children)
        return asyncio.run(_speak_all(stack.target, texts, CALLS_PER_WORKER * workers, processes))


async def _speak_all(target: str, texts: Sequence[str], calls: int, processes: dict[str, list[int]]) -> Spoken:
    audio_s = 0.0
    waiting = iter(texts)

    async def caller(client: AsyncClient) -> None:
        nonlocal audio_s
        for text in waiting:
            speech = await client.speak(MODEL, text)
            audio_s += speech.seconds

    def cpu() -> dict[str, float]:
        return {"client": time.process_time(), **{label: cpu_seconds(pids) for label, pids in processes.items()}}

    async with AsyncClient(target, timeout_s=600) as client:
        await client.speak(MODEL, "Warm up.")
        before, started = cpu(), time.perf_counter()
        async with asyncio.TaskGroup() as group:
            for _ in range(calls):
                group.create_task(caller(client))
        seconds = time.perf_counter() - started
        cpu_s = {label: after - before[label] for label, after in cpu().items()}
    return Spoken(len(texts), seconds, audio_s, cpu_s)


def summarize(runs: Sequence[tuple[str, Spoken]]) -> dict[str, Any]:
    """Medians over rounds: items/s, seconds of audio a second, CPU milliseconds an item; and the ratio of items/s."""
    summary: dict[str, Any] = {}
    for name in dict.fromkeys(name for name, _ in runs):
        spoken = [each for run, each in runs if run == name]
        labels = spoken[0].cpu_s
        summary[name] = {
            "rounds": len(spoken),
            "items_per_second": statistics.median(each.items / each.seconds for each in spoken),
            "audio_seconds_per_second": statistics.median(each.audio_s / each.seconds for each in spoken),
            "cpu_ms_per_item": {
                label: statistics.median(1000 * each.cpu_s[label] / each.items for each in spoken) for label in labels
            },
        }
    if {STACK, PLAIN} <= summary.keys():
        summary["ratio"] = summary[STACK]["items_per_second"] / summary[PLAIN]["items_per_second"]
    return summary


def print_summary(console: Console, summary: dict[str, Any]) -> None:
    """A table of the medians."""
    table = Table(title=f"{MODEL} in bulk: medians over rounds", title_justify="left")
    for title in ("path", "items/s", "audio s/s", "CPU ms an item", "by process"):
        table.add_column(title, justify="left" if title in ("path", "by process") else "right")
    for name in (STACK, PLAIN):
        if name in summary:
            row = summary[name]
            parts = ", ".join(f"{label} {number(value)}" for label, value in row["cpu_ms_per_item"].items())
            values = (row["items_per_second"], row["audio_seconds_per_second"], sum(row["cpu_ms_per_item"].values()))
            table.add_row(name, *map(number, values), parts)
    console.print(table)
    if "ratio" in summary:
        console.print(f"through the stack: {summary['ratio']:.3f} of the plain loop's throughput")


@click.command(help="Measures the queue's share of a long job of speech.")
@click.option("--items", default=400, show_default=True, type=click.IntRange(1), help="Sentences a run.")
@click.option("--rounds", default=3, show_default=True, type=click.IntRange(1), help="Medians are taken over them.")
@click.option("--workers", default=cores(), show_default="one per core", type=click.IntRange(1))
@click.option("--out", default=Path("out/bench"), show_default=True, type=click.Path(path_type=Path))
def main(items: int, rounds: int, workers: int, out: Path) -> None:
    """The command."""
    prepare_process()
    console = new_console()
    machine = describe_machine()
    texts = sentences(items)
    runs: list[tuple[str, Spoken]] = []
    complete = False
    with progress_bar(console) as progress:
        task = progress.add_task("", total=2 * rounds)
        with until_stopped(console):
            for round_number in range(1, rounds + 1):
                for name in (STACK, PLAIN):
                    progress.update(task, description=f"round {round_number}/{rounds}: {name}", completed=len(runs))
                    plain = name == PLAIN
                    spoken = run_plain_loop(texts, workers) if plain else run_stack(texts, workers, out / "run" / MODEL)
                    runs.append((name, spoken))
            complete = True
            progress.update(task, description="done", completed=len(runs))
    summary = summarize(runs)
    document = {
        "machine": machine,
        "items": items,
        "workers": workers,
        "complete": complete,
        "medians": summary,
        "runs": [{"path": name, **asdict(spoken)} for name, spoken in runs],
    }
    write_json(out / "bulk.json", document)
    print_summary(console, summary)
    console.print(f"figures: {out / 'bulk.json'}")
    sys.exit(0 if complete else 1)


if __name__ == "__main__":
    main()
