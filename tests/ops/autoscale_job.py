"""`python -m tests.ops.autoscale_job`: a bulk job on machines that fail in every way, then every item is accounted for.

Redis, the front door, the autoscaler and the workers are real processes; the machines come from the fake cloud, whose
time passes `SCALE` times as fast. Callers ask all the while. The first launches fail as planned, the others at random;
machines at work are taken away without a warning, and the autoscaler is killed and started again, the first time right
after a launch has left.
"""

import itertools
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import click
import numpy as np
import yaml
from redis import Redis

from kernelport import Client, tensors
from kernelport.broker.registry import read_workers
from kernelport.supervisor.stack import Stack
from kernelport.v1 import job_pb2 as pb
from kernelport_ops.bench.jobs.calls import calls_to
from kernelport_ops.bench.jobs.speech import problems_of
from kernelport_ops.bench.terminal import new_console, progress_bar
from tests.conftest import START_TIMEOUT_S, stack_settings
from tests.ops.autoscaler_process import Autoscaler
from tests.ops.fake_lambda.clocks import ScaledClock
from tests.ops.fake_lambda.cloud import FakeCloud, FakeInstance, Unanswered
from tests.ops.fake_lambda.faults import EVERY, Fate
from tests.ops.fake_lambda.processes import Processes
from tests.ops.fake_lambda.server import serve
from tests.stack.models import pipeline

SCALE = 20.0
ITEM_S = 0.03
CALLS, CALLERS, FIRST_CALL = 100, 2, 1_000_000
MOST = 6
PER_HOUR, PER_DAY = 4.0, 12.0
TIMEOUT_S = 900.0
# The cloud's seconds without a machine after which it is believed that none comes any more.
QUIET_S = 300.0
SLOW_S = 200.0

GOOD = Fate(refused=False, unanswered=False, ip=True, active_s=60.0, ready_s=75.0, unhealthy_s=None, preempted_s=None)
PLANNED = (
    replace(GOOD, refused=True),
    GOOD,  # the autoscaler dies as this launch leaves
    replace(GOOD, unanswered=True),
    replace(GOOD, ready_s=None),
    replace(GOOD, active_s=500.0, ready_s=515.0),
    replace(GOOD, ip=False),
)
FAULTS = replace(EVERY, boot_s=60.0, boot_most_s=500.0, late_s=20.0, outages=0.005, limited=0.02)


@dataclass
class Cloud(FakeCloud):
    """A cloud whose first launch is the autoscaler's last deed."""

    kill: Callable[[], Any] = lambda: None
    killed: bool = False

    def call(self, method: str, path: str, body: Any, key: str) -> Any:
        answer = super().call(method, path, body, key)
        if self.launches and not self.killed:
            self.killed = True
            self.kill()
            raise Unanswered
        return answer


class Run:
    """One job, and all that happens to it.

    Args:
        tell: told how many items are done, and what happens.
    """

    def __init__(self, stack: Stack, redis: Redis, folder: Path, seed: int, tell: Callable[[int, str], None]) -> None:
        self._stack, self._redis, self._tell = stack, redis, tell
        clock = ScaledClock(SCALE)
        variables = {**stack.settings.to_environment(), "KERNELPORT_TEST_JOURNAL": str(folder / "journal")}
        variables.pop("KERNELPORT_REDIS_URL")  # a machine has it from its user data
        self.machines = Processes(folder / "machines", variables)
        self.autoscaler = Autoscaler(stack.settings, clock, folder / "autoscaler.log")
        self.cloud = Cloud(clock.time, self.machines, FAULTS, seed, planned=PLANNED, kill=self.autoscaler.kill)
        self.job = pb.Job()
        self.items: list[pb.Item] = []
        self.answers: list[int] = []
        self.seconds = 0.0

    def work(self, count: int) -> None:
        """Submits a job of `count` items, has it done, and waits until every machine is gone.

        Raises:
            TimeoutError: when that does not come about.
        """
        with (
            calls_to(self._stack.target) as calls,
            ThreadPoolExecutor(CALLERS) as pool,
            serve(self.cloud) as self.autoscaler.url,
        ):
            started = time.monotonic()
            self.job = calls.submit("journal", map(_item, range(count)))
            asked = [pool.submit(self._ask, FIRST_CALL + number) for number in range(CALLS)]

            def until(condition: Callable[[], bool], what: str) -> None:
                deadline = time.monotonic() + TIMEOUT_S
                while not condition():
                    if time.monotonic() > deadline:
                        raise TimeoutError(f"{what}: not within {TIMEOUT_S:g} s; {self.autoscaler.told()}")
                    time.sleep(0.1)
                    self.cloud.advance()
                    self.autoscaler.keep(self._redis)
                    self.job = calls.get(self.job.id)
                    self._tell(self._done, "")

            for share, what, happens in self._events():
                until(lambda share=share: self._done >= share * count, f"{share:.0%} of the items")  # type: ignore[misc]
                until(happens, what)
                self._tell(self._done, what)
            until(lambda: self.job.finished_unix_us > 0, "the end of the job")
            until(lambda: all(each.done() for each in asked), "an answer to every call")
            self.seconds = time.monotonic() - started
            self._tell(self._done, "no work is left")
            until(self._is_quiet, "the end of every machine")
            self.items = calls.items(self.job.id)
            self.answers = [each.result() for each in asked]

    def broken(self, count: int) -> list[str]:
        """The promises that were not kept."""
        found = problems_of(self.job, count)
        for number in range(count):
            file = Path(self.job.output_url) / f"item-{number:05}.npz"
            if not file.exists() or np.load(file)["number"][0] != number:
                found.append(f"item {number} has another's result, or none")
        if self.answers != [FIRST_CALL + number for number in range(CALLS)]:
            found.append("a call was answered wrongly")
        launches = self.cloud.launches
        found += [f"{name} was launched {times} times" for name, times in Counter(launches).items() if times > 1]
        found += [f"machine left: {each.name}" for each in self.cloud.instances.values() if each.billed]
        found += [f"process left: {name}" for name in self.machines.running]
        found += [f"worker left: {record.worker.id}" for record in read_workers(self._redis)]
        if self.most_at_once > PER_HOUR + 1e-9 or self.cost > PER_DAY:
            found.append("the budget was exceeded")
        return found

    @property
    def cost(self) -> float:
        """Dollars that all machines cost; the run is shorter than a day."""
        return self.cloud.cost(0, self.cloud.time())

    @property
    def most_at_once(self) -> float:
        """Dollars an hour of the machines that were paid for together, at the dearest moment."""
        changes = [(each.launched_at, each.price) for each in self.cloud.instances.values()]
        changes += [(each.ended_at or float("inf"), -each.price) for each in self.cloud.instances.values()]
        return max(itertools.accumulate(price for _, price in sorted(changes)), default=0.0)

    @property
    def _done(self) -> int:
        return self.job.progress.succeeded

    def _events(self) -> Iterator[tuple[float, str, Callable[[], bool]]]:
        """What happens when a share of the items is done, until it has."""
        for share in (0.15, 0.5):
            yield share, "the autoscaler is killed", self.autoscaler.kill
            yield share + 0.1, "a machine at work is preempted", lambda: self.cloud.fail("preempted")
            yield share + 0.2, "a machine at work becomes unhealthy", lambda: self.cloud.fail("unhealthy")
            yield share + 0.3, "a machine at work is preempted", lambda: self.cloud.fail("preempted")

    def _is_quiet(self) -> bool:
        ends = [each.ended_at for each in self.cloud.instances.values()]
        return None not in ends and self.cloud.time() - max(end for end in ends if end is not None) > QUIET_S

    def _ask(self, number: int) -> int:
        with Client(self._stack.target, timeout_s=TIMEOUT_S) as client:
            inputs = {"number": np.array([number], np.int64), "seconds": np.array([ITEM_S], np.float32)}
            return int(client.infer("journal", inputs)["number"][0])


@contextmanager
def _running(folder: Path) -> Iterator[Stack]:
    """Redis and a front door, and nobody who serves."""
    scaling = {"max": MOST, "idle_s": 60.0, "cool_down_s": 5.0, "job_wait_s": 300.0}
    policy = {"on_no_worker": "wait", "batching": {"max_batch": 8}, "timeouts": {"request_s": TIMEOUT_S}}
    cloud = {"ssh_key": "key", "registry": "ghcr.io/owner", "instance_types": ["gpu_1x_a10"], "boot_limit_s": 600}
    document = {
        "deployments": {"journal": pipeline("Journal", **policy, scaling=scaling)},
        "autoscale": {
            "provider": "lambda",
            "budget": {"per_hour": PER_HOUR, "per_day": PER_DAY},
            "lambda_cloud": cloud,
        },
    }
    file = folder / "deployments.yaml"
    file.write_text(yaml.safe_dump(document))
    settings = replace(stack_settings(file), lease_s=3.0, heartbeat_ttl_s=2.0)
    with Stack(settings, [], folder / "state") as stack:
        stack.wait_ready(START_TIMEOUT_S)
        yield stack


def _item(number: int) -> pb.NewItem:
    inputs = {"number": np.array([number], np.int64), "seconds": np.array([ITEM_S], np.float32)}
    return pb.NewItem(id=f"item-{number:05}", inputs=tensors.from_arrays(inputs))


def _fates(machine: FakeInstance) -> Iterator[str]:
    """What became of a machine, in words."""
    fate = machine.fate
    life_s = (machine.terminated_at or float("inf")) - machine.launched_at
    words = {
        "without an answer to the launch": fate.unanswered,
        "never ready (CUDA broken)": fate.ready_s is None,
        "without an address": not fate.ip,
        "slow to boot": fate.active_s > SLOW_S,
        "unhealthy": fate.unhealthy_s is not None and fate.unhealthy_s < life_s,
        "preempted": fate.preempted_s is not None and fate.preempted_s < life_s,
    }
    return (word for word, so in words.items() if so)


@click.command(help="A bulk job on machines that fail in every way; then every item is accounted for.")
@click.option("--items", "count", default=5_000, show_default=True, type=click.IntRange(100))
@click.option("--seed", default=0, show_default=True, help="Of what becomes of the machines after the planned ones.")
def main(count: int, seed: int) -> None:
    """The command."""
    console = new_console()
    with (
        tempfile.TemporaryDirectory() as name,
        _running(Path(name)) as stack,
        Redis.from_url(stack.settings.redis_url) as redis,
        progress_bar(console) as progress,
    ):
        task = progress.add_task("items", total=count)

        def tell(done: int, event: str) -> None:
            progress.update(task, completed=done)
            if event:
                console.print(f"{done} of {count} done: {event}")

        run = Run(stack, redis, Path(name), seed, tell)
        try:
            run.work(count)
        finally:
            run.autoscaler.kill()
        broken = run.broken(count)
    cloud = run.cloud
    fates = Counter(word for each in cloud.instances.values() for word in _fates(each))
    again = sum(item.attempts > 1 for item in run.items)
    console.print(
        f"{count} items and {CALLS} calls in {run.seconds:.0f} s, {again} items again after their machine had gone\n"
        f"{len(cloud.launches)} launches: {', '.join(f'{times} {word}' for word, times in fates.items())}\n"
        f"beside them {cloud.refused} without capacity; {cloud.limited + cloud.throttled} calls met 429,"
        f" {cloud.throttled} of them came too soon; {run.autoscaler.kills - 1} autoscalers were killed\n"
        f"at most ${run.most_at_once:.2f}/h of ${PER_HOUR:.2f}/h, ${run.cost:.2f} of ${PER_DAY:.2f} a day"
    )
    console.print("\n".join(broken) if broken else "every item once, every hash and every result right, nothing left")
    sys.exit(1 if broken else 0)


if __name__ == "__main__":
    main()
