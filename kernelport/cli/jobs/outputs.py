"""Where the commands about jobs put outputs, and how they fetch them."""

import functools
import itertools
import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from kernelport.cli.jobs.formatting import others
from kernelport.cli.mistakes import Mistake
from kernelport.client import Client
from kernelport.client.jobs import folders
from kernelport.client.jobs.messages import is_over
from kernelport.counting import counted
from kernelport.enums import ItemState
from kernelport.errors import FailedPreconditionError, KernelPortError, NotFoundError, UnavailableError
from kernelport.v1 import job_pb2 as pb

PARALLEL_FETCHES = 8
SHOWN_FAILURES = 10
CHOICES = "choose another folder, --append to keep this job apart in it, or --overwrite to replace files of its names"
# Of the failed items, to tell what can be done about them.
MOST_LOOKED_AT = 1000
_AT_A_TIME = 256
# A place of such a name is a file's, unless there is a folder of that name, or a slash behind it.
_OF_FILES = (*folders.OUTPUTS, ".csv", ".json", ".jsonl", ".zip")
STDOUT = "-"


@dataclass(frozen=True)
class Destination:
    """What -o, --overwrite and --append say.

    Attributes:
        out: a folder, or the file that one item's output becomes.
        overwrite: whether a folder of another job, or another file, is replaced.
        append: whether the job gets a folder of its own in it, named by its id.
    """

    out: str
    overwrite: bool
    append: bool

    @property
    def folder(self) -> Path:
        """The folder, or the file."""
        return Path(self.out)

    @property
    def is_file(self) -> bool:
        """Whether it is a file's name, or stdout."""
        if self.out == STDOUT:
            return True
        if self.folder.exists():
            return not self.folder.is_dir()
        return not self.out.endswith(("/", os.sep)) and self.folder.suffix.lower() in _OF_FILES

    def check_folder(self) -> None:
        """Refuses a file where there may be several.

        Raises:
            click.UsageError: when it is one.
        """
        if self.is_file:
            name = "FOLDER" if self.out == STDOUT or self.folder.exists() else self.folder.with_suffix("")
            choices = f"-o {name}/, or for one item's file: kernelport jobs fetch JOB ITEM -o NAME.wav"
            raise click.UsageError(f"--out: expected a folder, got {self.out}: write {choices}")

    def check(self, client: Client, request_id: str) -> None:
        """Refuses a folder of another job before anything runs.

        Raises:
            Mistake: when it is one, and neither --append nor --overwrite is given.
        """
        if not (self.append or self.overwrite):
            try:
                folders.check(self.folder, request_id=request_id)
            except FileExistsError as error:
                raise _refusal(client, self.folder, error) from error

    def of(self, client: Client, job_id: str, request_id: str = "") -> Path:
        """The folder of a job's outputs, marked as its own.

        Raises:
            Mistake: when it is another job's, and neither --append nor --overwrite is given.
        """
        folder = self.folder / job_id if self.append else self.folder
        try:
            folders.claim(folder, job_id, request_id=request_id, overwrite=self.overwrite)
        except FileExistsError as error:
            raise _refusal(client, folder, error) from error
        return folder


def destination(command: Callable[..., Any]) -> Callable[..., Any]:
    """Gives a command the options -o, --overwrite and --append as `out: Destination | None`."""

    @click.option(
        "-o",
        "--out",
        help="The folder that outputs are fetched into, and a manifest at the end. It belongs to one job.",
    )
    @click.option("--overwrite", is_flag=True, help="Replace files of the same names, of another job as well.")
    @click.option("--append", is_flag=True, help="Keep this job apart from others in the folder, as OUT/JOB.")
    @functools.wraps(command)
    def with_destination(out: str | None, overwrite: bool, append: bool, **rest: Any) -> Any:
        if overwrite and append:
            raise click.UsageError("expected --overwrite or --append, not both")
        where = Destination(out, overwrite, append) if out else None
        if where is not None and (append or len(rest.get("item_ids", ())) != 1):
            where.check_folder()
        return command(out=where, **rest)

    return with_destination


def _refusal(client: Client, folder: Path, error: FileExistsError) -> Mistake:
    """What can be done about a folder of another job, which goes on in it only if it has not been deleted."""
    owner, known = folders.owner_of(folder), ""
    if owner is not None:
        try:
            job = client.jobs.get(owner["job"])
            known = f", which `kernelport jobs watch {job.id} -o {folder}` goes on with"
        except NotFoundError:
            known = ", which was deleted"
        except KernelPortError as unknown:
            known = f" ({unknown.message})"
    return Mistake(f"--out: {error}{known}: {CHOICES}")


class Fetcher:
    """Fetches outputs of a job into a folder, several at a time.

    Attributes:
        fetched: how many files are there.
        failures: why others are not, by the item's id.
    """

    def __init__(self, client: Client, job_id: str, folder: Path, pool: Executor) -> None:
        self.fetched: int = 0
        self.failures: dict[str, KernelPortError] = {}
        self._client = client
        self._job_id = job_id
        self._folder = folder
        self._pool = pool
        self._out_of_reach: UnavailableError | None = None

    def fetch(self, items: Iterable[pb.Item]) -> Iterator[None]:
        """Fetches the outputs of items that succeeded; yields for each that has been tried."""
        coming = iter(items)
        while some := list(itertools.islice(coming, _AT_A_TIME)):
            self._out_of_reach = None
            for item, failure in zip(some, self._pool.map(self._fetch, some), strict=True):
                self.failures.pop(item.id, None)
                if failure is None:
                    self.fetched += 1
                else:
                    self.failures[item.id] = failure
                yield

    def fetch_all(self, items: Iterable[pb.Item]) -> None:
        """Fetches the outputs of items that succeeded."""
        for _ in self.fetch(items):
            pass

    def _fetch(self, item: pb.Item) -> KernelPortError | None:
        if self._out_of_reach is not None:
            return self._out_of_reach
        try:
            self._client.jobs.fetch(self._job_id, item, self._folder)
        except KernelPortError as error:
            if isinstance(error, UnavailableError):  # after minutes of trying, which do for those behind it, too
                self._out_of_reach = error
            return error
        return None

    def tell_missing(self) -> None:
        """Says on stderr which files could not be fetched, and why."""
        for item_id, failure in itertools.islice(self.failures.items(), SHOWN_FAILURES):
            click.echo(f"{item_id}: not fetched: {failure.message}", err=True)
        if self.failures:
            gone = all(isinstance(failure, NotFoundError) for failure in self.failures.values())
            again = "" if gone else f"; fetch them with: kernelport jobs fetch {self._job_id} -o {self._folder}"
            click.echo(f"{counted(len(self.failures), 'file is', 'files are')} missing{again}", err=True)


def fetch_manifest(client: Client, job_id: str, folder: Path) -> bool:
    """Fetches the manifest of a job that is over; says why where there is none, and returns whether there is one."""
    try:
        client.jobs.fetch_manifest(job_id, folder)
    except (FailedPreconditionError, NotFoundError) as error:
        click.echo(f"no manifest: {error.message}", err=True)
        return False
    return True


def only_lasting(client: Client, job: pb.Job) -> bool:
    """Whether all that is left of a job has failed by its own inputs. False where more failed than are looked at."""
    progress = job.progress
    if job.state != pb.JOB_STATE_FAILED or progress.succeeded + progress.failed < progress.items:
        return False
    failed = list(itertools.islice(client.jobs.items(job.id, [ItemState.FAILED]), MOST_LOOKED_AT))
    return 0 < len(failed) == progress.failed and all(item.lasting for item in failed)


def tell_unfinished(client: Client, job: pb.Job) -> None:
    """Says on stderr which items of a job have no output, and why: the first of those that failed, how many others
    there are, and what can be done about it."""
    if job.state in (pb.JOB_STATE_SUCCEEDED, pb.JOB_STATE_DELETING):
        return
    progress = job.progress
    failed = list(itertools.islice(client.jobs.items(job.id, [ItemState.FAILED]), MOST_LOOKED_AT))
    for item in failed[:SHOWN_FAILURES]:
        click.echo(f"{item.id}: {item.reason}" + (" (the same inputs fail again)" if item.lasting else ""), err=True)
    if progress.failed > SHOWN_FAILURES:
        click.echo(f"... all {progress.failed:,}: kernelport jobs items {job.id} --state failed", err=True)
    for name, count in others(job).items():
        if name != "failed":
            click.echo(f"{count:,} {name}", err=True)
    if not is_over(job):
        return
    if not job.sealed:
        click.echo(f"its submission broke off; seal it as it is: kernelport jobs seal {job.id}", err=True)
        return
    if any(item.lasting for item in failed):
        click.echo(f"write what failed with: kernelport jobs export {job.id} --state failed -o failed.csv", err=True)
        click.echo(f"mend it, and run it with: kernelport jobs resume {job.id} --with failed.csv", err=True)
    if progress.cancelled or progress.not_run or not all(item.lasting for item in failed):
        click.echo(f"run the rest with: kernelport jobs resume {job.id}", err=True)
