"""`kernelport doctor`: what is installed, and what would run here."""

import platform
import shutil
import subprocess
from dataclasses import replace
from importlib import metadata
from pathlib import Path

import click
from redis import Redis
from redis.exceptions import RedisError
from rich.console import Console
from rich.markup import escape
from rich.table import Column, Table

from kernelport import durability
from kernelport.cli import options
from kernelport.deployments import load_deployments
from kernelport.runnable import problems_by_deployment
from kernelport.settings import Settings
from kernelport.stack.redis_server import RedisNotFoundError, find_redis_server, redis_version
from kernelport.stack.running_file import joined_environment

PACKAGES = (
    "kernelport",
    "celery",
    "kombu",
    "redis",
    "grpcio",
    "onnxruntime",
    "onnxruntime-gpu",
    "torch",
    "helion",
    "hibari-tts",
)


@click.command()
@options.state_dir
@options.redis_url
@options.deployments_file
def doctor(state_dir: Path, redis_url: str | None, deployments_file: Path | None) -> None:
    """Say what is installed, which device there is, whether Redis can be reached, and which deployments run here."""
    settings = Settings.from_environment(joined_environment(state_dir, redis_url))
    if deployments_file is not None:
        settings = replace(settings, deployments_file=deployments_file.absolute())
    load_deployments(settings.deployments_file)  # its findings are the user's to see as they are
    console = Console()
    facts = Table("", Column(overflow="fold"), show_header=False)
    facts.add_row("Python", platform.python_version())
    for package in PACKAGES:
        facts.add_row(package, _version(package))
    facts.add_row("GPU", _gpu())
    facts.add_row("redis-server", _redis_server())
    facts.add_row("Redis", _reach(settings.redis_url))
    facts.add_row("acknowledged work", _durability(settings.redis_url))
    facts.add_row("deployments file", str(settings.deployments_file))
    console.print(facts)

    runnable = Table("deployment", "runs here", Column("why not", overflow="fold"))
    for name, problem in problems_by_deployment(settings).items():
        runnable.add_row(name, "[green]yes[/green]" if problem is None else "[red]no[/red]", escape(problem or ""))
    console.print(runnable)


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "not installed"


def _gpu() -> str:
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return "none (no nvidia-smi)"
    query = [tool, "--query-gpu=name,memory.total", "--format=csv,noheader"]
    finished = subprocess.run(query, capture_output=True, text=True, check=False)
    return finished.stdout.strip() if finished.returncode == 0 else f"nvidia-smi failed: {finished.stderr.strip()}"


def _redis_server() -> str:
    try:
        server = find_redis_server()
    except RedisNotFoundError as error:
        return str(error)
    major, minor = redis_version(server)
    return f"{server} ({major}.{minor})"


def _durability(url: str) -> str:
    with Redis.from_url(url, socket_connect_timeout=2, socket_timeout=2) as client:
        try:
            why_not = durability.why_not(client)
        except RedisError:
            return "unknown: Redis cannot be reached"
    return f"may be lost when Redis dies: {why_not}" if why_not else "is on the disk of Redis first"


def _reach(url: str) -> str:
    with Redis.from_url(url, socket_connect_timeout=2, socket_timeout=2) as client:
        shown = "{host}:{port}".format(**{"host": "?", "port": "?", **client.connection_pool.connection_kwargs})
        try:
            return f"{shown} answers, version {client.info('server')['redis_version']}"
        except RedisError as error:
            return f"{shown} cannot be reached ({error}); `kernelport up` starts its own"
