"""`kernelport demo`: a text through the whole embedded stack, from a clean start to a clean stop."""

import tempfile
import time
from dataclasses import replace
from importlib import resources
from pathlib import Path

import click
import numpy as np
from rich.console import Console
from rich.markup import escape
from rich.table import Column, Table

from kernelport.client import Client
from kernelport.settings import Settings, bundled_deployments
from kernelport.speaking import Line, Spoken, speak_lines
from kernelport.stack import Stack

SPEECH, IDENTITY = "hibari-en", "identity-onnx"
START_TIMEOUT_S = 120.0
PARALLEL = 4


@click.command()
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), default=Path("out/demo"), show_default=True)
def demo(out: Path) -> None:
    """Start a stack on free ports, speak a bundled text into WAV files, and stop."""
    console = Console()
    texts = resources.files("kernelport").joinpath("demo.txt").read_text(encoding="utf-8").splitlines()
    lines = [Line(text, out / f"{number:02}.wav") for number, text in enumerate(texts, 1)]
    settings = replace(Settings.from_environment(), listen="127.0.0.1:0", deployments_file=bundled_deployments())
    with (
        tempfile.TemporaryDirectory(prefix="kernelport-demo-") as state,
        Stack(settings, [IDENTITY, SPEECH], Path(state)) as stack,
    ):
        with console.status("starting Redis, the front door and two workers ..."):
            stack.wait_ready(START_TIMEOUT_S)
        with Client(stack.target) as client:
            _push_a_tensor(client, console)
            started = time.monotonic()
            spoken = _speak(client, lines, console)
            elapsed_s = time.monotonic() - started
    _report(spoken, elapsed_s, out, console)
    failures = [each for each in spoken if each.error is not None]
    if failures:
        raise click.ClickException(f"{len(failures)} lines failed; the first: {failures[0].error}")


def _push_a_tensor(client: Client, console: Console) -> None:
    x = np.arange(4, dtype=np.float32).reshape(1, 1, 2, 2)
    result = client.infer(IDENTITY, {"x": x})
    if not np.array_equal(result["y"], x):
        raise click.ClickException(f"{IDENTITY} answered {result['y']!r} for {x!r}")
    console.print(
        f"{IDENTITY}: x {list(x.shape)} came back as y, unchanged "
        f"(queued {result.queued_us} us, batched {result.batched_us} us, backend {result.backend_us} us)"
    )


def _speak(client: Client, lines: list[Line], console: Console) -> list[Spoken]:
    spoken = []
    with console.status("speaking ...") as status:
        for each in speak_lines(client, SPEECH, lines, {}, PARALLEL):
            spoken.append(each)
            status.update(f"speaking ... {len(spoken)} of {len(lines)}")
    return sorted(spoken, key=lambda each: each.line.path)


def _report(spoken: list[Spoken], elapsed_s: float, out: Path, console: Console) -> None:
    table = Table("item", Column("text", no_wrap=True, max_width=30), "audio s", "latency s", "real-time factor")
    for each in spoken:
        figures = (f"{each.seconds:.2f}", f"{each.latency_s:.3f}", f"{each.real_time_factor:.3f}")
        table.add_row(each.line.path.name, escape(each.line.text), *figures)
    console.print(table)
    seconds = sum(each.seconds for each in spoken)
    console.print(
        f"{len(spoken)} lines, {seconds:.1f} s of speech in {elapsed_s:.1f} s "
        f"({seconds / elapsed_s:.0f} times faster than real time): {out}"
    )
