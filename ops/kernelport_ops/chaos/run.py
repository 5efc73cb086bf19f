"""One chaos run: start, disturb, wait for what is under way, look."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from redis.exceptions import RedisError

from kernelport.broker import keys
from kernelport.broker.queues import queue_keys
from kernelport.client import Client
from kernelport.config.deployments import Limits
from kernelport.errors import KernelPortError
from kernelport.names import DEFAULT_TENANT
from kernelport_ops.chaos.callers import inputs
from kernelport_ops.chaos.checks import ANSWERED_S, Evidence
from kernelport_ops.chaos.fault_injector import BUSY_CALLERS, SLOW_CALLERS, FaultInjector
from kernelport_ops.chaos.memory import Sampler
from kernelport_ops.chaos.plan import REFUSALS, plan
from kernelport_ops.chaos.records import Event, read_calls, read_runs
from kernelport_ops.chaos.reply_monitor import ReplyMonitor
from kernelport_ops.chaos.system import CLAIM_BYTES, DEPLOYMENT, STEADY, System, wait_until

WIDTH = 12
# Nobody reaches them: calls are counted, and what is counted has to come to nothing once none is in flight.
QUOTAS = {"calls_a_second": 1e6, "calls": 1e6, "characters_a_day": 1e12, "bytes_a_day": 1e15}
LEASES_OF_A_LONG_TASK = 5
REST_LEASES, REST_S = 4, 20.0
PROBE_S = 10.0


@dataclass(frozen=True)
class Outcome:
    """A run that is over.

    Attributes:
        leftovers: keys that will expire, counted by their beginning.
        started, ended: Unix seconds.
    """

    evidence: Evidence
    sampler: Sampler
    leftovers: Mapping[str, int]
    skipped: int
    started: float
    ended: float


def run(
    folder: Path,
    seconds: float,
    seed: int,
    workers: int,
    lease_s: float,
    tell: Callable[[str], None],
    refusals: bool = False,
) -> Outcome:
    """Runs `seconds` seconds of chaos in a new folder, and waits until nothing is under way any more.

    Args:
        refusals: whether nothing happens but that Redis refuses, each time long enough after the last.
        tell: gets a line about progress, several times a second.
    """
    with System(folder, workers, lease_s) as system:
        monitor = ReplyMonitor(int(system.redis.connection_pool.connection_kwargs["port"]))
        sampler = Sampler(lambda: system.served)
        injector = FaultInjector(system)
        monitor.start()
        sampler.start()
        started = time.time()
        try:
            with Client(system.stack.target) as client:
                client.access.set_tenant(DEFAULT_TENANT, quotas=QUOTAS)
            _start_callers(system, seed, LEASES_OF_A_LONG_TASK * lease_s)
            alone: dict[str, Any] = {"kinds": sorted(REFUSALS), "redis_rests_s": ANSWERED_S} if refusals else {}
            steps = plan(seed, seconds, workers, lease_s, **alone)
            injector.inject(steps, lambda: tell(_progress(system, injector.events, started)))
            tell("waiting for what is under way")
            system.stop_callers()
            unserved = _unserved(system)
            rest_s = REST_LEASES * lease_s + REST_S
            wait_until(lambda: not any(_left_behind(system).values()), rest_s)
            left_behind = _left_behind(system)
            wait_until(lambda: not any(_reserved(system).values()), rest_s)
            reserved = _reserved(system)
            lasting, leftovers = _keys(system)
        finally:
            injector.abort()
            sampler.stop()
            monitor.stop()
        evidence = Evidence(
            calls=list(read_calls(system.records)),
            runs=read_runs(system.journal),
            events=injector.events,
            answered_twice=monitor.twice,
            left_behind=left_behind,
            reserved=reserved,
            lasting_keys=lasting,
            unserved=unserved,
            lease_s=lease_s,
            max_attempts=Limits().max_attempts,
        )
        return Outcome(evidence, sampler, leftovers, injector.skipped, started, time.time())


def _start_callers(system: System, seed: int, long_s: float) -> None:
    common = {"seed": seed, "large_bytes": CLAIM_BYTES + 1000}
    system.start_callers(BUSY_CALLERS, DEPLOYMENT, index=0, width=WIDTH, **common)
    system.start_callers(SLOW_CALLERS, DEPLOYMENT, index=1, width=WIDTH, **common)
    system.start_callers("steady-callers", STEADY, index=2, width=1, steady_s=long_s, **common)


def _progress(system: System, events: list[Event], started: float) -> str:
    ended = sum(path.read_bytes().count(b"\n") for path in system.records if path.exists())
    under_way = ", ".join(f"{event.kind} {event.target}" for event in events if event.until is None)
    return f"{time.time() - started:5.0f} s  {ended} calls  {len(events)} events  {under_way}"


def _unserved(system: System) -> list[str]:
    """What does not serve at the end: processes, and deployments that answer no call."""
    away = [name for name in system.served if not wait_until(lambda name=name: system.is_back(name), PROBE_S)]  # type: ignore[misc]
    with Client(system.stack.target, timeout_s=PROBE_S) as client:
        for deployment in (DEPLOYMENT, STEADY):
            problem = _probe(client, deployment)
            if problem:
                away.append(f"{deployment}: {problem}")
    return away


def _probe(client: Client, deployment: str) -> str:
    try:
        client.infer(deployment, inputs(-1))
    except KernelPortError as error:
        return f"{error.code.name} {error.message}"
    return ""


def _left_behind(system: System) -> dict[str, int]:
    """Entries of the queues and of the record of deliveries."""
    redis: Any = system.redis
    try:
        counts = {key: redis.llen(key) for name in (DEPLOYMENT, STEADY) for key in queue_keys(name)}
        return {**counts, keys.UNACKED: redis.hlen(keys.UNACKED), keys.UNACKED_INDEX: redis.zcard(keys.UNACKED_INDEX)}
    except RedisError as error:
        return {f"Redis does not answer: {error}": 1}


def _reserved(system: System) -> dict[str, int]:
    """What counts as in flight by quotas, though nothing is. What a front door that died had in flight is free once the
    next call of the same tenant comes."""
    with Client(system.stack.target, timeout_s=PROBE_S) as client:
        _probe(client, DEPLOYMENT)
    redis: Any = system.redis
    try:
        held = {key.decode(): redis.hvals(key) for key in redis.scan_iter(keys.quota_calls("*"))}
        return {key: sum(map(int, values)) for key, values in held.items()}
    except RedisError as error:
        return {f"Redis does not answer: {error}": 1}


def _keys(system: System) -> tuple[list[str], dict[str, int]]:
    """The keys that last and should not; and how many others there are, by the first two parts of their name."""
    redis: Any = system.redis
    lasting: list[str] = []
    leftovers: dict[str, int] = {}
    for key in redis.scan_iter(count=1000):
        name = key.decode()
        if name.startswith(keys.PERMANENT):
            continue
        if redis.ttl(key) == -1:
            lasting.append(name)
        beginning = ":".join(name.split(":")[:2])
        leftovers[beginning] = leftovers.get(beginning, 0) + 1
    return lasting, leftovers
