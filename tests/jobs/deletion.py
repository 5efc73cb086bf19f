"""A large job is deleted while it is fetched and resumed, and everything is killed meanwhile: it is deleted, or whole.

`python -m tests.jobs.deletion` makes 200,000 items, twice: the first job is deleted, then resumed; the second resumed,
then deleted.
"""

import hashlib
import os
import signal
import statistics
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import click
import numpy as np
from redis import Redis

from kernelport import Client, FailedPreconditionError, KernelPortError, NotFoundError, UnavailableError
from kernelport.broker import keys
from kernelport.config.settings import bundled_deployments
from kernelport.supervisor.stack import Stack
from kernelport.v1 import job_pb2 as pb
from tests.conftest import serving_stack, stack_settings
from tests.waiting import wait_for

MODEL = "identity-onnx"
FETCHERS = 3
PATIENCE_S = 600.0
X = {"x": np.ones((1, 1, 2, 2), np.float32)}


class Fetching:
    """Fetches outputs of a job at random until the block ends.

    Attributes:
        outcomes: how often what came: whole files, and errors by their class.
        wrong: files that were not what the job made.
    """

    def __init__(self, target: str, job: pb.Job, items: list[pb.Item]) -> None:
        self._target, self._job, self._items = target, job, items
        self._ended = threading.Event()
        self._threads = [threading.Thread(target=self._fetch, args=(seed,)) for seed in range(FETCHERS)]
        self.outcomes: Counter[str] = Counter()
        self.wrong = 0

    def __enter__(self) -> "Fetching":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        for thread in self._threads:
            thread.join()

    def _fetch(self, seed: int) -> None:
        chance = np.random.default_rng(seed)
        with Client(self._target) as client:
            while not self._ended.is_set():
                item = self._items[chance.integers(len(self._items))]
                try:
                    data = b"".join(client.jobs.output(self._job.id, item.id))
                    self.wrong += hashlib.sha256(data).digest() != item.sha256
                    self.outcomes["whole"] += 1
                except KernelPortError as error:
                    self.outcomes[type(error).__name__] += 1
                    time.sleep(0.01)


def stopped_job(client: Client, count: int) -> pb.Job:
    """A job of which nine tenths are done."""
    began = time.monotonic()
    job = client.jobs.submit(MODEL, (X for _ in range(count)))
    click.echo(f"{count / (time.monotonic() - began):.0f} items/s submitted")
    wait_for(lambda: client.jobs.get(job.id).progress.succeeded >= 0.9 * count, PATIENCE_S)
    client.jobs.cancel(job.id)
    return client.jobs.wait(job.id)


def kill(stack: Stack, name: str) -> None:
    """As an operating system without memory does; the stack starts it again."""
    pid = stack.children[name].pid
    if pid is not None:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    click.echo(f"killed {name}")


def again(call: Callable[[], object]) -> str:
    """What came of a call that is repeated while nobody can be reached."""
    began = time.monotonic()
    while True:
        try:
            call()
            return f"done in {time.monotonic() - began:.3f} s"
        except UnavailableError:
            time.sleep(0.1)
        except (FailedPreconditionError, NotFoundError) as error:
            return f"refused: {error}"


def problems(stack: Stack, client: Client, job: pb.Job) -> Iterator[str]:
    """What is neither deleted nor whole."""
    folder = Path(job.output_url)
    with Redis.from_url(stack.settings.redis_url) as redis:
        left = list(redis.scan_iter(f"{keys.job(job.id)}*"))
    try:
        now = client.jobs.get(job.id)
    except NotFoundError:
        if folder.exists():
            yield f"the job is gone, {len(os.listdir(folder))} of its files are there"
        if left:
            yield f"the job is gone, and these keys are there: {left}"
        return
    files = sum(name.endswith(".npz") for name in os.listdir(folder)) if folder.exists() else 0
    if files != now.progress.succeeded:
        yield f"{now.progress.succeeded} items succeeded, there are {files} files"


def round_of(stack: Stack, count: int, resume_first: bool) -> list[str]:
    """One job; returns what is wrong with it in the end."""
    with Client(stack.target) as client:
        client.jobs.patience_s = PATIENCE_S
        job = stopped_job(client, count)
        items = [
            item for item, _ in zip(client.jobs.items(job.id, ["ITEM_STATE_SUCCEEDED"]), range(5000), strict=False)
        ]
        calls = [
            ("delete", lambda: client.jobs.delete(job.id, delete_outputs=True, wait=False)),
            ("resume", lambda: client.jobs.resume(job.id)),
        ]
        waits: list[float] = []
        with Fetching(stack.target, job, items) as fetching:
            began = time.monotonic()
            for name, call in reversed(calls) if resume_first else calls:
                click.echo(f"{name}: {again(call)}")
            while time.monotonic() - began < 2 and not _is_gone(client, job):
                asked = time.monotonic()
                client.infer(MODEL, X)
                waits.append(time.monotonic() - asked)
            for name in ("front-door", "redis"):
                kill(stack, name)
                time.sleep(1)
                click.echo(f"resume: {again(calls[1][1])}")
            wait_for(lambda: _rests(client, job), PATIENCE_S, "the end of the job")
            click.echo(f"at rest after {time.monotonic() - began:.1f} s; fetched meanwhile: {dict(fetching.outcomes)}")
            if waits:
                click.echo(
                    f"calls meanwhile: median {1e3 * statistics.median(waits):.1f} ms, most {1e3 * max(waits):.1f} ms"
                )
        found = list(problems(stack, client, job))
        if fetching.wrong:
            found.append(f"{fetching.wrong} files that were fetched are not what the job made")
        if not _is_gone(client, job):
            client.jobs.delete(job.id, delete_outputs=True)
            found += problems(stack, client, job)
        return found


def _is_gone(client: Client, job: pb.Job) -> bool:
    try:
        client.jobs.get(job.id)
    except NotFoundError:
        return True
    except UnavailableError:
        return False
    return False


def _rests(client: Client, job: pb.Job) -> bool:
    try:
        now = client.jobs.get(job.id)
    except NotFoundError:
        return True
    except UnavailableError:
        return False
    return now.finished_unix_us > 0 and now.state != pb.JOB_STATE_DELETING


@click.command(help="Deletes and resumes a large job while it is fetched and everything is killed: deleted, or whole.")
@click.option("--items", default=200_000, show_default=True, type=click.IntRange(1000))
def main(items: int) -> None:
    """The command."""
    found: list[str] = []
    with (
        tempfile.TemporaryDirectory(prefix="kernelport-deletion-") as folder,
        serving_stack(stack_settings(bundled_deployments()), [MODEL], Path(folder)) as stack,
    ):
        for resume_first in (False, True):
            found += round_of(stack, items, resume_first)
    click.echo("\n".join(found) if found else "deleted, or whole")
    sys.exit(1 if found else 0)


if __name__ == "__main__":
    main()
