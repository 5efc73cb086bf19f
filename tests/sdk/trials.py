"""Trials of a client, as long as one likes: `python -m tests.sdk.trials` runs them at full length, in 8 minutes."""

import asyncio
import gc
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

from kernelport import AsyncClient, Client, DeadlineExceededError, InvalidArgumentError, UnavailableError
from kernelport.config.settings import bundled_deployments
from kernelport.supervisor.ports import free_port
from tests.conftest import serving_stack, stack_settings
from tests.sdk.servers import Echo, serving

X = {"x": np.ones((1, 1, 2, 2), np.float32)}
# One that the client finds, and one that the front door does.
MISTAKES: tuple[Mapping[str, object], ...] = ({"x": [[1, 2], [3]]}, {"x": X["x"][0]})
NO_ANSWER = (UnavailableError, DeadlineExceededError)
OUTAGES_S = (5, 60, 240)
CALLS = 10_000
# What a client that is told to come back is found again within, and what an interpreter takes of memory by itself, in
# bytes and in blocks of Python: one that were kept of every call would not be seen by the bytes.
MOST_BACK_S = 2.5
MOST_GROWTH_BYTES = 4 * 2**20
MOST_GROWTH_BLOCKS = 200
# Threads of gRPC close connections that have ended a moment later.
SETTLED_S = 5
# The array of one call, and what it may cost: seconds of the loop, and so many times its size of memory each way.
LARGE_BYTES, MOST_LAG_S, MOST_COPIES = 100 * 2**20, 0.05, 2


class Footprint(NamedTuple):
    """What this process has of the machine."""

    memory_bytes: int
    blocks: int
    threads: int
    descriptors: int

    @classmethod
    def now(cls) -> "Footprint":
        gc.collect()
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        kept = pages * os.sysconf("SC_PAGE_SIZE"), sys.getallocatedblocks()
        return cls(*kept, *(len(os.listdir(f"/proc/self/{of}")) for of in ("task", "fd")))


def back_after_s(away_s: float) -> float:
    """Seconds until a client that calls all the time finds a front door that was away and is back."""
    port = free_port()
    with Client(f"127.0.0.1:{port}", max_retries=0) as client:

        def is_answered() -> bool:
            try:
                client.infer("m", X, timeout_s=1)
            except NO_ANSWER:
                time.sleep(0.02)
                return False
            return True

        away_until = time.monotonic() + away_s
        while time.monotonic() < away_until:
            assert not is_answered()
        with serving(Echo(), port):
            back = time.monotonic()
            while not is_answered():
                pass
            return time.monotonic() - back


def footprints(target: str, calls: int) -> tuple[Footprint, Footprint]:
    """What the process has before and after so many calls of each client, every tenth of them a mistake; as many calls
    have gone before."""
    with Client(target, timeout_s=30) as client:

        def call_all() -> None:
            for number in range(calls):
                if number % 10:
                    client.infer("identity-onnx", X)
                else:
                    _refused(client, MISTAKES[number // 10 % len(MISTAKES)])

        async def call_all_async() -> None:
            async with AsyncClient(target, timeout_s=30) as async_client:
                async for _ in async_client.map("identity-onnx", [X] * calls, concurrency=16):
                    pass

        def called() -> Footprint:
            call_all()
            asyncio.run(call_all_async())
            return Footprint.now()

        before, after = called(), called()
        settled_by = time.monotonic() + SETTLED_S
        while not is_flat(before, after) and time.monotonic() < settled_by:
            time.sleep(0.05)
            after = Footprint.now()
        return before, after


def large_call(target: str) -> tuple[float, int]:
    """For how long a large call keeps an event loop, in seconds, and what it takes of memory."""
    script = Path(__file__).with_name("large.py")
    told = json.loads(subprocess.check_output([sys.executable, script, target, str(LARGE_BYTES)], timeout=300))
    return told["lag_s"], told["peak_bytes"]


def is_flat(before: Footprint, after: Footprint) -> bool:
    """Whether a process has not grown."""
    grown = Footprint(*(now - earlier for now, earlier in zip(after, before, strict=True)))
    is_light = grown.memory_bytes < MOST_GROWTH_BYTES and grown.blocks < MOST_GROWTH_BLOCKS
    return is_light and grown.threads <= 0 and grown.descriptors <= 0


def _refused(client: Client, inputs: Mapping[str, object]) -> None:
    try:
        client.infer("identity-onnx", inputs)
    except InvalidArgumentError:
        return
    raise AssertionError("a mistake was taken")


def main() -> None:
    with (
        tempfile.TemporaryDirectory() as folder,
        serving(Echo()) as echo,
        serving_stack(stack_settings(bundled_deployments()), ["identity-onnx"], Path(folder)) as stack,
    ):
        lag_s, peak_bytes = large_call(echo)
        before, after = footprints(stack.target, CALLS)
    print(f"{CALLS:,} calls of each client: {before} -> {after}")
    print(f"{LARGE_BYTES:,} bytes in and out: the loop stood still for {lag_s:.3f} s, {peak_bytes:,} bytes at the most")
    good = is_flat(before, after) and lag_s < MOST_LAG_S and peak_bytes < MOST_COPIES * 2 * LARGE_BYTES
    for away_s in OUTAGES_S:
        found_s = back_after_s(away_s)
        print(f"away for {away_s} s: found {found_s:.2f} s after its return", flush=True)
        good &= found_s < MOST_BACK_S
    sys.exit(not good)


if __name__ == "__main__":
    main()
