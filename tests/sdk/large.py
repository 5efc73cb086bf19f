"""Large requests and their answers on an event loop: `python large.py TARGET BYTES`. Prints JSON:

lag_s: the longest time for which the loop stood still; raw_lag_s: the same for gRPC's own copies of messages of that
size; peak_bytes: what it took of memory beside the request's array.
"""

import asyncio
import json
import sys
import time
from collections.abc import Awaitable
from pathlib import Path
from typing import Any

import grpc
import numpy as np

from kernelport import AsyncClient
from kernelport.client import Address
from kernelport.client.inference.coding import encode

TARGET, BYTES = sys.argv[1], int(sys.argv[2])
STATUS = Path("/proc/self/status")
ROUNDS = 3


async def lag_s(done: Awaitable[Any]) -> float:
    """The longest time for which the loop stands still until something is done."""
    task, longest = asyncio.ensure_future(done), 0.0
    while not task.done():
        began = time.perf_counter()
        await asyncio.sleep(0)
        longest = max(longest, time.perf_counter() - began)
    await task
    return longest


def memory(field: str) -> int:
    """Bytes of memory that this process has, VmRSS, or had at most, VmHWM."""
    return int(STATUS.read_text().split(f"{field}:")[1].split()[0]) * 1024


def reset_peak() -> int:
    """Begins anew to look for the most memory; returns what there is."""
    Path("/proc/self/clear_refs").write_text("5")
    return memory("VmRSS")


async def main() -> None:
    array = np.ones(BYTES // 4, np.float32)
    request = encode("m", {"x": array}, None, "")
    async with Address(TARGET).open(grpc.aio) as channel:
        call = channel.unary_unary("/kernelport.v1.InferenceService/Infer")
        raw_lags = [await lag_s(call(request)) for _ in range(ROUNDS)]
    del request, call
    async with AsyncClient(TARGET, timeout_s=60) as client:
        await client.infer("m", {"x": array[:1]})
        before = reset_peak()
        lags = [await lag_s(client.infer("m", {"x": array})) for _ in range(ROUNDS)]
    print(json.dumps({"lag_s": min(lags), "raw_lag_s": min(raw_lags), "peak_bytes": memory("VmHWM") - before}))


asyncio.run(main())
