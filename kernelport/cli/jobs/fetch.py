"""`kernelport jobs fetch`: outputs and manifest into a folder."""

import sys
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from kernelport.cli import mistakes, options
from kernelport.cli.jobs import outputs
from kernelport.client import Client
from kernelport.client.jobs.fetching import is_output
from kernelport.counting import counted
from kernelport.v1 import job_pb2 as pb


@click.command()
@click.argument("job_id", metavar="JOB")
@click.argument("item_ids", metavar="[ITEM]...", nargs=-1)
@outputs.destination
@options.target
def fetch(job_id: str, item_ids: Sequence[str], out: outputs.Destination | None, target: str) -> None:
    """Fetch the outputs that JOB has made so far into a folder (JOB by default), and its manifest once it is over; or
    those of some items alone: with -o NAME.wav, one item's under that name, with -o - to stdout. Files that are there
    already and are right stay.

    Exits with 1 when some items of the job have no output, and says which and why.
    """
    columns = (TextColumn("fetching"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Client(target) as client:
        job = client.jobs.get(job_id)
        if out is not None and out.is_file:
            sys.exit(_fetch_some(client, job_id, item_ids, partial(_fetch_as, client, job_id, out)))
        folder = (out or outputs.Destination(job_id, overwrite=False, append=False)).of(client, job_id)
        if item_ids:
            sys.exit(_fetch_some(client, job_id, item_ids, lambda item: client.jobs.fetch(job_id, item, folder)))
        with (
            Progress(*columns, console=Console(stderr=True)) as progress,
            ThreadPoolExecutor(outputs.PARALLEL_FETCHES) as pool,
        ):
            bar = progress.add_task("", total=job.progress.succeeded)
            fetcher = outputs.Fetcher(client, job_id, folder, pool)
            for _ in fetcher.fetch(client.jobs.items(job_id, [pb.ITEM_STATE_SUCCEEDED])):
                progress.update(bar, completed=fetcher.fetched)
        has_manifest = outputs.fetch_manifest(client, job_id, folder)
        job = client.jobs.get(job_id)
        click.echo(f"{fetcher.fetched:,} of {counted(job.progress.items, 'item')}: {folder}")
        fetcher.tell_missing()
        outputs.tell_unfinished(client, job)
    if fetcher.fetched < job.progress.items or not has_manifest:
        sys.exit(1)


def _fetch_as(client: Client, job_id: str, out: outputs.Destination, item: pb.Item) -> Path | None:
    """Fetches the output of one item under a name of its own, which it gives; or writes it to stdout."""
    if out.out == outputs.STDOUT:
        with tempfile.TemporaryDirectory(prefix="kernelport-") as folder:
            fetched = client.jobs.fetch(job_id, item, Path(folder))
            sys.stdout.buffer.write(fetched.read_bytes())
        return None
    file = out.folder
    if file.suffix.lower() != Path(item.file).suffix:
        raise click.UsageError(f"--out: expected a name that ends in {Path(item.file).suffix}, or a folder; got {file}")
    if is_output(file, item):
        return file
    mistakes.check_new(file, out.overwrite)
    file.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".kernelport-", dir=file.parent) as folder:
        return client.jobs.fetch(job_id, item, Path(folder)).replace(file)


def _fetch_some(client: Client, job_id: str, item_ids: Sequence[str], fetch: Callable[[pb.Item], Path | None]) -> int:
    """Fetches the outputs of these items by `fetch`, which gives the place to tell; gives the exit code."""
    missing = dict.fromkeys(item_ids, "the job has no such item")
    for item in client.jobs.items(job_id):
        if item.id not in missing:
            continue
        if item.state == pb.ITEM_STATE_SUCCEEDED:
            if place := fetch(item):
                click.echo(place)
            del missing[item.id]
            if not missing:
                break
        else:
            missing[item.id] = item.reason or "it has no output yet"
    for item_id, why in missing.items():
        click.echo(f"{item_id}: {why}", err=True)
    return 1 if missing else 0
