"""`kernelport jobs watch`, and what `--watch` of other commands does."""

import json
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NoReturn

import click
from rich.console import Console

from kernelport.cli import mistakes, options
from kernelport.cli.jobs import outputs
from kernelport.cli.jobs.formatting import clock
from kernelport.cli.jobs.progress import Display, elapsed_s
from kernelport.client import Client
from kernelport.counting import counted
from kernelport.enums import JobState
from kernelport.errors import NotFoundError, UnavailableError
from kernelport.jobs.shapes import job_dict
from kernelport.v1 import job_pb2 as pb

EXIT_CODES = {pb.JOB_STATE_SUCCEEDED: 0, pb.JOB_STATE_FAILED: 1, pb.JOB_STATE_CANCELLED: 3, pb.JOB_STATE_EXPIRED: 4}
MISSING = 1


@click.command()
@click.argument("job_id", metavar="JOB")
@outputs.destination
@click.option("--json", "as_json", is_flag=True, help="A JSON object a line for every event.")
@options.target
def watch(job_id: str, out: outputs.Destination | None, as_json: bool, target: str) -> None:
    """Follow JOB until it is over. Ctrl-C ends the watching, not the job.

    The exit code tells how it ended: see `kernelport jobs --help`.
    """
    with Client(target) as client:
        if as_json:
            _watch_as_json(client, job_id)
        client.jobs.get(job_id)
        follow(client, job_id, out.of(client, job_id) if out is not None else None)


def follow(client: Client, job_id: str, folder: Path | None = None) -> NoReturn:
    """Shows a job's progress until it is over, fetches its outputs if there is a folder for them, and exits with the
    code of how it ended."""
    console = Console()
    try:
        job, is_whole = show_until_over(client, job_id, folder, console)
        summarize(client, job, folder, console)
    except KeyboardInterrupt:
        where = f" --out {folder}" if folder else ""
        click.echo(f"\n{job_id} goes on; watch it again with: kernelport jobs watch {job_id}{where}", err=True)
        sys.exit(mistakes.INTERRUPTED)
    sys.exit(EXIT_CODES.get(job.state, 1) or (0 if is_whole else MISSING))


def show_until_over(client: Client, job_id: str, folder: Path | None, console: Console) -> tuple[pb.Job, bool]:
    """Shows a job's progress, and fetches its outputs if there is a folder for them.

    Returns:
        The job when it is over, and whether all that it made has been fetched.
    """
    with Display(console) as display, ThreadPoolExecutor(outputs.PARALLEL_FETCHES) as pool:
        client.jobs.on_retry = display.wait
        fetcher = outputs.Fetcher(client, job_id, folder, pool) if folder is not None else None
        for event in _events(client, job_id, items=fetcher is not None):
            job = event.job
            display.update(job)
            if fetcher is not None:
                fetcher.fetch_all(item for item in event.items if item.state == pb.ITEM_STATE_SUCCEEDED)
                display.update(job)  # what was in the way of a file is there no more
        has_manifest = folder is None or outputs.fetch_manifest(client, job_id, folder)
    if fetcher is None:
        return job, True
    fetcher.tell_missing()
    return job, has_manifest and not fetcher.failures


def summarize(client: Client, job: pb.Job, folder: Path | None, console: Console) -> None:
    """Says in a line how a job ended, and on stderr what went wrong and what to do about it."""
    progress = job.progress
    audio = f", {clock(progress.audio_s)} of audio" if progress.audio_s else ""
    where = folder or job.output_url
    console.print(
        f"{job.id} {JobState.of(job)}: {progress.succeeded:,} of {counted(progress.items, 'item')} in "
        f"{clock(elapsed_s(job))}{audio}: {where}",
        soft_wrap=True,
        markup=False,
        highlight=False,
    )
    if job.reason:
        click.echo(job.reason, err=True)
    outputs.tell_unfinished(client, job)


def _events(client: Client, job_id: str, *, items: bool = False) -> Iterator[pb.WatchJobResponse]:
    """The events of a job until it is over; also when it was resumed before its end had been told here."""
    cursor = 0
    while True:
        for event in client.jobs.watch(job_id, cursor=cursor, items=items):
            cursor = event.cursor
            yield event
        try:
            if client.jobs.get(job_id).resumed_unix_us == event.job.resumed_unix_us:
                return
        except (NotFoundError, UnavailableError):  # it was deleted meanwhile, or nobody can tell
            return


def _watch_as_json(client: Client, job_id: str) -> NoReturn:
    try:
        for event in _events(client, job_id):
            click.echo(json.dumps({"cursor": event.cursor, "job": job_dict(event.job)}, ensure_ascii=False))
    except KeyboardInterrupt:
        sys.exit(mistakes.INTERRUPTED)
    sys.exit(EXIT_CODES.get(event.job.state, 1))
