"""`python -m kernelport_ops.autoscale`, which `kernelport autoscale` runs."""

import logging
import signal
import sys
import threading
from dataclasses import replace
from pathlib import Path
from types import FrameType

import click
from redis import Redis
from redis.exceptions import RedisError

from kernelport.broker.clock import clock
from kernelport.broker.connections import connect, unusable
from kernelport.cli import options
from kernelport.cli.process_command import ProcessCommand
from kernelport.config import described
from kernelport.config.deployments import Deployment, load_autoscale, load_deployments
from kernelport.config.scaling import Autoscale, LambdaCloud
from kernelport.config.schema import ConfigError
from kernelport.config.settings import Settings, SettingsError
from kernelport.counting import counted
from kernelport.errors import HostError
from kernelport.supervisor.running_file import joined_environment
from kernelport.telemetry import logs, metrics
from kernelport.telemetry.redis_watch import RedisWatch
from kernelport_ops.autoscale.controller import Controller, Plan
from kernelport_ops.autoscale.demand import DemandReader
from kernelport_ops.autoscale.lock import FencedError, Lock
from kernelport_ops.autoscale.providers.lambda_cloud.client import Client
from kernelport_ops.autoscale.providers.lambda_cloud.provider import LambdaProvider
from kernelport_ops.autoscale.providers.lambda_cloud.secrets import lambda_secrets
from kernelport_ops.autoscale.providers.local import LocalProvider
from kernelport_ops.autoscale.providers.provider import Provider, ProviderError
from kernelport_ops.autoscale.report import publish

log = logging.getLogger("kernelport.autoscale")

REDIS_TIMEOUT_S = 10.0
_ONCE = "Look and act once. No idle worker goes: since when one has been idle is known within a process only."


@click.command("autoscale", cls=ProcessCommand, settings=described.AUTOSCALER, context_settings=options.CONTEXT)
@click.option("--interval", type=options.Seconds(), default=5.0, help="Seconds between looks.")
@click.option("--dry-run", is_flag=True, help="Print what would be done and why, once, and do nothing.")
@click.option("--once", is_flag=True, help=_ONCE)
@click.option("--redis-url", type=options.REDIS_URL, default=None, help="The Redis that holds the queues.")
@options.deployments_file
@options.state_dir
@click.option("--metrics-listen", type=options.ADDRESS, default="", help="host:port of a Prometheus endpoint.")
def command(
    interval: float,
    dry_run: bool,
    once: bool,
    redis_url: str | None,
    deployments_file: Path | None,
    state_dir: Path,
    metrics_listen: str,
) -> None:
    """Give each deployment with a `scaling` in the deployments file the workers that it needs, and no more.

    It runs until it is stopped. Local workers stop with it; rented machines go on, and the next autoscaler finds them.
    """
    settings = replace(
        Settings.from_environment(joined_environment(state_dir, redis_url)), metrics_listen=metrics_listen
    )
    logs.set_up(settings)
    if deployments_file is not None:
        settings = replace(settings, deployments_file=deployments_file.absolute())
    deployments = load_deployments(settings.deployments_file)
    autoscale = load_autoscale(settings.deployments_file)
    if not any(deployment.scaling for deployment in deployments.values()):
        raise click.ClickException(f"no deployment in {settings.deployments_file} has a `scaling`")
    with connect(settings.redis_url, REDIS_TIMEOUT_S) as redis:
        provider = _provider(autoscale, deployments, settings, redis, state_dir)
        lock = Lock(redis, autoscale.fleet)
        demand = DemandReader(redis)
        controller = Controller(redis, deployments, autoscale, provider, demand, lock, settings.stop_s)
        if dry_run:
            try:
                clock.measure(redis)
                _print(controller.preview())
            except RedisError as error:
                help_with_it = "`kernelport up` starts a stack with its own, or name another one with --redis-url"
                raise HostError(f"{unusable(settings.redis_url, error)}; {help_with_it}") from error
            return
        if metrics_listen:
            metrics.serve(metrics_listen)
            RedisWatch(settings.redis_url).start()
        try:
            _run(controller, redis, autoscale.fleet, interval, once)
        finally:
            provider.close()
            try:
                lock.release()
            except RedisError as error:
                log.warning("cannot give up the lock, it will expire: %s", error)


def _provider(
    autoscale: Autoscale, deployments: dict[str, Deployment], settings: Settings, redis: Redis, state_dir: Path
) -> Provider:
    match autoscale:
        case Autoscale(provider="lambda", lambda_cloud=LambdaCloud() as cloud):
            secrets, client = lambda_secrets(), Client.from_environment()
            return LambdaProvider(client, cloud, autoscale.fleet, deployments, redis, secrets)
        case Autoscale(provider="local"):
            return LocalProvider(autoscale.local, settings, state_dir / "logs", redis)
        case _:
            raise click.ClickException(f"autoscale.provider: {autoscale.provider} has no case in `_provider`")


def _run(controller: Controller, redis: Redis, fleet: str, interval: float, once: bool) -> None:
    stop = threading.Event()

    def on_signal(number: int, frame: FrameType | None) -> None:
        stop.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, on_signal)
    told: dict[str, str] = {}
    while not stop.is_set():
        try:
            clock.measure(redis)  # times are written down for whoever comes after this autoscaler
            plans = controller.run_once()
            if plans is not None:
                publish(redis, fleet, clock.now(), controller.purse(), controller.ledger.live, plans)
        except (ProviderError, RedisError, FencedError) as error:
            log.warning("nothing done this time: %s", error)
            metrics.AUTOSCALE_FAILURES.inc()
            controller.forget_metrics()
            plans = []
        if plans is None and "" not in told:
            log.info("another autoscaler is at work; standing by")
        told = {"": "standing by"} if plans is None else {**told, **_tell(plans, told)}
        if plans is not None:
            told.pop("", None)
        if once:
            return
        stop.wait(interval)


def _tell(plans: list[Plan], told: dict[str, str]) -> dict[str, str]:
    """Logs what changed since it was last told."""
    lines = {}
    for plan in plans:
        key = f"{plan.seen.ready} {len(plan.seen.starting)} {plan.decision.workers} {plan.actions}"
        if told.get(plan.deployment) != key:
            log.info("%s", _description(plan))
        lines[plan.deployment] = key
    return lines


def _description(plan: Plan) -> str:
    actions = "; ".join(plan.actions)
    there = f"{plan.seen.ready} ready, {len(plan.seen.starting)} starting, {plan.decision.workers} wanted"
    return f"{plan.deployment}: {there}: {plan.decision.reason}{'. ' if actions else ''}{actions}"


def _print(plans: list[Plan]) -> None:
    for plan in plans:
        demand = plan.seen.demand
        rate = "a rate not measured yet" if demand.service_rate is None else f"{demand.service_rate:.1f}/s a worker"
        click.echo(_description(replace(plan, actions=())))
        click.echo(
            f"  asked: {counted(round(demand.waiting + demand.in_flight), 'request')} and "
            f"{counted(round(demand.job_items), 'job item')} waiting,"
            f" {demand.arrival_rate:.1f}/s arrive, {rate}, boots of {plan.seen.boot_s:.0f} s"
        )
        click.echo(f"  would: {'; '.join(plan.actions) or 'do nothing'}")


def main() -> None:
    """Runs the command; what a user can mend is one line on stderr."""
    options.name_variables(command)
    try:
        command(prog_name="kernelport autoscale")
    except (ConfigError, SettingsError) as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(2)
    except (ProviderError, HostError, OSError) as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
