"""`kernelport jobs fetch`: outputs and manifest into a folder."""

import itertools
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from kernelport.cli import options
from kernelport.cli.jobs.watch import PARALLEL_FETCHES, fetch_manifest
from kernelport.client import Client
from kernelport.v1 import job_pb2 as pb

_AT_A_TIME = 256


@click.command()
@click.argument("job_id", metavar="JOB")
@click.option("-o", "--out", type=click.Path(path_type=Path, file_okay=False), help="The folder; JOB by default.")
@options.target
def fetch(job_id: str, out: Path | None, target: str) -> None:
    """Fetch the outputs that JOB has made so far, and its manifest once it is over. Files that are there already and
    are right stay.

    Exits with 1 when some items of the job have no output.
    """
    folder = out or Path(job_id)
    columns = (TextColumn("fetching"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with (
        Client(target) as client,
        Progress(*columns, console=Console(stderr=True)) as progress,
        ThreadPoolExecutor(PARALLEL_FETCHES) as pool,
    ):
        job = client.jobs.get(job_id)
        bar = progress.add_task("", total=job.progress.succeeded)
        coming = client.jobs.items(job_id, [pb.ITEM_STATE_SUCCEEDED])
        fetched = 0
        while some := list(itertools.islice(coming, _AT_A_TIME)):
            for _ in pool.map(lambda item: client.jobs.fetch(job_id, item, folder), some):
                progress.advance(bar)
                fetched += 1
        fetch_manifest(client, job_id, folder)
    click.echo(f"{fetched} of {job.progress.items} items: {folder}")
    if fetched < job.progress.items:
        sys.exit(1)
