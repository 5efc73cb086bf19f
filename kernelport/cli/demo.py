"""`kernelport demo`: a text as a bulk job through the whole embedded stack, from a clean start to a clean stop."""

import tempfile
from dataclasses import replace
from importlib import resources
from pathlib import Path

import click
import numpy as np
from rich.console import Console
from rich.markup import escape
from rich.table import Column, Table

from kernelport.cli.jobs.watch import EXIT_CODES, show_until_over, summarize
from kernelport.client import Client
from kernelport.client.jobs import folders
from kernelport.config.settings import Settings, bundled_deployments
from kernelport.supervisor.stack import Stack
from kernelport.v1 import job_pb2 as pb

SPEECH, IDENTITY = "hibari-en", "identity-onnx"
START_TIMEOUT_S = 120.0
SHOWN_ITEMS = 12


@click.command()
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), default=Path("out/demo"))
@click.pass_context
def demo(context: click.Context, out: Path) -> None:
    """Start a stack on free ports, run a bundled text as a bulk job into WAV files, and stop."""
    console = Console()
    texts = resources.files("kernelport").joinpath("demo.txt").read_text(encoding="utf-8").splitlines()
    settings = replace(Settings.from_environment(), listen="127.0.0.1:0", deployments_file=bundled_deployments())
    with (
        tempfile.TemporaryDirectory(prefix="kernelport-demo-") as state,
        Stack(replace(settings, artifacts=""), [IDENTITY, SPEECH], Path(state)) as stack,
    ):
        with console.status("starting Redis, the front door and two workers ..."):
            stack.wait_ready(START_TIMEOUT_S)
        with Client(stack.target) as client:
            _push_a_tensor(client, console)
            job = client.jobs.submit(SPEECH, texts)
            console.print(f"{SPEECH}: {len(texts)} lines are job {job.id}")
            folders.claim(out, job.id, overwrite=True)
            job, _ = show_until_over(client, job.id, out, console)
            console.print(_table(list(client.jobs.items(job.id))))
            summarize(client, job, out, console)
    context.exit(EXIT_CODES.get(job.state, 1))


def _push_a_tensor(client: Client, console: Console) -> None:
    x = np.arange(4, dtype=np.float32).reshape(1, 1, 2, 2)
    result = client.infer(IDENTITY, {"x": x})
    if not np.array_equal(result["y"], x):
        raise click.ClickException(f"{IDENTITY} answered {result['y']!r} for {x!r}")
    console.print(
        f"{IDENTITY}: x {list(x.shape)} came back as y, unchanged "
        f"(queued {result.queued_us} us, batched {result.batched_us} us, backend {result.backend_us} us)"
    )


def _table(items: list[pb.Item]) -> Table:
    others = [Column(name, no_wrap=True) for name in ("audio s", "real-time factor")]
    table = Table(Column("file", no_wrap=True), Column("text", no_wrap=True, max_width=32), *others)
    for item in items[:SHOWN_ITEMS]:
        factor = item.backend_s / item.batch_size / item.audio_s if item.audio_s else 0.0
        table.add_row(item.file, escape(item.text), f"{item.audio_s:.2f}", f"{factor:.3f}")
    if len(items) > SHOWN_ITEMS:
        table.add_row("...", f"{len(items) - SHOWN_ITEMS} more, as in manifest.jsonl", "", "")
    return table
