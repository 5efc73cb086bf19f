"""`kernelport jobs watch`, and what `--watch` of other commands does."""

import itertools
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NoReturn

import click
from google.protobuf.json_format import MessageToJson
from rich.console import Console

from kernelport.cli import options
from kernelport.cli.jobs.progress import Display, elapsed_s
from kernelport.cli.jobs.words import clock, job_state
from kernelport.client import Client
from kernelport.errors import FailedPreconditionError, NotFoundError
from kernelport.v1 import job_pb2 as pb

EXIT_CODES = {pb.JOB_STATE_SUCCEEDED: 0, pb.JOB_STATE_FAILED: 1, pb.JOB_STATE_CANCELLED: 3, pb.JOB_STATE_EXPIRED: 4}
INTERRUPTED = 130
SHOWN_FAILURES = 10
PARALLEL_FETCHES = 8

out = click.option(
    "-o",
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    help="Fetch the outputs into this folder as they are made, and a manifest at the end.",
)


@click.command()
@click.argument("job_id", metavar="JOB")
@out
@click.option("--json", "as_json", is_flag=True, help="A JSON object a line for every event.")
@options.target
def watch(job_id: str, out: Path | None, as_json: bool, target: str) -> None:
    """Follow JOB until it is over. Ctrl-C ends the watching, not the job.

    The exit code tells how it ended: see `kernelport jobs --help`.
    """
    with Client(target) as client:
        if as_json:
            _watch_as_json(client, job_id)
        follow(client, job_id, out)


def follow(client: Client, job_id: str, out: Path | None = None) -> NoReturn:
    """Shows a job's progress until it is over, fetches its outputs if there is a folder for them, and exits with the
    code of how it ended."""
    console = Console()
    try:
        job = show_until_over(client, job_id, out, console)
        summarize(client, job, out, console)
    except KeyboardInterrupt:
        where = f" --out {out}" if out else ""
        click.echo(f"\n{job_id} goes on; watch it again with: kernelport jobs watch {job_id}{where}", err=True)
        sys.exit(INTERRUPTED)
    sys.exit(EXIT_CODES.get(job.state, 1))


def show_until_over(client: Client, job_id: str, out: Path | None, console: Console) -> pb.Job:
    """Shows a job's progress, fetches its outputs if there is a folder for them, and returns it when it is over."""
    with Display(console) as display, ThreadPoolExecutor(PARALLEL_FETCHES) as pool:
        client.jobs.on_retry = display.wait
        for event in client.jobs.watch(job_id, items=out is not None):
            job = event.job
            display.update(job)
            if out is not None:
                made = [item for item in event.items if item.state == pb.ITEM_STATE_SUCCEEDED]
                for _ in pool.map(lambda item: client.jobs.fetch(job_id, item, out), made):
                    pass
        if out is not None:
            fetch_manifest(client, job_id, out)
    return job


def fetch_manifest(client: Client, job_id: str, folder: Path) -> None:
    """Fetches the manifest of a job that is over; says why where there is none."""
    try:
        client.jobs.fetch_manifest(job_id, folder)
    except (FailedPreconditionError, NotFoundError) as error:
        click.echo(f"no manifest: {error.message}", err=True)


def summarize(client: Client, job: pb.Job, out: Path | None, console: Console) -> None:
    """Says in a line how a job ended, and on stderr what went wrong and what to do about it."""
    progress = job.progress
    audio = f", {clock(progress.audio_s)} of audio" if progress.audio_s else ""
    where = out or job.output_url
    console.print(
        f"{job.id} {job_state(job)}: {progress.succeeded} of {progress.items} items in {clock(elapsed_s(job))}{audio}: "
        f"{where}",
        soft_wrap=True,
        markup=False,
        highlight=False,
    )
    if job.reason:
        click.echo(job.reason, err=True)
    if progress.failed:
        failed = client.jobs.items(job.id, [pb.ITEM_STATE_FAILED])
        for item in itertools.islice(failed, SHOWN_FAILURES):
            click.echo(f"{item.id}: {item.reason}", err=True)
        if progress.failed > SHOWN_FAILURES:
            click.echo(f"... all {progress.failed}: kernelport jobs items {job.id} --state failed", err=True)
    if job.state not in (pb.JOB_STATE_SUCCEEDED, pb.JOB_STATE_DELETING):
        click.echo(f"run the rest with: kernelport jobs resume {job.id}", err=True)


def _watch_as_json(client: Client, job_id: str) -> NoReturn:
    try:
        for event in client.jobs.watch(job_id):
            click.echo(MessageToJson(event, preserving_proto_field_name=True, indent=None))
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    sys.exit(EXIT_CODES.get(event.job.state, 1))
