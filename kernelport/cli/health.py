"""`kernelport health`: what an orchestrator asks, answered by the exit code."""

import asyncio
import socket
from contextlib import aclosing

import click
import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc
from redis.asyncio import Redis
from redis.exceptions import RedisError

from kernelport.cli import options
from kernelport.errors import from_call
from kernelport.registry import live_workers
from kernelport.settings import Settings

TIMEOUT_S = 5.0
_SERVING = health_pb2.HealthCheckResponse.SERVING


@click.command()
@options.target
@click.option("--worker", is_flag=True, help="Ask for a worker on this host, by its heartbeat in Redis.")
@click.option("--deployment", default="", help="Ask whether this deployment is served, not just any.")
@options.redis_url
def health(target: str, worker: bool, deployment: str, redis_url: str | None) -> None:
    """Exit with 0 when the front door, or a worker on this host, is serving; with 1 and the reason when not."""
    if worker:
        url = redis_url or Settings.from_environment().redis_url
        problem = asyncio.run(_worker_problem(url, socket.gethostname(), deployment))
    else:
        problem = _front_door_problem(target, deployment)
    if problem:
        raise click.ClickException(problem)
    click.echo("serving")


def _front_door_problem(target: str, deployment: str) -> str:
    """What keeps the front door, or a deployment there, from serving; empty when nothing does."""
    with grpc.insecure_channel(target) as channel:
        check = health_pb2_grpc.HealthStub(channel).Check  # type: ignore[attr-defined]
        try:
            answer = check(health_pb2.HealthCheckRequest(service=deployment), timeout=TIMEOUT_S)
        except grpc.RpcError as error:
            reason = from_call(error).message if error.details() else f"it has no deployment {deployment}"
            return f"{target}: {error.code().name}: {reason}"
    name = health_pb2.HealthCheckResponse.ServingStatus.Name(answer.status)
    return "" if answer.status == _SERVING else f"{deployment or target}: {name}"


async def _worker_problem(redis_url: str, host: str, deployment: str) -> str:
    """What keeps a worker on `host` from counting as alive; empty when nothing does."""
    redis = Redis.from_url(redis_url, socket_timeout=TIMEOUT_S, socket_connect_timeout=TIMEOUT_S)
    async with aclosing(redis):
        try:
            records = await live_workers(redis)
        except RedisError as error:
            return f"Redis cannot be asked: {error}"
    served = {each.name for record in records if record.worker.host == host for each in record.deployments}
    if deployment and deployment not in served:
        return f"no worker on {host} serves {deployment}"
    return "" if served else f"no worker on {host} has a heartbeat"
