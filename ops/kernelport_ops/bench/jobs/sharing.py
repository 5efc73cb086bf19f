"""What a job does to calls of the same deployment, and how two jobs share it."""

import asyncio
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from kernelport import AsyncClient
from kernelport.v1 import job_pb2 as pb
from kernelport_ops.bench.bulk import workers_running
from kernelport_ops.bench.jobs.calls import Calls, calls_to, spoken, stack_running, tiny_items
from kernelport_ops.bench.texts import sentences

SPEECH, TINY = "hibari-en", "identity-onnx"
IDLE_CALLS = 30


def measure_speech(items: int, workers: int, seconds: float, folder: Path) -> dict[str, Any]:
    """Latency of `Infer` for a short sentence, idle and while a job of sentences runs."""
    text = np.frombuffer(b"The night train to the coast.", np.uint8)
    with workers_running(folder, workers) as (stack, _), calls_to(stack.target) as calls:
        texts = enumerate(sentences(items))
        items_of_speech = (spoken(str(number), each) for number, each in texts)
        return _measure(calls, stack.target, SPEECH, {"text": text}, seconds, workers, items_of_speech)


def measure_tiny(items: int, seconds: float, folder: Path) -> dict[str, Any]:
    """The same for a model that takes next to no time."""
    x = np.ones((1, 1, 1, 4), np.float32)
    with stack_running(folder, [TINY]) as stack, calls_to(stack.target) as calls:
        return _measure(calls, stack.target, TINY, {"x": x}, seconds, 1, tiny_items(items))


def _measure(
    calls: Calls,
    target: str,
    model: str,
    inputs: dict[str, Any],
    seconds: float,
    workers: int,
    items: Iterable[pb.NewItem],
) -> dict[str, Any]:
    idle = asyncio.run(_latencies(target, model, inputs, calls=IDLE_CALLS))
    job = calls.submit(model, items)
    while (before := calls.get(job.id).progress.succeeded) == 0:
        time.sleep(0.02)
    started = time.monotonic()
    busy = asyncio.run(_latencies(target, model, inputs, until=started + seconds))
    window_s = time.monotonic() - started
    running = calls.get(job.id)
    calls.cancel(job.id)
    batches = _batches(calls, job.id)
    idle_s, p95_s = float(np.median(idle)), float(np.percentile(busy, 95))
    # A batch from ticket to ticket takes the model's time, and that for files and records.
    backend_s = np.array([backend_s for backend_s, _ in batches])
    each_s = workers * window_s * np.mean([size for _, size in batches]) / (running.progress.succeeded - before)
    batch_s = float(np.percentile(backend_s, 95)) + max(0.0, float(each_s - backend_s.mean()))
    return {
        "job_items": running.progress.items,
        "job_items_done": running.progress.succeeded,
        "calls": len(busy),
        "idle_p50_ms": 1000 * idle_s,
        "p50_ms": 1000 * float(np.median(busy)),
        "p95_ms": 1000 * p95_s,
        "batch_mean_ms": 1000 * float(each_s),
        "batch_p95_ms": 1000 * batch_s,
        # What is left of the latency without the call itself and the batch that it had to wait for.
        "over_one_batch_ms": 1000 * (p95_s - batch_s - idle_s),
    }


def measure_two_jobs(items: int, folder: Path) -> dict[str, Any]:
    """How far two equal jobs are apart while both run: each one's items done, at every look."""
    with stack_running(folder, [TINY]) as stack, calls_to(stack.target) as calls:
        ids = [calls.submit(TINY, tiny_items(items)).id]
        ids.append(calls.submit(TINY, tiny_items(items)).id)
        first = [calls.get(job_id).progress.succeeded for job_id in ids]
        apart: list[float] = []
        while True:
            done = [calls.get(job_id).progress.succeeded - was for job_id, was in zip(ids, first, strict=True)]
            if any(calls.get(job_id).progress.waiting == 0 for job_id in ids):
                break
            if min(done) > items / 10:
                apart.append(abs(done[0] - done[1]) / max(done))
            time.sleep(0.1)
        for job_id in ids:
            calls.cancel(job_id)
    return {"items_each": items, "looks": len(apart), "largest_difference": max(apart)}


def _batches(calls: Calls, job_id: str) -> list[tuple[float, int]]:
    """Seconds on the backend, and items, of the job's batches."""
    request = pb.ListItemsRequest(job_id=job_id, states=[pb.ITEM_STATE_SUCCEEDED], page_size=5000)
    items = calls.stub.ListItems(request).items
    return list({item.finished_unix_us: (item.backend_s, item.batch_size) for item in items}.values())


async def _latencies(
    target: str, model: str, inputs: dict[str, Any], calls: int = 0, until: float = 0.0
) -> Sequence[float]:
    """Seconds of one call after the other: so many, or until a time of the monotonic clock."""
    found: list[float] = []
    async with AsyncClient(target, timeout_s=120) as client:
        await client.infer(model, inputs)
        while len(found) < calls or time.monotonic() < until:
            started = time.perf_counter()
            await client.infer(model, inputs)
            found.append(time.perf_counter() - started)
            await asyncio.sleep(0.01)
    return found
