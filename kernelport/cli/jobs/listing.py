"""`kernelport jobs list`, `show` and `items`."""

import itertools

import click
from rich.filesize import decimal
from rich.table import Column

from kernelport.cli import options, tables
from kernelport.cli.jobs import formatting
from kernelport.cli.jobs.progress import elapsed_s
from kernelport.client import Client
from kernelport.enums import ItemState, JobState
from kernelport.jobs.shapes import item_dict, job_dict
from kernelport.names import JOB_ID_LENGTH
from kernelport.tensors import dtype_name

limit: options.Option = click.option("--limit", type=click.IntRange(1, 2**31 - 1), default=50, help="At most so many.")


@click.command("list")
@click.option("--deployment", default="", help="Only of this deployment.")
@formatting.in_states(JobState)
@limit
@options.as_json
@options.target
def list_jobs(deployment: str, states: tuple[str, ...], limit: int, as_json: bool, target: str) -> None:
    """Jobs, newest first."""
    with Client(target) as client:
        found = list(itertools.islice(client.jobs.list(deployment, states), limit))
    if as_json:
        options.echo_json(map(job_dict, found))
        return
    fixed = [Column(name, no_wrap=True) for name in ("state", "succeeded", "others", "created")]
    # An id that is cut is of no use.
    columns: list[str | Column] = [Column("job", no_wrap=True, min_width=JOB_ID_LENGTH), "deployment", *fixed]
    rows = [
        (
            job.id,
            job.spec.deployment,
            formatting.coloured(JobState.of(job)),
            f"{job.progress.succeeded:,}/{job.progress.items:,}",
            ", ".join(f"{count:,} {name}" for name, count in formatting.others(job).items()),
            formatting.moment(job.created_unix_us)[:-3],
        )
        for job in found
    ]
    tables.show(columns, rows, "there are no such jobs")


@click.command()
@click.argument("job_id", metavar="JOB")
@options.as_json
@options.target
def show(job_id: str, as_json: bool, target: str) -> None:
    """One job: how it stands, what it runs and how, where its outputs are."""
    with Client(target) as client:
        job = client.jobs.get(job_id)
    if as_json:
        options.echo_json([job_dict(job)])
        return
    spec, progress = job.spec, job.progress
    reason = f": {job.reason}" if job.reason else ""
    click.echo(f"{job.id}: {JobState.of(job)}{reason}")
    _fact("deployment", f"{spec.deployment}, priority {spec.priority or 100}")
    counts = {"succeeded": progress.succeeded, **formatting.others(job)}
    told = ", ".join(f"{count:,} {name}" for name, count in counts.items() if count)
    _fact("items", f"{progress.items:,}" + (f": {told}" if told else "") + ("" if job.sealed else " (more may come)"))
    if progress.audio_s:
        factor = progress.backend_s / progress.audio_s
        compute = f"compute {formatting.clock(progress.backend_s)}, real-time factor {factor:.3f}"
        _fact("audio", f"{formatting.clock(progress.audio_s)}, {compute}")
    if progress.useful_cost:
        waste = 100 * (progress.padded_cost / progress.useful_cost - 1)
        _fact("padding", f"{waste:.1f} % more than what was asked for")
    _fact("outputs", f"{job.output_url} ({decimal(progress.output_bytes)})")
    _fact("created", formatting.moment(job.created_unix_us))
    _fact("started", formatting.moment(job.started_unix_us))
    if job.resumed_unix_us:
        _fact("resumed", formatting.moment(job.resumed_unix_us))
    if job.finished_unix_us:
        _fact("finished", f"{formatting.moment(job.finished_unix_us)}, after {formatting.clock(elapsed_s(job))}")
        _fact("kept until", formatting.moment(job.expires_unix_us))
    if spec.deadline_unix_us:
        _fact("deadline", formatting.moment(spec.deadline_unix_us))
    for tensor in spec.shared_inputs:
        _fact("input", f"{tensor.name}: {dtype_name(tensor.dtype)}{list(tensor.shape)}, for every item")
    for key, value in sorted(spec.metadata.items()):
        _fact("metadata", f"{key}={value}")
    if spec.webhook.url:
        _fact("webhook", spec.webhook.url)


@click.command()
@click.argument("job_id", metavar="JOB")
@formatting.in_states(ItemState)
@limit
@options.as_json
@options.target
def items(job_id: str, states: tuple[str, ...], limit: int, as_json: bool, target: str) -> None:
    """The items of JOB in the order of submission, with their attempts, files, warnings, and why they failed."""
    with Client(target) as client:
        found = list(itertools.islice(client.jobs.items(job_id, states, inputs=as_json), limit))
    if as_json:
        options.echo_json(map(item_dict, found))
        return
    fixed = [Column(name, no_wrap=True) for name in ("state", "attempts", "audio s")]
    columns: list[str | Column] = [Column("item", no_wrap=True, max_width=32), *fixed, "text", "reason or warnings"]
    rows = [
        (
            item.id,
            formatting.coloured(ItemState.of(item)),
            str(item.attempts),
            f"{item.audio_s:.2f}" if item.audio_s else "-",
            item.text,
            item.reason or "; ".join(item.warnings),
        )
        for item in found
    ]
    tables.show(columns, rows, "there are no such items")
    if len(found) == limit:
        click.echo(f"the first {limit}; --limit shows more", err=True)


def _fact(name: str, value: str) -> None:
    click.echo(f"  {name:<10} {value}")
