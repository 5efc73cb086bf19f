"""`python -m kernelport_ops.chaos.week`: a week of small jobs, voices, dead workers and restarts of Redis, in an hour.

What is kept for a time is kept for a share of the run, so that as much goes as comes. Then nothing may grow over the
last three quarters: neither a process nor what Redis holds.
"""

import itertools
import logging
import os
import shutil
import signal
import statistics
import sys
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import click
import grpc
import numpy as np
from redis.exceptions import RedisError
from rich.table import Table

from kernelport import tensors
from kernelport.audio import encode_audio
from kernelport.broker import keys
from kernelport.client import Client
from kernelport.errors import KernelPortError, translated
from kernelport.v1 import job_pb2, job_pb2_grpc
from kernelport_ops.bench.terminal import new_console
from kernelport_ops.chaos.callers import inputs
from kernelport_ops.chaos.fault_injector import BUSY_CALLERS
from kernelport_ops.chaos.memory import INTERVAL_S, Sampler
from kernelport_ops.chaos.report import MIB, write_json
from kernelport_ops.chaos.system import CLAIM_BYTES, DEPLOYMENT, REDIS, ChaosError, System

log = logging.getLogger(__name__)

WORKERS, LEASE_S, CALLERS = 2, 5.0, 2
# Shares of the run: for how long jobs and what was left are kept, and results of requests with an id.
KEPT, RESULTS_KEPT = 1 / 30, 1 / 100
WORKER_DEATHS, REDIS_RESTARTS = 28, 7
# Several threads submit, since Redis takes up to a second to acknowledge a job.
SUBMITTERS, JOBS_A_SECOND = 4, 2.0
# Of so many jobs one is left open, one is cancelled, and beside one a voice comes and an earlier one goes.
OPEN_EVERY, CANCELLED_EVERY, VOICE_EVERY = 10, 7, 11
ITEMS, TIMEOUT_S = 3, 30.0
# Of these there are as many as there were calls in the last seconds: how busy the machine is decides.
KEYS_OF_CALLS = tuple(key("").encode() for key in (keys.attempts, keys.done, keys.result))
# Flat: the median of the last quarter is above that of the second by less than this share.
TARGET = 0.05
# What callers may be told while Redis is restarted, or a worker's death keeps others waiting.
EXPECTED = {"UNAVAILABLE", "DEADLINE_EXCEEDED"}

# Unix seconds and a value each, by what was read.
Readings = Mapping[str, Sequence[tuple[float, float]]]


class Submitters:
    """Threads that submit small jobs, from `start` until `stop`.

    Attributes:
        told: how many calls ended in which way.
    """

    def __init__(self, target: str) -> None:
        self.told: Counter[str] = Counter()
        self._target = target
        self._stopped = threading.Event()
        self._threads = [threading.Thread(target=self._run, args=(index,)) for index in range(SUBMITTERS)]

    def start(self) -> None:
        """Submits from now on."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Submits no more."""
        self._stopped.set()
        for thread in self._threads:
            thread.join()

    def _run(self, index: int) -> None:
        with grpc.insecure_channel(self._target) as channel, Client(self._target, timeout_s=TIMEOUT_S) as client:
            started = time.monotonic()
            for number in itertools.count(index, SUBMITTERS):
                if self._stopped.wait(max(0.0, started + number / JOBS_A_SECOND - time.monotonic())):
                    return
                try:
                    with translated():
                        _one_job(job_pb2_grpc.JobServiceStub(channel), number)
                    if number % VOICE_EVERY == 0:
                        _one_voice(client, index, number)
                    self.told["OK"] += 1
                except KernelPortError as error:
                    self.told[error.code.name] += 1
                    if error.code.name not in EXPECTED:
                        log.error("%s: %s", error.code.name, error)


def _one_job(stub: Any, number: int) -> None:
    items = [job_pb2.NewItem(id=str(each), inputs=tensors.from_arrays(inputs(each))) for each in range(ITEMS)]
    spec = job_pb2.JobSpec(deployment=DEPLOYMENT, delete_outputs=True)
    request = job_pb2.SubmitJobRequest(spec=spec, items=items, open=number % OPEN_EVERY == 0)
    job = stub.SubmitJob(request, timeout=TIMEOUT_S).job
    if number % CANCELLED_EVERY == 0:
        stub.CancelJob(job_pb2.CancelJobRequest(job_id=job.id), timeout=TIMEOUT_S)


def _one_voice(client: Client, index: int, number: int) -> None:
    second = np.sin(np.arange(24_000) * (0.05 + number % 100 / 1000)).astype(np.float32) / 2
    for voice in client.voices():
        if voice.name.startswith(f"voice-{index}-"):
            client.delete_voice(voice.name)
    recording = encode_audio(second, 24_000, ".wav")
    client.add_voice(f"voice-{index}-{number}", recording, consent="made up", owner="nobody")


def live(folder: Path, seconds: float) -> tuple[Readings, Counter[str]]:
    """Has a system live through its week in `seconds` seconds.

    Returns:
        what was read every second, and what submitters were told.
    """
    kept = {"job_retention_s": max(1.0, KEPT * seconds), "abandoned_s": max(1.0, KEPT * seconds)}
    settings = {**kept, "result_ttl_s": max(1.0, RESULTS_KEPT * seconds), "artifacts": str(folder / "artifacts")}
    readings: defaultdict[str, list[tuple[float, float]]] = defaultdict(list)
    with System(folder.absolute(), WORKERS, LEASE_S, **settings) as system:
        options = {"index": 0, "seed": 0, "width": CALLERS, "large_bytes": 4 * CLAIM_BYTES}
        system.start_callers(BUSY_CALLERS, DEPLOYMENT, **options)
        sampler, submitters = Sampler(lambda: system.served), Submitters(system.stack.target)
        with _at_work(sampler, submitters):
            victims = sorted(_victims(system.workers[0], seconds))
            started = time.monotonic()
            while (now := time.monotonic() - started) < seconds:
                if victims and victims[0][0] <= now:
                    _, name, number = victims.pop(0)
                    pid = system.served[name].pid
                    if pid is not None:
                        os.kill(pid, number)
                for name, value in _kept(system):
                    readings[name].append((time.time(), value))
                time.sleep(INTERVAL_S)
        system.stop_callers()
    for (name, _), samples in sampler.samples.items():
        readings[f"{name}, MiB"] += [(at, rss / MIB) for at, rss in zip(samples.at, samples.rss, strict=True)]
    return readings, submitters.told


@contextmanager
def _at_work(*threads: Sampler | Submitters) -> Iterator[None]:
    for each in threads:
        each.start()
    try:
        yield
    finally:
        for each in threads:
            each.stop()


def _victims(worker: str, seconds: float) -> Iterator[tuple[float, str, int]]:
    """When what dies, and by which signal. Of the other workers none does: they would start small again."""
    for number in range(WORKER_DEATHS):
        yield (number + 0.5) * seconds / WORKER_DEATHS, worker, signal.SIGKILL
    for number in range(REDIS_RESTARTS):
        yield (number + 0.5) * seconds / REDIS_RESTARTS, REDIS, signal.SIGTERM


def _kept(system: System) -> list[tuple[str, float]]:
    """What Redis holds; nothing while it is away."""
    redis: Any = system.redis
    with suppress(RedisError):
        lasting = sum(not key.startswith(KEYS_OF_CALLS) for key in redis.scan_iter(count=10_000))
        return [("in Redis, MiB", redis.info("memory")["used_memory"] / MIB), ("keys in Redis", lasting)]
    return []


def quarters(readings: Sequence[tuple[float, float]], started: float, ended: float) -> list[float]:
    """The median of each quarter of the run; NaN where nothing was read."""
    length = (ended - started) / 4
    parts: list[list[float]] = [[], [], [], []]
    for at, value in readings:
        parts[min(3, max(0, int((at - started) / length)))].append(value)
    return [statistics.median(part) if part else float("nan") for part in parts]


@click.command(help="A week of small jobs, voices, dead workers and restarts of Redis, in an hour: does anything grow?")
@click.option("--minutes", default=60.0, show_default=True, type=click.FloatRange(1.0))
@click.option("--out", default=Path("out/chaos"), show_default=True, type=click.Path(path_type=Path))
def main(minutes: float, out: Path) -> None:
    """The command."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    console = new_console()
    shutil.rmtree(out / "week", ignore_errors=True)
    started = time.time()
    try:
        readings, told = live(out / "week", 60 * minutes)
    except ChaosError as error:
        console.print(str(error), style="red", markup=False)
        sys.exit(1)
    table = Table("", "1st quarter", "2nd", "3rd", "4th", "grown since the 2nd")
    grown = []
    for name, found in sorted(readings.items()):
        medians = quarters(found, started, time.time())
        growth = medians[3] / medians[1] - 1
        grown += [name] if not growth < TARGET else []
        table.add_row(name, *(f"{median:,.1f}" for median in medians), f"{100 * growth:+.1f} %")
    console.print(table)
    console.print(f"jobs and voices: {dict(told)}")
    write_json(out / "week.json", {"minutes": minutes, "told": told, "readings": readings})
    for name in grown:
        console.print(f"[red]{name} grew by {100 * TARGET:g} % or more[/]")
    sys.exit(1 if grown or told.keys() - EXPECTED - {"OK"} else 0)


if __name__ == "__main__":
    main()
