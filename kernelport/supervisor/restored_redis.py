"""Makes the data folder of a Redis out of a snapshot, and sets right in it what depends on where it is."""

import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any, cast

from redis import Redis
from redis.exceptions import BusyLoadingError, ConnectionError

from kernelport.broker import keys, stored
from kernelport.broker.connections import connect
from kernelport.broker.tenants import tenants
from kernelport.errors import HostError, PlaceError
from kernelport.supervisor.processes import dying_with_parent
from kernelport.supervisor.redis_server import find_redis_server, redis_command
from kernelport.supervisor.state_folder import private_folder

# Redis begins with the base that its manifest names, which may be a snapshot, and appends to a file of its own.
_FOLDER = "appendonlydir"
_BASE = "appendonly.aof.1.base.rdb"
_MANIFEST, _MANIFEST_TEXT = "appendonly.aof.manifest", f"file {_BASE} seq 1 type b\n"
_REWRITES = ("aof_rewrite_scheduled", "aof_rewrite_in_progress")
_OURS = (b"kp:", b"kp.")
_AT_ONCE = 500
_POLL_S = 0.05
_STOP_S = 60.0
_UMASK = 0o077
_LOG_LINES = 12


def check_empty(data: Path) -> None:
    """Raises PlaceError when a Redis has its data in a folder already."""
    for name in (_FOLDER, "dump.rdb"):
        if (data / name).exists():
            raise PlaceError(f"{data / name} is there already: a backup is restored where no Redis has data yet")


def restore_redis(snapshot: Path, data: Path, was: int, database: int, output_root: str) -> None:
    """Makes the data folder, whole or not at all, of what in a snapshot is KernelPort's.

    Args:
        data: the folder, of a Redis that does not run.
        was: the database in the snapshot.
        database: where what was there is from now on.
        output_root: below which the outputs of jobs are from now on.

    Raises:
        HostError: the folder holds data, there is no redis-server, or it cannot read the snapshot.
    """
    check_empty(data)
    folder = private_folder(private_folder(data) / _FOLDER)
    try:
        shutil.copyfile(snapshot, folder / _BASE)
        (folder / _MANIFEST).write_text(_MANIFEST_TEXT)
        with _running(data) as socket:
            with connect(f"unix://{socket}?db=0") as redis:
                if was != database:
                    redis.execute_command("SWAPDB", was, database)
                kept: Any = redis.info("keyspace")
            for number in (int(name.removeprefix("db")) for name in kept):
                with connect(f"unix://{socket}?db={number}") as redis:
                    if number != database:
                        redis.flushdb()
                    else:
                        _keep_ours(redis)
                        _move_outputs(redis, output_root)
                        redis.delete(keys.JOB_STORAGE_HOLDS)  # those that saw the storage are not here
            with connect(f"unix://{socket}?db=0") as redis:
                _rewrite(redis)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


@contextmanager
def _running(data: Path) -> Iterator[Path]:
    """A Redis on a data folder, behind a socket that nobody else finds; once it has loaded it, until it has ended."""
    with tempfile.TemporaryDirectory(prefix="kernelport-") as name:
        folder = Path(name)
        socket, log = folder / "redis.sock", folder / "redis.log"
        command = [*redis_command(find_redis_server(), 0, data.absolute()), "--unixsocket", str(socket)]
        with log.open("wb") as output:
            process = subprocess.Popen([*dying_with_parent(), *command], stdout=output, stderr=output, umask=_UMASK)
        try:
            with connect(f"unix://{socket}?db=0") as redis:
                while not _answers(redis):
                    if process.poll() is not None:
                        told = "\n".join(log.read_text(errors="replace").splitlines()[-_LOG_LINES:])
                        raise HostError(f"redis-server cannot read the backup; it says:\n{told}")
                    time.sleep(_POLL_S)
            yield socket
        finally:
            process.terminate()
            process.wait(_STOP_S)


def _answers(redis: Redis) -> bool:
    try:
        return bool(redis.ping())
    except (ConnectionError, BusyLoadingError):
        return False


def _keep_ours(redis: Redis) -> None:
    """Deletes what is another's of those who share a Redis: it was copied along."""
    for some in _some_at_once(key for key in redis.scan_iter(count=_AT_ONCE) if not key.startswith(_OURS)):
        redis.unlink(*some)


def _move_outputs(redis: Redis, root: str) -> None:
    """Has every job say that its outputs are below a root."""
    indexes = [keys.owned(keys.JOBS, tenant) for tenant in tenants(redis)]
    jobs = [job for index in indexes for job in cast("list[bytes]", redis.zrange(index, 0, -1))]
    for some in _some_at_once(jobs):
        names = [stored.name(job) for job in some]
        with redis.pipeline(transaction=False) as pipeline:
            for name in names:
                pipeline.hexists(keys.job(name), "output_url")
            known = pipeline.execute()
            for name in (name for name, has_it in zip(names, known, strict=True) if has_it):
                pipeline.hset(keys.job(name), "output_url", f"{root}/{name}")
            pipeline.execute()


def _rewrite(redis: Redis) -> None:
    """Has the files hold what is there now, and nothing of what was deleted."""
    redis.bgrewriteaof()
    while any(redis.info("persistence")[name] for name in _REWRITES):
        time.sleep(_POLL_S)
    if redis.info("persistence")["aof_last_bgrewrite_status"] != "ok":
        raise HostError("redis-server cannot write its files: is the disk full?")


def _some_at_once(found: Iterable[bytes]) -> Iterator[list[bytes]]:
    remaining = iter(found)
    while some := list(islice(remaining, _AT_ONCE)):
        yield some
