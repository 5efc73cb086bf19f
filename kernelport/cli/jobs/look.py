"""`kernelport jobs list`, `show` and `items`."""

import itertools
import textwrap

import click
from google.protobuf.json_format import MessageToJson
from google.protobuf.message import Message
from rich.console import Console
from rich.filesize import decimal
from rich.markup import escape
from rich.table import Column, Table

from kernelport.cli import options
from kernelport.cli.jobs import words
from kernelport.cli.jobs.progress import done, elapsed_s
from kernelport.client import Client
from kernelport.tensors import dtype_name
from kernelport.v1 import job_pb2 as pb

as_json = click.option("--json", "as_json", is_flag=True, help="As JSON, an object a line.")
limit = click.option("--limit", type=click.IntRange(1, 2**31 - 1), default=50, help="At most so many.")


@click.command("list")
@click.option("--deployment", default="", help="Only of this deployment.")
@click.option("--state", "states", multiple=True, type=click.Choice(words.JOB_STATES), help="Only in these states.")
@limit
@as_json
@options.target
def list_jobs(deployment: str, states: tuple[str, ...], limit: int, as_json: bool, target: str) -> None:
    """Jobs, newest first."""
    with Client(target) as client:
        found = list(itertools.islice(client.jobs.list(deployment, words.job_states(states)), limit))
    if as_json:
        _echo_json(found)
        return
    fixed = [Column(name, no_wrap=True) for name in ("state", "done", "failed", "created")]
    table = Table(Column("job", no_wrap=True), "deployment", *fixed)
    for job in found:
        progress = job.progress
        table.add_row(
            job.id,
            escape(job.spec.deployment),
            words.coloured(words.job_state(job)),
            f"{done(job):,}/{progress.items:,}",
            f"{progress.failed:,}",
            words.moment(job.created_unix_us)[5:-3],
        )
    Console().print(table if found else "there are no such jobs")


@click.command()
@click.argument("job_id", metavar="JOB")
@as_json
@options.target
def show(job_id: str, as_json: bool, target: str) -> None:
    """One job: how it stands, what it runs and how, where its outputs are."""
    with Client(target) as client:
        job = client.jobs.get(job_id)
    if as_json:
        _echo_json([job])
        return
    spec, progress = job.spec, job.progress
    reason = f": {job.reason}" if job.reason else ""
    click.echo(f"{job.id}: {words.job_state(job)}{reason}")
    _fact("deployment", f"{spec.deployment}, priority {spec.priority or 100}")
    counts = {name: getattr(progress, name) for name in words.ITEM_STATES}
    told = ", ".join(f"{count:,} {name}" for name, count in counts.items() if count)
    _fact("items", f"{progress.items:,}" + (f": {told}" if told else "") + ("" if job.sealed else " (more may come)"))
    if progress.audio_s:
        factor = progress.backend_s / progress.audio_s
        _fact("audio", f"{words.clock(progress.audio_s)}, real-time factor {factor:.3f}")
    if progress.useful_cost:
        waste = 100 * (progress.padded_cost / progress.useful_cost - 1)
        _fact("padding", f"{waste:.1f} % more than what was asked for")
    _fact("outputs", f"{job.output_url} ({decimal(progress.output_bytes)})")
    _fact("created", words.moment(job.created_unix_us))
    _fact("started", words.moment(job.started_unix_us))
    if job.finished_unix_us:
        _fact("finished", f"{words.moment(job.finished_unix_us)}, after {words.clock(elapsed_s(job))}")
        _fact("kept until", words.moment(job.expires_unix_us))
    if spec.deadline_unix_us:
        _fact("deadline", words.moment(spec.deadline_unix_us))
    for tensor in spec.shared_inputs:
        _fact("input", f"{tensor.name}: {dtype_name(tensor.dtype)}{list(tensor.shape)}, for every item")
    for key, value in sorted(spec.metadata.items()):
        _fact("metadata", f"{key}={value}")
    if spec.webhook.url:
        _fact("webhook", spec.webhook.url)


@click.command()
@click.argument("job_id", metavar="JOB")
@click.option("--state", "states", multiple=True, type=click.Choice(words.ITEM_STATES), help="Only in these states.")
@limit
@as_json
@options.target
def items(job_id: str, states: tuple[str, ...], limit: int, as_json: bool, target: str) -> None:
    """The items of JOB in the order of submission, with their attempts, files, warnings, and why they failed."""
    with Client(target) as client:
        found = list(itertools.islice(client.jobs.items(job_id, words.item_states(states)), limit))
    if as_json:
        _echo_json(found)
        return
    fixed = [Column(name, no_wrap=True) for name in ("state", "attempts", "audio s")]
    table = Table(Column("item", no_wrap=True, max_width=32), *fixed, "text, or reason or warnings")
    for item in found:
        audio = f"{item.audio_s:.2f}" if item.audio_s else "-"
        about = escape(textwrap.shorten(item.reason or "; ".join(item.warnings) or item.text, 120, placeholder=" ..."))
        state = words.coloured(words.item_state(item))
        table.add_row(escape(item.id), state, str(item.attempts), audio, about)
    Console().print(table if found else "there are no such items")
    if len(found) == limit:
        click.echo(f"the first {limit}; --limit shows more", err=True)


def _fact(name: str, value: str) -> None:
    click.echo(f"  {name:<10} {value}")


def _echo_json(messages: list[pb.Job] | list[pb.Item]) -> None:
    for message in messages:
        each: Message = message
        click.echo(MessageToJson(each, preserving_proto_field_name=True, indent=None))
