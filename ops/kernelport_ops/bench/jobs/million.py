"""Very many tiny items: how fast they come in, what they take, and how fast they are cancelled."""

import time
from pathlib import Path
from typing import Any

from redis import Redis

from kernelport.broker.connections import connect
from kernelport_ops.bench.jobs.calls import calls_to, stack_running, tiny_items

MODEL = "identity-onnx"
WATCHED_S = 2.0
# The part of the items that is submitted again, beside a worker.
AGAIN = 5


def measure(items: int, folder: Path) -> dict[str, Any]:
    """Submits while no worker runs, so that every item waits; then some of them while one does; cancels both."""
    found: dict[str, Any] = {"items": items}
    with stack_running(folder, []) as stack, connect(stack.settings.redis_url) as redis:
        front_door = stack.children["front-door"].pid
        assert front_door is not None  # noqa: S101
        with calls_to(stack.target) as calls:
            found["front_door_mib_before"] = _resident_mib(front_door, "VmRSS")
            before = _used_bytes(redis)
            started = time.perf_counter()
            job = calls.submit(MODEL, tiny_items(items))
            found["items_per_second"] = items / (time.perf_counter() - started)
            found["front_door_mib_peak"] = _resident_mib(front_door, "VmHWM")
            found["redis_bytes_per_item"] = (_used_bytes(redis) - before) / items
            started = time.perf_counter()
            calls.cancel(job.id)
            found["cancel_waiting_s"] = time.perf_counter() - started
    with stack_running(folder, [MODEL]) as stack, calls_to(stack.target) as calls:
        started = time.perf_counter()
        job = calls.submit(MODEL, tiny_items(items // AGAIN))
        found["items_per_second_beside_a_worker"] = items // AGAIN / (time.perf_counter() - started)
        started = time.perf_counter()
        calls.cancel(job.id)
        found["cancel_running_s"] = time.perf_counter() - started
        at_once = calls.get(job.id).progress
        time.sleep(WATCHED_S)
        later = calls.get(job.id).progress
        # The batch that ran goes on to its next step; a batch of this deployment has 32 items.
        found["items_done_after_cancel"] = later.succeeded - at_once.succeeded
        found["items_done_before_cancel"] = at_once.succeeded
    return found


def _resident_mib(pid: int, field: str) -> float:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(field):
            return int(line.split()[1]) / 1024
    raise LookupError(field)


def _used_bytes(redis: Redis) -> int:
    found: Any = redis.info("memory")
    return int(found["used_memory"])
