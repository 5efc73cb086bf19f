"""`kernelport backup` and `kernelport restore`: a copy of a running stack, and a stack made of it."""

import json
import time
from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path

import click
from redis.exceptions import RedisError
from rich.filesize import decimal

from kernelport.broker.connections import parameters, reason, shown
from kernelport.broker.snapshot import write_snapshot
from kernelport.cli import options
from kernelport.config.settings import Settings
from kernelport.counting import counted
from kernelport.errors import HostError, PlaceError
from kernelport.jobs.artifacts import Artifacts, storage_errors
from kernelport.jobs.copies import Listed, put_back, read_list, write_list
from kernelport.supervisor.restored_redis import check_empty, restore_redis
from kernelport.supervisor.running_file import find_running, joined_environment, take_state_folder
from kernelport.supervisor.state_folder import private_folder, write_private

_SNAPSHOT, _LIST, _OUTPUTS, _ABOUT = "redis.rdb", "outputs.jsonl", "outputs", "backup.json"
_VERSION = 1
# Of a list that is none, and of storage that refuses.
_ERRORS: tuple[type[Exception], ...] = (ValueError, *storage_errors())

_folder = click.argument("folder", metavar="DIR", type=click.Path(path_type=Path, file_okay=False))
_artifacts = click.option(
    "--artifacts",
    metavar="DIR|URL",
    default="",
    help="Where the outputs of jobs are; where the stack keeps them by default.",
)


@dataclass(frozen=True)
class About:
    """What a backup says of itself, once it is whole.

    Attributes:
        database: of Redis, that was the stack's.
        artifacts: where the outputs were.
        outputs: how many files the list names.
        has_outputs: whether it has copies of them.
    """

    created_unix_s: int
    database: int
    artifacts: str
    outputs: int
    output_bytes: int
    has_outputs: bool
    version: int = _VERSION


@click.command()
@_folder
@options.state_dir
@click.option(
    "--redis-url", type=options.REDIS_URL, default=None, help="The Redis to copy; that of the running stack by default."
)
@_artifacts
@click.option("--without-outputs", is_flag=True, help="List the outputs of jobs, and leave the files where they are.")
def backup(folder: Path, state_dir: Path, redis_url: str | None, artifacts: str, without_outputs: bool) -> None:
    """Copy a running stack into DIR: its Redis as it is at one moment, then the outputs of jobs.

    Nothing waits for it. DIR must be new or empty. `kernelport restore` makes a stack of it.
    """
    if redis_url is None and find_running(state_dir) is None:
        raise PlaceError(
            f"no stack runs on {state_dir}: name its Redis with --redis-url, or its folder with --state-dir"
        )
    settings = Settings.from_environment(joined_environment(state_dir, redis_url))
    if folder.exists() and any(folder.iterdir()):
        raise PlaceError(f"{folder} is not empty: a backup is a folder of its own")
    private_folder(folder)
    try:
        size = write_snapshot(settings.redis_url, folder / _SNAPSHOT)
    except RedisError as error:
        raise HostError(f"cannot copy the Redis at {shown(settings.redis_url)}: {reason(error)}") from error
    storage = Artifacts(artifacts or settings.artifacts_url)
    found = write_list(storage, folder / _LIST, None if without_outputs else folder / _OUTPUTS)
    count, total = _counted(found, storage)
    about = About(
        created_unix_s=round(time.time()),
        database=parameters(settings.redis_url)["db"],
        artifacts=storage.url(""),
        outputs=count,
        output_bytes=total,
        has_outputs=not without_outputs,
    )
    write_private(folder / _ABOUT, json.dumps(asdict(about)))
    click.echo(f"{folder}: {decimal(size)} of Redis; {counted(count, 'output')} ({decimal(total)}), {_kept(about)}")


@click.command()
@_folder
@options.state_dir
@click.option(
    "--redis-dir",
    type=click.Path(path_type=Path, file_okay=False),
    default=None,
    help="The data folder of another Redis than that of `kernelport up`; it must not run.",
)
@_artifacts
def restore(folder: Path, state_dir: Path, redis_dir: Path | None, artifacts: str) -> None:
    """Make a stack of the backup in DIR, for `kernelport up` on the same --state-dir to go on with.

    There must be no data of Redis yet. What was queued and what was half done is as after a sudden stop at the moment
    of the backup. Outputs that are there in their size stay as they are.
    """
    about = _about(folder)
    with ExitStack() as until_done:
        if redis_dir is None:
            until_done.enter_context(take_state_folder(state_dir))
        data = redis_dir or state_dir / "redis"
        check_empty(data)
        storage = Artifacts(artifacts or _default_artifacts(state_dir, redis_dir))
        missing = _put_outputs_back(folder, storage)
        database = about.database if redis_dir else 0
        restore_redis(folder / _SNAPSHOT, data, about.database, database, storage.url(""))
    click.echo(f"{data}: as of {time.strftime('%Y-%m-%d %H:%M:%S UTC', time.gmtime(about.created_unix_s))}")
    click.echo(f"{storage.url('')}: {about.outputs - len(missing):,} of {counted(about.outputs, 'output')}")
    if missing:
        options.note(
            f"{counted(len(missing), 'output is', 'outputs are')} neither there nor in the backup, such as {missing[0]}"
        )


def _default_artifacts(state_dir: Path, redis_dir: Path | None) -> str:
    if redis_dir is not None:
        raise click.UsageError("--redis-dir: expected --artifacts, too: where are the outputs from now on?")
    return str(private_folder(state_dir.absolute() / "artifacts"))


def _put_outputs_back(folder: Path, storage: Artifacts) -> list[str]:
    """Puts the outputs of a backup into a storage; gives those that are not there now."""
    try:
        return [each.path for each in read_list(folder / _LIST) if not put_back(storage, each, folder / _OUTPUTS)]
    except _ERRORS as error:
        raise HostError(f"cannot restore outputs to {storage.url('')}: {error}") from error


def _about(folder: Path) -> About:
    try:
        about = About(**json.loads((folder / _ABOUT).read_text()))
    except (OSError, ValueError, TypeError) as error:
        raise PlaceError(f"{folder} is no whole backup: {_ABOUT}: {error}") from error
    if about.version != _VERSION:
        raise PlaceError(f"{folder}: expected a backup of version {_VERSION}, got {about.version}")
    return about


def _counted(found: Iterable[Listed], storage: Artifacts) -> tuple[int, int]:
    count = total = 0
    try:
        for each in found:
            count, total = count + 1, total + each.bytes
    except storage_errors() as error:
        raise HostError(f"cannot copy the outputs in {storage.url('')}: {error}") from error
    return count, total


def _kept(about: About) -> str:
    return "copied" if about.has_outputs else f"listed; their files stay in {about.artifacts}"
