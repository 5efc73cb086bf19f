"""`kernelport doctor`: what is installed, and what would run here."""

import platform
import shutil
import subprocess
from dataclasses import replace
from importlib import metadata
from pathlib import Path
from typing import Any

import click
from redis import Redis
from redis.exceptions import RedisError
from rich.filesize import decimal
from rich.table import Column
from rich.text import Text

from kernelport.broker import durability, keys
from kernelport.broker.clock import clock, off
from kernelport.broker.connections import connect, parameters, problem, shown
from kernelport.cli import options, tables
from kernelport.client import Client
from kernelport.config.code import load_to_run
from kernelport.config.settings import Settings
from kernelport.counting import counted
from kernelport.errors import KernelPortError
from kernelport.jobs.artifacts import Artifacts, storage_errors
from kernelport.jobs.outputs import bytes_of_jobs
from kernelport.jobs.storage import different
from kernelport.supervisor.redis_server import RedisNotFoundError, find_redis_server, redis_version
from kernelport.supervisor.runnable import problems_by_deployment
from kernelport.supervisor.running_file import Running, find_running, joined_environment

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
@options.target_if_any
@options.as_json
def doctor(state_dir: Path, redis_url: str | None, deployments_file: Path | None, target: str, as_json: bool) -> None:
    """Say what is installed, which device there is, whether Redis can be reached, and which deployments run here."""
    settings = Settings.from_environment(joined_environment(state_dir, redis_url))
    if deployments_file is not None:
        settings = replace(settings, deployments_file=deployments_file.absolute())
    table = load_to_run(settings.deployments_file)  # its findings are the user's to see as they are
    packages = {package: _version(package) for package in PACKAGES}
    running = find_running(state_dir)
    facts = {"GPU": _gpu(), "redis-server": _redis_server()}
    url = redis_url or (running.redis_url if running else settings.redis_url)
    with connect(url, timeout_s=2) as redis:
        facts["Redis"] = f"{shown(url)} {_answer(redis, running)}"
        facts["clock"] = _clock(redis)
        facts["acknowledged work"] = _durability(redis)
        facts["outputs of jobs"] = _storage(redis, settings.artifacts_url)
    facts["outputs without a job"] = _orphans(target)
    facts["stack on this machine"] = _openness(state_dir, running)
    facts["deployments file"] = str(table.file)
    problems = problems_by_deployment(settings)
    if as_json:
        deployments = [
            {"name": name, "runs_here": why_not is None, "why_not": why_not} for name, why_not in problems.items()
        ]
        told = {title.lower().replace(" ", "_").replace("-", "_"): fact for title, fact in facts.items()}
        options.echo_json(
            [{"python": platform.python_version(), "packages": packages, **told, "deployments": deployments}]
        )
        return
    versions = {package: version or "not installed" for package, version in packages.items()}
    here = {"Python": platform.python_version()} | versions | facts
    tables.show(["here", Column("", overflow="fold")], here.items())
    answers = {True: Text("yes", "green"), False: Text("no", "red")}
    rows = [(name, answers[why_not is None], why_not or "") for name, why_not in problems.items()]
    tables.show(["deployment", "runs here", Column("why not", overflow="fold")], rows)


def _orphans(target: str) -> str:
    """The space that outputs take which no job owns."""
    try:
        with Client(target or options.default_target()) as client:
            found = list(client.jobs.orphans())
    except (KernelPortError, click.UsageError) as error:
        return f"unknown: {error.message}"
    if not found:
        return "none"
    size = decimal(sum(orphan.bytes for orphan in found))
    return f"{size} of {counted(len(found), 'job')}; kernelport jobs prune deletes them"


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


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


def _answer(redis: Redis, running: Running | None) -> str:
    if why_not := problem(redis):
        return f"cannot be used: {why_not}" + ("" if running else "; `kernelport up` starts its own")
    memory: Any = redis.info("memory")
    limit = f"of {decimal(memory['maxmemory'])}" if memory["maxmemory"] else "and has no limit"
    holds = f"holds {decimal(memory['used_memory'])} {limit}"
    return f"answers and takes writes, version {redis.info('server')['redis_version']}, {holds}"


def _clock(redis: Redis) -> str:
    try:
        clock.measure(redis)
    except RedisError:
        return "unknown: Redis cannot be reached"
    return f"{off(clock.machine_ahead_s())} that of Redis"


def _durability(redis: Redis) -> str:
    try:
        why_not = durability.why_not(redis)
    except RedisError:
        return "unknown: Redis cannot be reached"
    return f"may be lost when Redis dies: {why_not}" if why_not else "is on the disk of Redis first"


def _storage(redis: Redis, artifacts_url: str) -> str:
    try:
        artifacts = Artifacts(artifacts_url, timeout_s=5)
        own_id = artifacts.identity(create=False)
        known: Any = redis.hgetall(keys.JOB_STORAGE)
        space = f"{decimal(bytes_of_jobs(redis))} of jobs"
        space += f", {decimal(artifacts.free_bytes())} free" if artifacts.is_local else ""
    except FileNotFoundError:
        return f"{artifacts_url}: no process has kept any there"
    except storage_errors() as error:
        return f"{artifacts_url}: cannot be read ({error})"
    except RedisError as error:
        return f"{artifacts_url}: cannot be compared with the front door's ({error})"
    refusal = different(known, own_id, artifacts.url(""))
    return f"workers here take no jobs: {refusal}" if refusal else f"{artifacts_url}, as at the front door: {space}"


def _openness(state_dir: Path, running: Running | None) -> str:
    """Whether other users of this machine get at the embedded Redis and at the state folder."""
    if running is None:
        return f"none runs on {state_dir}"
    open_to_others = [file.name for file in state_dir.iterdir() if file.is_file() and file.stat().st_mode & 0o077]
    if running.own_redis:
        found = parameters(running.redis_url)
        with connect(f"redis://{found['host']}:{found['port']}/0", timeout_s=2) as stranger:
            if not problem(stranger):
                open_to_others.append("its Redis")
    if open_to_others:
        return f"{state_dir}: open to other users: {', '.join(open_to_others)}"
    return f"{state_dir}: {'Redis and state are' if running.own_redis else 'its state is'} closed to other users"
