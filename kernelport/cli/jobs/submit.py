"""`kernelport jobs submit`: a file of items becomes a job."""

import contextlib
import itertools
import shutil
import sys
import tempfile
import textwrap
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from kernelport.cli import mistakes, options
from kernelport.cli.jobs import outputs
from kernelport.cli.jobs import watch as watching
from kernelport.cli.jobs.formatting import Deadline, Duration, moment
from kernelport.client import Client
from kernelport.client.item_files import SPLITS, ItemFile, Kind, Report, Split, detect, model_of
from kernelport.client.item_files.opening import open_bytes
from kernelport.client.jobs.messages import FORMATS, is_over
from kernelport.counting import counted
from kernelport.enums import JobState
from kernelport.errors import KernelPortError
from kernelport.signature import Signature
from kernelport.tensors import dtype_name, to_array
from kernelport.v1 import job_pb2 as pb
from kernelport.v1.inference_pb2 import Tensor

DEFAULT_DEPLOYMENT = "hibari-en"
# A text is cut at its column's share of the characters.
SHOWN_ITEMS, SHOWN_CHARACTERS, LEAST_CHARACTERS = 5, 400, 20
VOICE = "prompt_audio"
COLUMNS_HINT = "; --column NAME=COLUMN reads a column as an input, --ignore COLUMN leaves one out"
EVENTS = tuple(name.removeprefix("WEBHOOK_EVENT_").lower() for name in pb.WebhookEvent.keys()[1:])


@click.command()
@click.argument("source", metavar="FILE", type=click.Path(path_type=Path, exists=True, dir_okay=False, allow_dash=True))
@click.option(
    "--deployment",
    help=f"What runs the items; {DEFAULT_DEPLOYMENT} by default, or the `model` of OpenAI batch requests.",
)
@click.option(
    "--input-format",
    "kind",
    type=click.Choice(["text", "csv", "jsonl", "openai"]),
    help="By default what FILE's name and first line say.",
)
@click.option(
    "--split", type=click.Choice(SPLITS), help="What an item of plain text is; by default what it looks like."
)
@click.option("--encoding", type=options.Encoding(), help="Of FILE, such as windows-1252; UTF-8 or UTF-16 by default.")
@click.option("--column", "columns", multiple=True, metavar="NAME=COLUMN", help="What FILE calls the id or an input.")
@click.option("--ignore", "ignored", multiple=True, metavar="COLUMN", help="A column or key of FILE to leave out.")
@click.option(
    "--files",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="Read the files that values name as @NAME, in this folder or below.",
)
@click.option("--skip-bad", is_flag=True, help="Leave bad rows out instead of refusing the file.")
@click.option(
    "--set",
    "assignments",
    multiple=True,
    metavar="NAME=VALUE",
    help="An input for every item, such as speed=1.1 or prompt_text=@what-it-says.txt.",
)
@click.option("--voice", type=click.Path(path_type=Path, exists=True, dir_okay=False), help="The voice: a recording.")
@click.option("--format", "output_format", type=click.Choice(FORMATS), default=None, help="Of the outputs.")
@click.option(
    "--output", "outputs_wanted", multiple=True, metavar="NAME", help="An output that is wanted, in npz files."
)
@click.option("--priority", type=click.IntRange(1, 10000), default=100, help="Its share among the jobs that run.")
@click.option("--deadline", type=Deadline(), help="When it expires: 12h from now, or 2030-01-31T18:00.")
@click.option("--retention", type=Duration(), default=None, help="How long it is kept when it is over, such as 7d.")
@click.option("--delete-outputs", is_flag=True, help="Delete its outputs when that time is over.")
@click.option("--metadata", multiple=True, metavar="KEY=VALUE", help="A note that is kept with the job.")
@click.option("--webhook", "webhook_url", help="A URL that is told of the job.")
@click.option(
    "--webhook-event",
    "webhook_events",
    multiple=True,
    type=click.Choice(EVENTS),
    help="What the URL is told; the start and the end by default.",
)
@click.option(
    "--webhook-secret",
    default="",
    help="Signs what the URL is sent: whsec_ and base64. Best given by the variable.",
)
@click.option("--request-id", default="", help="Makes the command safe to repeat: the same id names the same job.")
@click.option("--dry-run", is_flag=True, help="Check FILE, show its first items, and make no job.")
@click.option("--watch", is_flag=True, help="Follow the job until it is over.")
@outputs.destination
@options.target
def submit(
    source: Path,
    deployment: str | None,
    kind: Kind | None,
    split: Split | None,
    encoding: str | None,
    columns: tuple[str, ...],
    ignored: tuple[str, ...],
    files: Path | None,
    skip_bad: bool,
    assignments: tuple[str, ...],
    voice: Path | None,
    output_format: str | None,
    outputs_wanted: tuple[str, ...],
    priority: int,
    deadline: datetime | timedelta | None,
    retention: float | None,
    delete_outputs: bool,
    metadata: tuple[str, ...],
    webhook_url: str | None,
    webhook_events: tuple[str, ...],
    webhook_secret: str,
    request_id: str,
    dry_run: bool,
    watch: bool,
    out: outputs.Destination | None,
    target: str,
) -> None:
    """Make a job of the items in FILE (- for stdin).

    \b
    FILE is one of
      text    a line, or as --split says; the number of its line is the id
      csv     the first line names the columns: id, text, and any other input;
              id|text needs no such line
      jsonl   an object a line, with these keys
      openai  a line a request, as in the OpenAI batch API, to /v1/audio/speech

    Every bad row is told with its line before anything is queued. --out implies --watch.
    """
    with on_disk(source) as path, Client(target) as client:
        if out is not None:
            out.check(client, request_id)
        kind = kind or detect(path, encoding)
        name = deployment or (model_of(path, encoding) if kind == "openai" else None) or DEFAULT_DEPLOYMENT
        signature = client.deployment(name).signature
        shared = options.read_assignments(assignments, signature)
        if voice is not None:
            shared[VOICE] = voice.read_bytes()
        _check_shared(shared, signature, name)
        file = ItemFile(
            path,
            kind,
            name,
            signature,
            shared=shared,
            columns=dict(map(options.parse_assignment, columns)),
            ignored=ignored,
            files=files,
            own_format=output_format is not None,
            split=split,
            encoding=encoding,
        )
        report = checked(file, str(source), skip_bad, COLUMNS_HINT)
        if dry_run:
            _show_first(file, report)
            click.echo(f"{counted(report.items, 'item')} would be submitted; nothing was", err=True)
            return
        client.jobs.on_retry = _TellingOnce().tell
        with _telling_what_a_break_leaves(request_id):
            job = client.jobs.submit(
                name,
                _shown(file, report.items),
                shared=shared,
                output_format=output_format or report.output_format or "",
                outputs=outputs_wanted,
                priority=priority,
                deadline=deadline,
                metadata=dict(map(options.parse_assignment, metadata)),
                webhook=_webhook(webhook_url, webhook_secret, webhook_events),
                retention_s=round(retention or 0),
                delete_outputs=delete_outputs,
                request_id=request_id,
                on_existing=_tell_existing,
            )
        click.echo(job.id)
        if watch or out is not None:
            watching.follow(client, job.id, out.of(client, job.id, request_id) if out is not None else None)
        state = str(JobState.of(job)) if is_over(job) else f"watch with: kernelport jobs watch {job.id}"
        click.echo(f"{counted(job.progress.items, 'item')} on {name}; {state}", err=True)


@contextlib.contextmanager
def _telling_what_a_break_leaves(request_id: str) -> Iterator[None]:
    try:
        yield
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt):
            click.echo(err=True)  # behind what the terminal shows of the key
            if request_id:
                click.echo("the submission broke off; the same command goes on with it", err=True)
        for note in getattr(error, "__notes__", ()):
            click.echo(note, err=True)
        raise


class _TellingOnce:
    """Says what a submission waits for, and says it once."""

    def __init__(self) -> None:
        self._told = ""

    def tell(self, error: KernelPortError, _pause_s: float) -> None:
        """See `on_retry` of jobs."""
        if error.message != self._told:
            self._told = error.message
            click.echo(f"trying again: {error.message}", err=True)


def _tell_existing(job: pb.Job) -> None:
    items = counted(job.progress.items, "item")
    known = f"note: the request id names job {job.id} already: {JobState.of(job)}, with {items}"
    if job.spec.deadline_unix_us:
        known += f", deadline {moment(job.spec.deadline_unix_us)}"
    if not job.sealed:
        known += "; its submission is gone on with"
    elif is_over(job) and job.state != pb.JOB_STATE_SUCCEEDED:
        known += f"; run the rest with: kernelport jobs resume {job.id}"
    click.echo(known, err=True)


def _check_shared(shared: dict[str, Any], signature: Signature, deployment: str) -> None:
    names = [spec.name for spec in signature.inputs]
    for name in shared:
        if names and name not in names:
            option = "--voice" if name == VOICE else f"--set {name}"
            raise click.UsageError(f"{option}: {deployment} has no input {name}; expected one of {', '.join(names)}")


@contextlib.contextmanager
def on_disk(source: Path) -> Iterator[Path]:
    """The file itself, or a copy of stdin or another pipe: items are read twice."""
    if source.is_file():
        yield source
        return
    with tempfile.TemporaryDirectory(prefix="kernelport-items-") as folder:
        path = Path(folder) / source.name
        with path.open("wb") as file, open_bytes(source) as given:
            shutil.copyfileobj(given, file)
        yield path


def checked(file: ItemFile, name: str, skip_bad: bool, columns_hint: str = "") -> Report:
    """The report on a file that can be submitted, after its findings are printed; else the command ends.

    Args:
        columns_hint: what helps where a column or key of the file is at fault.
    """
    with Console(stderr=True).status(f"checking {name} ...") as status:
        report = file.check(lambda rows: status.update(f"checking {name} ... {counted(rows, 'row')}"))
    refused = report.fatal or (report.bad and not skip_bad)
    for problem in report.problems:
        click.echo(f"{name}:{problem}" if refused else f"{name}:{problem} (left out)", err=True)
    if report.problem_count > len(report.problems):
        click.echo(f"... and {counted(report.problem_count - len(report.problems), 'finding')} more", err=True)
    for note in report.notes:
        click.echo(f"note: {note}", err=True)
    if report.fatal:
        hint = columns_hint if any(problem.fatal and problem.field for problem in report.problems) else ""
        click.echo(f"error: {name} cannot be read so; nothing was queued{hint}", err=True)
        sys.exit(2)
    if refused:
        found = f"{counted(report.bad, 'bad row')}, {counted(report.items, 'good one')}"
        click.echo(f"error: {found}; nothing was queued; --skip-bad leaves them out", err=True)
        sys.exit(2)
    if not report.items:
        raise mistakes.Mistake(f"{name} has no items")
    if report.bad:
        click.echo(f"{counted(report.bad, 'bad row')} left out, {counted(report.items, 'good one')}", err=True)
    click.echo(report.understood(), err=True)
    return report


def _show_first(file: ItemFile, report: Report) -> None:
    """The first items, with what they give; a column for every input that the file gives, if not to these items."""
    most = max(LEAST_CHARACTERS, SHOWN_CHARACTERS // len(report.sources))
    rows = [
        {"id": item.id, **{tensor.name: _value(tensor, most) for tensor in item.inputs}}
        for item in itertools.islice(file.items(), SHOWN_ITEMS)
    ]
    table = Table()
    names = list(dict.fromkeys([*report.sources, *itertools.chain.from_iterable(rows)]))
    for name in names:
        table.add_column(name, overflow="fold")
    for row in rows:
        table.add_row(*(escape(row.get(name, "")) for name in names))
    Console().print(table)


def _value(tensor: Tensor, most_characters: int) -> str:
    if tensor.name == "text":
        return textwrap.shorten(tensor.data.decode(), most_characters, placeholder=" ...")
    array = to_array(tensor)
    return str(array.item()) if array.size == 1 else f"{dtype_name(tensor.dtype)}{list(tensor.shape)}"


def _shown(file: ItemFile, total: int) -> Iterator[pb.NewItem]:
    """The file's items, with a bar on stderr that tells how many are on their way."""
    columns = (TextColumn("submitting"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        yield from progress.track(file.items(), total=total)


def _webhook(url: str | None, secret: str, events: tuple[str, ...]) -> pb.Webhook | None:
    if url is None:
        if events:
            raise click.UsageError("--webhook-event: expected --webhook, too")
        return None
    return pb.Webhook(url=url, secret=secret, events=[f"WEBHOOK_EVENT_{event.upper()}" for event in events])
