"""Two verbs on one job at the same moment, through two front doors: whichever comes first, what is left agrees.

`python -m tests.jobs.pairs --runs 605` goes through every pair, in both orders, from every stage at which a job
rests.
"""

import hashlib
import itertools
import json
import os
import random
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import click
import grpc

from kernelport.broker import keys
from kernelport.enums import ItemState
from kernelport.jobs import scripts
from kernelport.jobs.records import MICROSECONDS
from kernelport.jobs.states import MOVES, STAGES, STAYS, Stage, Verb
from kernelport.supervisor.ports import free_port
from kernelport.v1 import job_pb2 as pb
from kernelport.v1 import job_pb2_grpc
from tests.data_plane.conftest import Plane, serving_plane
from tests.jobs.calls import JobCalls, journal_item, manifest
from tests.stack.models import HELD
from tests.waiting import wait_for

MODEL = "journal"
PAIRED: tuple[Verb, ...] = (
    *("submit", "add", "seal", "cancel", "deadline"),
    *("storage", "last item", "resume", "replace", "delete", "expire"),
)
# Where a job rests until something is done to it.
RESTING: tuple[Stage, ...] = ("open", "sealed", "succeeded", "stopped", "broken")
SMALL, LARGE = 6, 2500
LARGE_SHARE = 0.05
LONGEST_DELAY_S = 0.004
# By themselves jobs go this way.
_DRIFT: tuple[Verb, ...] = ("last item", "written", "swept")
_REFUSED = (grpc.StatusCode.FAILED_PRECONDITION, grpc.StatusCode.NOT_FOUND, grpc.StatusCode.ALREADY_EXISTS)


@dataclass(frozen=True)
class Run:
    """One try: the second verb comes a moment after the first."""

    first: Verb
    second: Verb
    stage: Stage
    items: int
    delay_s: float


def runs(count: int, seed: int) -> Iterator[Run]:
    """Runs in an order that the seed gives; the first 605 have every pair in both orders from every stage."""
    chance = random.Random(seed)
    every = list(itertools.product(PAIRED, PAIRED, RESTING))
    for number in range(count):
        if number % len(every) == 0:
            chance.shuffle(every)
        items = LARGE if chance.random() < LARGE_SHARE else SMALL
        yield Run(*every[number % len(every)], items, chance.choice((0.0, chance.uniform(0.0, LONGEST_DELAY_S))))


class Pairs:
    """Does runs on a plane with two front doors.

    Attributes:
        counts: how many runs there were of each pair, sorted.
    """

    def __init__(self, plane: Plane, doors: tuple[JobCalls, JobCalls]) -> None:
        self._plane = plane
        self._doors = doors
        self._submitted: set[str] = set()
        self.counts: Counter[tuple[Verb, ...]] = Counter()

    def do(self, run: Run) -> list[str]:
        """Does a run; returns what is wrong after it."""
        (self._plane.journal.parent / "go").unlink(missing_ok=True)
        name = os.urandom(6).hex()
        job = self._job_at(run, name)
        answers = self._at_the_same_moment(run, job, name)
        self._plane.release()
        self.counts[tuple(sorted((run.first, run.second)))] += 1
        found = [f"{verb}: {answer}" for verb, answer in answers if isinstance(answer, str)]
        if not found and not _is_explained(run, [bool(answer) for _, answer in answers]):
            found.append(f"no order of the two explains the answers {answers}")
        for job_id in {job.id, *self._submitted}:
            found += self._problems(job_id)
        self._submitted.clear()
        return found

    def _job_at(self, run: Run, name: str) -> pb.Job:
        jobs = self._doors[0]
        job = jobs.submit(MODEL, self._items(run), request_id=name, open=run.stage in ("open", "broken"))
        at_rest = run.items - (run.stage in ("sealed", "stopped"))
        if run.stage in ("open", "sealed", "stopped"):
            # The one that is held keeps those of its batch.
            wait_for(lambda: jobs.get(job.id).progress.succeeded >= at_rest // 2, 120, "half of the items")
        if run.stage in ("stopped", "broken"):
            jobs.cancel(job.id)
        if run.stage in ("succeeded", "stopped", "broken"):
            jobs.wait(job.id)
        return job

    def _items(self, run: Run) -> list[pb.NewItem]:
        held = run.items - 1 if run.stage in ("sealed", "stopped") else None
        return [journal_item(number, HELD if number == held else 0.0) for number in range(run.items)]

    def _at_the_same_moment(self, run: Run, job: pb.Job, name: str) -> list[tuple[Verb, bool | str]]:
        """What the verbs answered: whether they were done, or what went wrong."""
        answers: dict[int, bool | str] = {}
        barrier = threading.Barrier(2)

        def call(place: int, verb: Verb) -> None:
            act = self._act(verb, run, job, name, self._doors[place])
            barrier.wait()
            time.sleep(place * run.delay_s)
            try:
                act()
                answers[place] = True
            except grpc.RpcError as error:
                # Two that add, or replace, at the same time are in each other's way.
                expected = error.code() in _REFUSED or error.code() is grpc.StatusCode.ABORTED
                answers[place] = False if expected else f"{error.code()}: {error.details()}"

        verbs = (run.first, run.second)
        threads = [threading.Thread(target=call, args=each) for each in enumerate(verbs)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return [(verb, answers.get(place, "it died")) for place, verb in enumerate(verbs)]

    def _act(self, verb: Verb, run: Run, job: pb.Job, name: str, jobs: JobCalls) -> Callable[[], Any]:
        redis = self._plane.redis
        key: Any = keys.job(job.id)
        now = round(time.time() * MICROSECONDS)

        def set_if_there(field: str) -> None:
            there = "if redis.call('EXISTS', KEYS[1]) == 1 then redis.call('HSET', KEYS[1], ARGV[1], ARGV[2]) end"
            redis.eval(there, 1, key, field, now)  # in one step: the other verb may take the job away

        def pass_deadline() -> None:
            set_if_there("deadline")
            redis.delete(keys.jobs_looked_at(MODEL))
            scripts.run(redis, "expire", MODEL, 0)

        def expire() -> None:
            set_if_there("expires")
            scripts.run(redis, "delete", job.id, "expire", 1)

        items, is_open = self._items(run), run.stage in ("open", "broken")
        acts: dict[Verb, Callable[[], Any]] = {
            # Another job when the first has been deleted.
            "submit": lambda: self._submitted.add(jobs.submit(MODEL, items, request_id=name, open=is_open).id),
            "add": lambda: jobs.add(job.id, [journal_item(10**6 + random.getrandbits(30))]),
            "seal": lambda: jobs.add(job.id, seal=True),
            "cancel": lambda: jobs.cancel(job.id),
            "deadline": pass_deadline,
            "storage": lambda: scripts.run(redis, "stop", job.id, "failed", "cannot write: no space"),
            "last item": self._plane.release,
            "resume": lambda: jobs.resume(job.id),
            "replace": lambda: jobs.replace(job.id, [items[-1]]),
            "delete": lambda: jobs.delete(job.id),
            "expire": expire,
        }
        return acts[verb]

    def _problems(self, job_id: str) -> list[str]:
        jobs = self._doors[1]

        def now() -> pb.Job | None:
            try:
                return jobs.get(job_id)
            except grpc.RpcError as error:
                if error.code() is grpc.StatusCode.NOT_FOUND:
                    return None
                raise

        def rests() -> bool:
            seen = now()
            if seen is not None and not seen.sealed and seen.state in (pb.JOB_STATE_PENDING, pb.JOB_STATE_RUNNING):
                jobs.cancel(job_id)
            return seen is None or (seen.finished_unix_us > 0 and seen.state != pb.JOB_STATE_DELETING)

        try:
            wait_for(rests, 60, "the end of the job")
        except AssertionError as error:
            return [f"{error}: {now()}"]
        over = now()
        if over is None:
            return list(self._left_of(job_id))
        found = list(self._disagreements(over))
        jobs.delete(job_id)
        return found

    def _left_of(self, job_id: str) -> Iterator[str]:
        """What is left of a job that is gone."""
        redis = self._plane.redis
        left = list(redis.scan_iter(f"{keys.job(job_id)}*"))
        if left:
            yield f"keys of a job that is gone: {left}"
        for index in (keys.JOBS, keys.EXPIRING_JOBS, keys.FINISHING_JOBS, keys.DELETING_JOBS, keys.active_jobs(MODEL)):
            if redis.zscore(index, job_id) is not None:
                yield f"a job that is gone is in {index}"
        folder = Path(self._plane.stack.settings.artifacts) / job_id
        if folder.exists():
            yield f"{len(os.listdir(folder))} files of a job that is gone"

    def _disagreements(self, job: pb.Job) -> Iterator[str]:
        """Where counts, items, files, manifest and state of a job do not agree that is over."""
        progress, items = job.progress, self._doors[0].items(job.id, page_size=5000)
        counted = Counter(pb.ItemState.Name(item.state).removeprefix("ITEM_STATE_").lower() for item in items)
        told = {state: getattr(progress, state) for state in ItemState}
        if +Counter(told) != counted or progress.items != len(items):
            yield f"counts {told} of {progress.items}, items {dict(counted)}"
        is_done = job.sealed and progress.succeeded == progress.items
        if is_done != (job.state == pb.JOB_STATE_SUCCEEDED):
            yield f"{pb.JobState.Name(job.state)} with {progress.succeeded} of {progress.items}, sealed: {job.sealed}"
        rows = manifest(job)
        if [(row["id"], row["state"]) for row in rows] != [(item.id, _name(item)) for item in items]:
            yield "the manifest has other items or states"
        hashes = {row["file"]: row["sha256"] for row in rows if row["state"] == "succeeded"}
        folder = Path(job.output_url)
        files = {path.name for path in folder.iterdir()} - {"manifest.jsonl", "summary.json"}
        if files != hashes.keys():
            more, missing = sorted(files - hashes.keys()), sorted(hashes.keys() - files)
            yield f"files without an item: {more[:3]}, missing: {missing[:3]}"
        elif any(hashlib.sha256((folder / name).read_bytes()).hexdigest() != hashes[name] for name in files):
            yield "a file has another hash than the manifest"
        state = pb.JobState.Name(job.state).removeprefix("JOB_STATE_").lower()
        if json.loads((folder / "summary.json").read_text())["state"] != state:
            yield "the summary has another state"


def _name(item: pb.Item) -> str:
    return pb.ItemState.Name(item.state).removeprefix("ITEM_STATE_").lower()


def _is_explained(run: Run, done: list[bool]) -> bool:
    """Whether the table allows these answers, one verb behind the other in either order."""
    if run.first == run.second and run.first in ("add", "replace"):
        return True
    answered = list(zip((run.first, run.second), done, strict=True))
    if dict(answered) == {"submit": False, "replace": True}:
        return True  # the job was submitted with other items than it has by then
    return any(_after(run.stage, order) for order in (answered, answered[::-1]))


def _after(stage: Stage, answered: list[tuple[Verb, bool]]) -> set[Stage]:
    stages = _drifted({stage})
    for verb, done in answered:
        moves = MOVES[verb]
        if done and verb not in _DRIFT:
            stages = {to for at in stages if at in moves for to in _targets(moves[at], at)}
        elif not done:
            stages = {at for at in stages if at not in moves}
        stages = _drifted(stages)
    return stages


def _drifted(stages: set[Stage]) -> set[Stage]:
    while True:
        further = {to for verb in _DRIFT for at in stages if at in MOVES[verb] for to in _targets(MOVES[verb][at], at)}
        if further <= stages:
            return stages
        stages = stages | further


def _targets(text: str, at: Stage) -> list[Stage]:
    return [at] if text == STAYS else [stage for stage in STAGES if re.search(rf"\b{stage}\b", text)]


@contextmanager
def pairs(folder: Path) -> Iterator[Pairs]:
    """Runs on a stack of its own."""
    with serving_plane(folder, batching={"max_batch": 4}) as plane:
        second = replace(plane.stack.settings, listen=f"127.0.0.1:{free_port()}", http_listen="", metrics_listen="")
        with (folder / "second-front-door.log").open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "kernelport_api"],
                env={**os.environ, **second.to_environment()},
                stdout=log,
                stderr=log,
            )
        try:
            with grpc.insecure_channel(plane.stack.target) as one, grpc.insecure_channel(second.listen) as other:
                grpc.channel_ready_future(other).result(60)
                doors = tuple(JobCalls(job_pb2_grpc.JobServiceStub(channel)) for channel in (one, other))
                yield Pairs(plane, (doors[0], doors[1]))
        finally:
            process.kill()
            process.wait()


def table(counts: Counter[tuple[Verb, ...]]) -> str:
    """The pairs with the number of their runs, as docs/jobs.md has it."""
    lines = [f"| | {' | '.join(PAIRED)} |", "|---" * (len(PAIRED) + 1) + "|"]
    for row, first in enumerate(PAIRED):
        cells = [str(counts[tuple(sorted((first, each)))]) if place >= row else "" for place, each in enumerate(PAIRED)]
        lines.append(f"| {first} | {' | '.join(cells)} |")
    return "\n".join(lines)


@click.command(help="Does two verbs on one job at the same moment, again and again, and looks whether all agrees.")
@click.option("--runs", "count", default=605, show_default=True, type=click.IntRange(1))
@click.option("--seed", default=1, show_default=True)
def main(count: int, seed: int) -> None:
    """The command."""
    failures = 0
    with tempfile.TemporaryDirectory(prefix="kernelport-pairs-") as folder, pairs(Path(folder)) as done:
        for number, run in enumerate(runs(count, seed), 1):
            for problem in done.do(run):
                failures += 1
                click.echo(f"{run}: {problem}")
            if number % 50 == 0:
                click.echo(f"{number} of {count} runs, {failures} problems", err=True)
    click.echo(table(done.counts))
    click.echo(f"{count} runs, {failures} problems")
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()
