"""`kernelport jobs cancel`, `seal`, `resume` and `delete`."""

import sys
from datetime import datetime, timedelta
from pathlib import Path

import click
from rich.console import Console
from rich.filesize import decimal

from kernelport.cli import options
from kernelport.cli.jobs import outputs
from kernelport.cli.jobs import watch as watching
from kernelport.cli.jobs.export import REASON
from kernelport.cli.jobs.formatting import Deadline
from kernelport.cli.jobs.submit import checked
from kernelport.cli.mistakes import of_each
from kernelport.client import Client
from kernelport.client.item_files import ItemFile, detect
from kernelport.counting import counted
from kernelport.enums import ItemState, JobState
from kernelport.v1 import job_pb2 as pb


@click.command()
@click.argument("job_ids", metavar="JOB...", nargs=-1, required=True)
@click.option("--reason", default="", help="Shown with the job.")
@options.target
def cancel(job_ids: tuple[str, ...], reason: str, target: str) -> None:
    """Start no further item of these jobs. What they have made stays."""
    with Client(target) as client:

        def cancel_one(job_id: str) -> None:
            job = client.jobs.cancel(job_id, reason)
            click.echo(f"{job.id}: {JobState.of(job)}")

        _, code = of_each(job_ids, cancel_one)
    sys.exit(code)


@click.command()
@click.argument("job_id", metavar="JOB")
@options.target
def seal(job_id: str, target: str) -> None:
    """Let JOB take no further items: what its broken submission has sent is all of it.

    A job that runs ends when these items are done. One that was cancelled or expired can be resumed then.
    """
    with Client(target) as client:
        job = client.jobs.seal(job_id)
        click.echo(f"{job.id}: {JobState.of(job)}, {counted(job.progress.items, 'item')}")
        if job.progress.cancelled or job.progress.not_run:
            click.echo(f"run the rest with: kernelport jobs resume {job.id}", err=True)


@click.command()
@click.argument("job_id", metavar="JOB")
@click.option("--deadline", type=Deadline(), help="A new deadline: 12h, or 2030-01-31T18:00. The old one is dropped.")
@click.option(
    "--with",
    "replacements",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="CSV or JSONL as `jobs export` writes it: new inputs for items of these ids.",
)
@click.option(
    "--files",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="Read the files that values name as @NAME, in this folder or below.",
)
@click.option("--encoding", type=options.Encoding(), help="Of that file, such as windows-1252.")
@click.option("--skip-bad", is_flag=True, help="Leave bad rows out instead of refusing the file.")
@click.option("--watch", is_flag=True, help="Follow the job until it is over.")
@outputs.destination
@options.target
def resume(
    job_id: str,
    deadline: datetime | timedelta | None,
    replacements: Path | None,
    files: Path | None,
    encoding: str | None,
    skip_bad: bool,
    watch: bool,
    out: outputs.Destination | None,
    target: str,
) -> None:
    """Run what failed, was cancelled or expired in JOB, with new inputs if there are some. What succeeded stays.

    Where all that is left has failed by its own inputs, and would again, nothing runs without --with.
    """
    with Client(target) as client:
        job = client.jobs.get(job_id)
        if replacements is None and outputs.only_lasting(client, job):
            outputs.tell_unfinished(client, job)
            failed = counted(job.progress.failed, "item")
            click.echo(f"error: with the same inputs {failed} would fail again; nothing runs", err=True)
            sys.exit(1)
        folder = out.of(client, job_id) if out is not None else None
        if replacements is not None:
            replaced = _replace(client, job, replacements, files, encoding, skip_bad)
            click.echo(
                f"{counted(replaced, 'item takes its', 'items take their')} inputs from {replacements}", err=True
            )
        job = client.jobs.resume(job_id, deadline=deadline)
        click.echo(f"{job.id}: {JobState.of(job)}, {counted(job.progress.waiting, 'item')} to run")
        if watch or out is not None:
            watching.follow(client, job_id, folder)


def _replace(client: Client, job: pb.Job, path: Path, files: Path | None, encoding: str | None, skip_bad: bool) -> int:
    """Gives items of a job the inputs in a file; returns how many."""
    kind = detect(path, encoding)
    if kind not in ("csv", "jsonl"):
        raise click.UsageError(f"--with: expected CSV or JSONL with ids, as `jobs export` writes it; got {path}")
    name = job.spec.deployment
    signature = client.deployment(name).signature
    shared = [tensor.name for tensor in job.spec.shared_inputs]
    left = client.jobs.items(job.id, [state for state in ItemState if state != ItemState.SUCCEEDED])
    ignored = () if REASON in (spec.name for spec in signature.inputs) else (REASON,)
    items = ItemFile(
        path,
        kind,
        name,
        signature,
        shared=shared,
        ignored=ignored,
        files=files,
        own_format=True,
        ids={item.id for item in left},
        encoding=encoding,
    )
    checked(items, str(path), skip_bad)
    return client.jobs.replace_items(job.id, items.items())


@click.command()
@click.argument("job_ids", metavar="JOB...", nargs=-1, required=True)
@click.option("--outputs", "delete_outputs", is_flag=True, help="Delete what they have made, too.")
@click.option("--no-wait", is_flag=True, help="Return at once; their files go by themselves.")
@options.target
def delete(job_ids: tuple[str, ...], delete_outputs: bool, no_wait: bool, target: str) -> None:
    """Forget jobs that are over. Ctrl-C ends the waiting, not the deletion."""
    left: list[pb.Job] = []
    with Client(target) as client:

        def begin(job_id: str) -> None:
            job = client.jobs.get(job_id)
            client.jobs.delete(job_id, delete_outputs=delete_outputs, wait=False)
            left.append(job)

        def wait(job_id: str) -> None:
            with Console(stderr=True).status(f"{job_id}: deleting ...") as status:
                for job in client.jobs.deletion(job_id):
                    status.update(f"{job_id}: {counted(job.progress.deleted_files, 'file')} deleted")
            click.echo(f"{job_id}: deleted")

        begun, code = of_each(job_ids, begin)
        if not no_wait:
            code = max(code, of_each(begun, wait)[1])
    with_outputs = [job for job in left if job.progress.succeeded and not delete_outputs]
    for job in with_outputs:
        outputs_left = counted(job.progress.succeeded, "output")
        click.echo(f"{outputs_left}, manifest and summary stay in {job.output_url}", err=True)
    if with_outputs:
        click.echo("remove what no job owns with: kernelport jobs prune", err=True)
    sys.exit(code)


@click.command()
@click.option("--yes", is_flag=True, help="Do not ask.")
@options.target
def prune(yes: bool, target: str) -> None:
    """List the outputs that no job owns any more, and delete them when told to.

    Front doors whose jobs are in different Redis servers must not share one place for outputs: each takes the others'
    for nobody's.
    """
    with Client(target) as client:
        found = list(client.jobs.orphans())
        if not found:
            click.echo("there are no outputs without a job")
            return
        for orphan in found:
            click.echo(f"{orphan.output_url}: {counted(orphan.files, 'file')}, {decimal(orphan.bytes)}")
        files, jobs = counted(sum(o.files for o in found), "file"), counted(len(found), "job")
        what = f"{files} of {jobs}, {decimal(sum(o.bytes for o in found))}"
        if not yes:
            click.confirm(f"delete {what}?", abort=True, err=True)
        _, code = of_each((orphan.job_id for orphan in found), client.jobs.delete_orphan)
    if code:
        sys.exit(code)
    click.echo(f"{what}: deleted")
