"""`python -m kernelport_ops.autoscale.providers.lambda_cloud.watchdog NAME`: a machine that gives itself back.

Turning a machine off does not end its bill; only the API does. So this runs on the machine, and calls it when its
workers have finished because they were asked to, or when for a while nothing was asked of its deployment and no
autoscaler was at work, or Redis could not be reached: then nobody else would.
"""

import logging
import sys
import time
from collections.abc import Callable, Sequence

import click
from redis import Redis
from redis.exceptions import RedisError

from kernelport.broker import keys
from kernelport.broker.connections import connect
from kernelport.broker.registry import is_drained
from kernelport.config.settings import Settings
from kernelport.telemetry import logs
from kernelport_ops.autoscale.demand import DemandReader
from kernelport_ops.autoscale.providers.lambda_cloud.client import Client
from kernelport_ops.autoscale.providers.provider import NotSetError, ProviderError, worker_ids

log = logging.getLogger("kernelport.watchdog")

LOOK_S = 15.0


def is_needed(redis: Redis, demand: DemandReader, deployment: str, fleet: str, now: float) -> bool:
    """Whether somebody asks something of the deployment, or looks after the machine; not while Redis is away."""
    try:
        return bool(redis.exists(keys.autoscale_lock(fleet))) or not demand.read(deployment, 0, 0, now).idle
    except RedisError:
        return False


def watch(
    redis: Redis,
    workers: Sequence[str],
    deployment: str,
    fleet: str,
    idle_s: float,
    monotonic: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> str:
    """Returns, with the reason, when a machine should be given back.

    Args:
        workers: ids of its workers.
        idle_s: seconds.
    """
    demand = DemandReader(redis)
    needed_at = monotonic()
    while True:
        now = monotonic()
        if is_needed(redis, demand, deployment, fleet, now):
            needed_at = now
        elif now - needed_at >= idle_s:
            return f"nothing to do for {idle_s:g} s"
        try:
            if all(is_drained(redis, worker) for worker in workers):
                return "its workers have finished"
        except RedisError as error:
            log.warning("Redis is away: %s", error)
        sleep(LOOK_S)


def give_back(client: Client, machine: str) -> None:
    """Ends the instance of this name."""
    client.terminate([each.id for each in client.instances() if each.name == machine])


@click.command(help="Gives the machine NAME back when nobody needs it any more.")
@click.argument("machine", metavar="NAME")
@click.option("--deployment", default="", help="What it serves.")
@click.option("--workers", default=1, show_default=True, help="How many it runs.")
@click.option("--fleet", default="main", show_default=True)
@click.option("--idle-s", default=1800.0, show_default=True, help="After so many seconds without work.")
@click.option("--now", "at_once", is_flag=True, help="Give it back at once.")
def main(machine: str, deployment: str, workers: int, fleet: str, idle_s: float, at_once: bool) -> None:
    """The command."""
    try:
        client = Client.from_environment()
    except NotSetError as error:
        sys.exit(f"error: {error}")
    settings = Settings.from_environment()
    logs.set_up(settings)
    with connect(settings.redis_url, timeout_s=5) as redis:
        ids = worker_ids(machine, workers)
        reason = "it was asked to" if at_once else watch(redis, ids, deployment, fleet, idle_s)
    log.info("giving %s back: %s", machine, reason)
    while True:
        try:
            give_back(client, machine)
        except ProviderError as error:
            log.warning("cannot give %s back yet: %s", machine, error)
        time.sleep(LOOK_S)  # until the machine, and this with it, is gone


if __name__ == "__main__":
    main()
