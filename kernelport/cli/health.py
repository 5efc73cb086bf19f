"""`kernelport health`: what an orchestrator asks, answered by the exit code."""

import socket
from pathlib import Path

import click
import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc
from redis import Redis

from kernelport.broker import connections
from kernelport.broker.connections import connect
from kernelport.broker.memory import full
from kernelport.broker.registry import read_workers
from kernelport.cli import options
from kernelport.client import Address
from kernelport.config.settings import DEFAULT_REDIS_URL
from kernelport.errors import from_call
from kernelport.health import LIVE, told_reason
from kernelport.supervisor.running_file import find_running

TIMEOUT_S = 5.0
_SERVING = health_pb2.HealthCheckResponse.SERVING


@click.command()
@options.target_if_any
@click.option("--worker", is_flag=True, help="Ask for a worker on this host, by its heartbeat in Redis.")
@click.option("--deployment", default="", help="Ask whether this deployment is served, not just any.")
@click.option("--live", is_flag=True, help="Ask whether the front door runs, whatever it can do now.")
@options.redis_url
@options.state_dir
def health(target: str, worker: bool, deployment: str, live: bool, redis_url: str | None, state_dir: Path) -> None:
    """Exit with 0 when the front door, or a worker on this host, is serving; with 1 and the reason when not.

    Where its Redis is known, by --redis-url or the state folder, it has to take writes, too.
    """
    if live and (worker or deployment):
        raise click.UsageError("--live asks for the front door, and for nothing else")
    running = find_running(state_dir)
    if not (target or worker):
        target = running.target if running else _usual_target()
    if live:
        if problem := _front_door_problem(target, LIVE):
            raise click.ClickException(problem)
        click.echo("live")
        return
    url = redis_url or (running.redis_url if running else None)
    problem = "" if worker else _front_door_problem(target, deployment)
    if url or worker:
        with connect(url or DEFAULT_REDIS_URL, TIMEOUT_S) as redis:
            if why_not := connections.problem(redis):
                problem = f"{problem}; Redis cannot be asked: {why_not}".removeprefix("; ")
            elif worker:
                problem = _worker_problem(redis, socket.gethostname(), deployment)
            elif why_not := full(redis.info("memory")):
                problem = problem or f"Redis takes no calls: {why_not}"
    if problem:
        raise click.ClickException(problem)
    click.echo("serving")


def _usual_target() -> str:
    try:
        return options.default_target()
    except click.UsageError as error:  # here it is no mistake of the caller's, but the answer
        raise click.ClickException(error.message) from None


def _front_door_problem(target: str, deployment: str) -> str:
    """What keeps the front door, or a deployment there, from serving; empty when nothing does."""
    address = Address(target)
    with address.open(grpc) as channel:
        check = health_pb2_grpc.HealthStub(channel).Check  # type: ignore[attr-defined]
        try:
            request = health_pb2.HealthCheckRequest(service=deployment)
            answer, call = check.with_call(request, timeout=TIMEOUT_S, metadata=address.metadata)
        except grpc.RpcError as error:
            reason = from_call(error).message if error.details() else f"it has no deployment {deployment}"
            return f"{target}: {error.code().name}: {reason}"
    name = health_pb2.HealthCheckResponse.ServingStatus.Name(answer.status)
    reason = told_reason(call.initial_metadata())
    return "" if answer.status == _SERVING else f"{deployment or target}: {name}: {reason}".removesuffix(": ")


def _worker_problem(redis: Redis, host: str, deployment: str) -> str:
    """What keeps a worker on `host` from counting as alive; empty when nothing does."""
    served = {each.name for record in read_workers(redis) if record.worker.host == host for each in record.deployments}
    if deployment and deployment not in served:
        return f"no worker on {host} serves {deployment}"
    return "" if served else f"no worker on {host} has a heartbeat"
