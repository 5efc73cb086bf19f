"""`python -m tests.ops.autoscale_chaos`: randomised runs of the autoscaler on a cloud that lies, in virtual time.

The controller, its ledger and lock, the provider, the client with its pacer and its HTTP, and Redis are the real ones.
Time, the cloud and the workers are not. In each run instances fail in every way, the autoscaler dies at random moments
(right after a launch has left, among others) and is started again, and some budgets are too small for the work.
"""

import random
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import click
from redis import Redis
from redis.exceptions import RedisError

from kernelport.broker import keys
from kernelport.config.deployments import Deployment
from kernelport.config.scaling import Autoscale, Budget, LambdaCloud, Scaling
from kernelport.supervisor.ports import free_port
from kernelport.supervisor.processes import Child
from kernelport.supervisor.redis_server import find_redis_server, redis_command
from kernelport_ops.autoscale.controller import Controller
from kernelport_ops.autoscale.demand import DemandReader
from kernelport_ops.autoscale.lock import TTL_S, FencedError, Lock
from kernelport_ops.autoscale.providers.lambda_cloud.client import Client
from kernelport_ops.autoscale.providers.lambda_cloud.pacer import Pacer
from kernelport_ops.autoscale.providers.lambda_cloud.provider import LambdaProvider
from kernelport_ops.autoscale.providers.lambda_cloud.secrets import LambdaSecrets
from kernelport_ops.autoscale.providers.provider import Order, ProviderError
from tests.ops.autoscale_world import DEPLOYMENT, World, arrivals
from tests.ops.fake_lambda.clocks import VirtualClock
from tests.ops.fake_lambda.cloud import KEY, FakeCloud
from tests.ops.fake_lambda.faults import EVERY, Faults
from tests.ops.fake_lambda.server import serve
from tests.waiting import wait_for

STEP_S = 10
ITEMS = 5_000
DAY_S = 86_400.0


class Crash(Exception):
    """The autoscaler's process dies."""


@dataclass
class Report:
    """What a run came to.

    Attributes:
        broken: the promises that were not kept.
    """

    seed: int
    items: int = 0
    answered: int = 0
    launches: int = 0
    crashes: int = 0
    cost: float = 0.0
    hours: float = 0.0
    starved: bool = False
    broken: list[str] = field(default_factory=list)


class CrashingProvider(LambdaProvider):
    """Dies now and then in the middle of a launch: before it leaves, or after."""

    dice = random.Random(0)
    share = 0.0

    def launch(self, order: Order, may_act: Callable[[], None]) -> None:
        moment = self.dice.random()
        if moment < self.share / 2:
            raise Crash
        super().launch(order, may_act)
        if moment < self.share:
            raise Crash


def run_one(seed: int, redis: Redis, faults: Faults = EVERY, hours: float = 3.0) -> Report:
    """One run; the Redis is emptied first."""
    redis.flushall()
    dice = random.Random(seed)
    clock = VirtualClock()
    start = clock.now
    world = World(redis, rate=dice.choice([0.5, 1.0, 2.0]), now=clock.now)
    cloud = FakeCloud(clock.time, world, faults, seed)
    most = dice.choice([2, 4, 6])
    day = dice.choice([2.0, 8.0, 40.0])
    budget = Budget(per_hour=dice.choice([1.3, 4.0, 12.0]), per_day=day)
    report = Report(seed)
    setup = _Setup(redis, clock, most, budget)
    counts = arrivals(dice, round(hours * 1800), STEP_S, ITEMS)
    with serve(cloud) as url:
        controller = setup.controller(url, dice)
        crashed_at: float | None = None
        quiet_since: float | None = None
        while True:
            if crashed_at is not None and clock.now - crashed_at > TTL_S:
                redis.delete(keys.autoscale_lock("main"))  # Redis does so by itself, in real time
                controller, crashed_at = setup.controller(url, dice), None
            cloud.advance()
            world.pass_to(clock.now)
            if counts:
                world.arrive(counts.pop(0))
            _check(report, cloud, world, budget, most, clock.now)
            if crashed_at is None:
                try:
                    controller.run_once()
                    if dice.random() < 0.004:
                        raise Crash
                except Crash:
                    report.crashes += 1
                    crashed_at = clock.now
                except (ProviderError, FencedError):
                    pass
            _check(report, cloud, world, budget, most, clock.now)
            clock.sleep(STEP_S)
            over = not counts and (world.done or _starved(cloud, budget, clock.now))
            quiet = over and cloud.rate() == 0
            quiet_since = (quiet_since or clock.now) if quiet else None
            if (quiet_since and clock.now - quiet_since > 400) or clock.now - start > hours * 3600 * 4:
                break
    report.items, report.answered, report.launches = world.accepted, len(world.answers), len(cloud.launches)
    report.cost, report.hours = cloud.cost(0, clock.now), (clock.now - start) / 3600
    report.starved = not world.done
    if cloud.rate():
        report.broken.append(f"left behind: {[i.name for i in cloud.instances.values() if i.billed]}")
    if not world.done and not _starved(cloud, budget, clock.now):
        report.broken.append(f"{world.accepted - len(world.answers)} items unanswered with money left")
    if len(set(cloud.launches)) != len(cloud.launches):
        report.broken.append("a name was launched twice")
    if cloud.throttled > report.crashes:  # a pacer that was made anew knows nothing of the last one's calls
        report.broken.append(f"{cloud.throttled} calls came too soon")
    lasting = [key for key in redis.scan_iter("kp:*") if redis.ttl(key) == -1]
    if lasting:
        report.broken.append(f"keys without an end: {lasting}")
    return report


@dataclass
class _Setup:
    redis: Redis
    clock: VirtualClock
    most: int
    budget: Budget

    def controller(self, url: str, dice: random.Random) -> Controller:
        """An autoscaler's process, as it starts: nothing is known but what Redis and the cloud know."""
        scaling = Scaling(max=self.most, idle_s=60, target_wait_s=60)
        deployments = {
            DEPLOYMENT: Deployment(
                name=DEPLOYMENT,
                backend="helion",
                image="kernelport-helion:gpu",
                pipeline="a.b:C",
                on_no_worker="wait",
                scaling=scaling,
            )
        }
        cloud = LambdaCloud(ssh_key="key", registry="ghcr.io/owner")
        client = Client(KEY, url, Pacer(self.clock), timeout_s=20)
        secrets = LambdaSecrets(redis_url="rediss://:password@redis.example:6379/0")
        provider = CrashingProvider(
            client, cloud, "main", deployments, self.redis, secrets, monotonic=self.clock.monotonic
        )
        provider.dice, provider.share = dice, 0.05
        return Controller(
            self.redis,
            deployments,
            Autoscale(provider="lambda", budget=self.budget, lambda_cloud=cloud),
            provider,
            DemandReader(self.redis),
            Lock(self.redis, "main"),
            stop_s=30.0,
            now=self.clock.time,
        )


def _check(report: Report, cloud: FakeCloud, world: World, budget: Budget, most: int, now: float) -> None:
    """What must hold at every moment."""
    found = []
    if cloud.rate() > budget.per_hour + 1e-9:
        found.append(f"${cloud.rate():.2f}/h over the budget of ${budget.per_hour:.2f}/h")
    spent = cloud.cost(now - DAY_S, now)
    if spent > budget.per_day + 1e-9:
        found.append(f"${spent:.3f} over the budget of ${budget.per_day:.2f} a day")
    working = sum(
        each.billed and each.terminated_at is None and each.status in ("booting", "active")
        for each in cloud.instances.values()
    )
    if working > most:
        found.append(f"{working} machines, of at most {most}")
    if world.lost:
        found.append(f"{world.lost} items lost")
    if any(count > 1 for count in world.answers.values()):
        found.append("an item was answered twice")
    report.broken += [each for each in found if each not in report.broken]


def _starved(cloud: FakeCloud, budget: Budget, now: float) -> bool:
    """Whether there is no money left for another machine that is worth its launch."""
    cheapest = 1.29
    return cheapest > budget.per_hour or cloud.cost(now - DAY_S, now) + cheapest * 0.5 > budget.per_day


@contextmanager
def a_redis(folder: Path) -> Iterator[Redis]:
    """A Redis of one's own."""
    port = free_port()
    child = Child("redis", redis_command(find_redis_server(), port, folder), {}, folder / "redis.log")
    child.start()
    try:
        with Redis(port=port) as redis:
            wait_for(lambda: _answers(redis))
            yield redis
    finally:
        child.terminate()
        child.join(10)


def _answers(redis: Redis) -> bool:
    try:
        return bool(redis.ping())
    except RedisError:
        return False


@click.command(help="Randomised runs of the autoscaler.")
@click.option("--runs", default=200, show_default=True)
@click.option("--first", default=0, show_default=True, help="The first seed.")
def main(runs: int, first: int) -> None:
    """The command."""
    broken = 0
    totals = Report(0)
    with tempfile.TemporaryDirectory() as folder, a_redis(Path(folder)) as redis:
        for seed in range(first, first + runs):
            report = run_one(seed, redis)
            broken += bool(report.broken)
            totals.items += report.items
            totals.answered += report.answered
            totals.launches += report.launches
            totals.crashes += report.crashes
            totals.starved += report.starved
            click.echo(
                f"{seed}: {report.answered} of {report.items} items, {report.launches} launches,"
                f" {report.crashes} crashes, ${report.cost:.2f} in {report.hours:.1f} h"
                f" {'(out of money) ' if report.starved else ''}"
                f"{'BROKEN: ' + '; '.join(report.broken) if report.broken else 'kept'}"
            )
    click.echo(
        f"{runs} runs, {broken} broken; {totals.answered} of {totals.items} items answered,"
        f" {totals.starved} runs out of money; {totals.launches} launches, {totals.crashes} crashes"
    )
    sys.exit(1 if broken else 0)


if __name__ == "__main__":
    main()
