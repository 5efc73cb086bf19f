"""`python -m kernelport_ops.bench.bounds`: one deployment's callers, with and without the worst input beside them.

They call at half of the rate at which the stack is saturated, in an open loop. Beside each input they are measured with
it and without it in turn, in the same run; what every process holds in memory is read before and after. Who sends the
input, and the workers of its deployments, would have machines of their own: they get what the others leave of this one.
"""

import asyncio
import contextlib
import json
import os
import shutil
import statistics
import sys
from asyncio.subprocess import Process
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import click
import yaml
from rich.console import Console

from kernelport.config.settings import Settings, bundled_deployments
from kernelport.errors import StackError
from kernelport.process import run_where_idle
from kernelport.supervisor.processes import dying_with_parent
from kernelport.supervisor.stack import Stack
from kernelport_ops.bench.bounds.inputs import LOADED, SPEECH, WORST_INPUTS
from kernelport_ops.bench.bounds.open_loop import SHAPE, Felt
from kernelport_ops.bench.cells import F32_BYTES, Job
from kernelport_ops.bench.generator import Generator
from kernelport_ops.bench.machine import describe_machine
from kernelport_ops.bench.processes import BenchError
from kernelport_ops.bench.report import number, write_json
from kernelport_ops.bench.systems import START_TIMEOUT_S
from kernelport_ops.bench.terminal import new_console, prepare_process, progress_bar
from kernelport_ops.chaos.memory import resident_bytes

QUIET = "quiet"
SATURATING_CALLERS, OF_SATURATION = 16, 0.5
MIB = 2**20


@dataclass(frozen=True)
class Interference:
    """What was felt beside one input.

    Attributes:
        without, beside: without and beside the input, one of each a round.
        endings: how many calls of the input ended in which way.
        before, after: resident bytes by process.
    """

    name: str
    without: list[Felt]
    beside: list[Felt]
    endings: Mapping[str, int]
    before: Mapping[str, int]
    after: Mapping[str, int]


@contextmanager
def running(folder: Path) -> Iterator[Stack]:
    """A stack with one worker a deployment."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    models = bundled_deployments().parent / "models"
    identity = {"backend": "onnx", "image": "none", "device": "cpu", "manifest": str(models / "sample-manifest.yaml")}
    speech = {
        **identity,
        "manifest": str(models / "hibari-manifest.yaml"),
        "pipeline": "kernelport_workers.pipelines.hibari:HibariPipeline",
    }
    file = folder / "deployments.yaml"
    file.write_text(yaml.safe_dump({"deployments": {QUIET: identity, LOADED: identity, SPEECH: speech}}))
    settings = replace(Settings(), listen="127.0.0.1:0", deployments_file=file.absolute())
    with Stack(settings, [QUIET, LOADED, SPEECH], folder / "state") as stack:
        stack.wait_ready(START_TIMEOUT_S)
        for name, child in stack.children.items():
            if name.endswith((LOADED, SPEECH)) and child.pid is not None:
                run_where_idle(child.pid)
        yield stack


def saturation(stack: Stack, seconds: float) -> float:
    """Calls a second when callers wait for nothing but their answers."""
    job = Job(
        transport="grpc",
        target=stack.target,
        model=QUIET,
        shape=list(SHAPE),
        answer_bytes=F32_BYTES * 4,
        concurrency=SATURATING_CALLERS,
        seconds=seconds,
    )
    with Generator() as generator:
        return generator.run(job).per_second


async def compare(stack: Stack, name: str, rate: float, seconds: float, rounds: int) -> Interference:
    """Measures the callers without and beside an input in turn."""
    before, endings, without, beside = _memory(stack), Counter[str](), [], []
    for _ in range(rounds):
        without.append(await _felt(stack, rate, seconds))
        sender = await _started(stack, "sending", name=name)
        await _line(sender)
        beside.append(await _felt(stack, rate, seconds))
        with contextlib.suppress(ProcessLookupError):  # it has ended: `_said` tells
            sender.terminate()
        endings.update(await _said(sender))
    return Interference(name, without, beside, dict(endings), before, _memory(stack))


async def _felt(stack: Stack, rate: float, seconds: float) -> Felt:
    callers = await _started(stack, "open_loop", model=QUIET, rate=rate, seconds=seconds)
    return Felt(**await _said(callers))


async def _started(stack: Stack, module: str, **options: object) -> Process:
    options = {"target": stack.target, **options}
    arguments = [part for option, value in options.items() for part in (f"--{option}", str(value))]
    command = [*dying_with_parent(), sys.executable, "-m", f"kernelport_ops.bench.bounds.{module}", *arguments]
    environment = {**os.environ, **stack.settings.to_environment()}
    return await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, env=environment, start_new_session=True
    )


async def _said(process: Process) -> dict[str, Any]:
    """The last line of a process."""
    found: dict[str, Any] = json.loads(await _line(process))
    if await process.wait():
        raise BenchError(f"a process ended with code {process.returncode}; see above")
    return found


async def _line(process: Process) -> bytes:
    """The next line of a process.

    Raises:
        BenchError: it has ended.
    """
    if process.stdout is None:
        raise BenchError("a process has no standard output")
    line = await process.stdout.readline()
    if not line:
        raise BenchError(f"a process ended with code {await process.wait()}; see above")
    return line


def _memory(stack: Stack) -> dict[str, int]:
    return {name: resident_bytes(child.pid) for name, child in stack.children.items() if child.pid is not None}


def markdown(found: Sequence[Interference]) -> str:
    """The table, as docs/reliability.md takes it."""
    lines = [
        "| beside | p99 without | p99 beside | longest without | longest beside | unanswered | MiB before and after |",
        "|---|---|---|---|---|---|---|",
    ]
    for each in found:
        felt = [
            statistics.median(one.p99_ms for one in each.without),
            statistics.median(one.p99_ms for one in each.beside),
            max(one.max_ms for one in each.without),
            max(one.max_ms for one in each.beside),
        ]
        unanswered = sum(sum(one.errors.values()) for one in each.beside)
        memory = {name: (bytes_ / MIB, each.after.get(name, 0) / MIB) for name, bytes_ in each.before.items()}
        shown = ", ".join(f"{name} {before:.0f} → {after:.0f}" for name, (before, after) in memory.items())
        times = " | ".join(f"{number(ms)} ms" for ms in felt)
        lines.append(f"| {each.name} | {times} | {unanswered} | {shown} |")
    return "\n".join(lines) + "\n"


@click.command(help="Measures what callers feel of the worst input that others may send.")
@click.option("--seconds", default=5.0, show_default=True, type=click.FloatRange(1.0), help="Of each measurement.")
@click.option("--rounds", default=3, show_default=True, type=click.IntRange(1), help="Of each input.")
@click.option("--only", default="", help="Inputs whose names contain this.")
@click.option("--out", default=Path("out/bench"), show_default=True, type=click.Path(path_type=Path))
def main(seconds: float, rounds: int, only: str, out: Path) -> None:
    """The command."""
    prepare_process()
    console = new_console()
    inputs = [name for name in WORST_INPUTS if only in name]
    found: list[Interference] = []
    machine, rate = describe_machine(), 0.0
    try:
        with running(out / "run" / "bounds") as stack, progress_bar(console) as progress:
            rate = OF_SATURATION * saturation(stack, seconds)
            task = progress.add_task("starting", total=len(inputs))

            async def compare_all() -> None:
                for name in inputs:
                    progress.update(task, description=name, completed=len(found))
                    found.append(await compare(stack, name, rate, seconds, rounds))

            asyncio.run(compare_all())
    except KeyboardInterrupt:
        console.print("interrupted")
    except (BenchError, StackError) as error:
        console.print(str(error), style="red", markup=False)
    _report(console, found, out, {"machine": machine, "rate": rate, "seconds": seconds, "rounds": rounds})
    sys.exit(0 if len(found) == len(inputs) else 1)


def _report(console: Console, found: Sequence[Interference], out: Path, about: Mapping[str, object]) -> None:
    table = markdown(found)
    (out / "bounds.md").write_text(table)
    write_json(out / "bounds.json", {**about, "beside": [asdict(each) for each in found]})
    console.print(table, markup=False)
    console.print(f"table: {out / 'bounds.md'}\nfigures: {out / 'bounds.json'}")


if __name__ == "__main__":
    main()
