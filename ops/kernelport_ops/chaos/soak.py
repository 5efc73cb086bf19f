"""Many requests and no chaos: does any process grow?"""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from kernelport.client import AsyncClient
from kernelport_ops.chaos.callers import inputs
from kernelport_ops.chaos.memory import Sampler, Samples, growth
from kernelport_ops.chaos.report import WARM_UP, WINDOW
from kernelport_ops.chaos.system import CLAIM_BYTES, DEPLOYMENT, System

WIDTH = 48
# One request in so many is large, and one has an id: what they leave behind counts too.
LARGE_EVERY, NAMED_EVERY = 50, 20
# Results with an id are kept for this long; if it were longer, their number would grow all through a short soak.
RESULT_TTL_S = 5.0
LEASE_S = 30.0
TARGET = 0.05


@dataclass(frozen=True)
class Soak:
    """A soak that is over.

    Attributes:
        wrong: how many answers were not what they should be.
        growth: of resident memory by process, as a share; None where there were too few samples.
    """

    requests: int
    seconds: float
    wrong: int
    samples: dict[str, Samples]
    growth: dict[str, float | None]


def soak(folder: Path, requests: int, workers: int, tell: Callable[[str], None]) -> Soak:
    """Sends `requests` requests as fast as they are answered.

    Args:
        tell: gets a line about progress.
    """
    with System(folder, workers, LEASE_S, result_ttl_s=RESULT_TTL_S) as system:
        progress = [0]
        sampler = Sampler(lambda: system.served, lambda: float(progress[0]))
        sampler.start()
        started = time.monotonic()
        try:
            wrong = asyncio.run(_send(system.stack.target, requests, progress, tell))
        finally:
            sampler.stop()
        seconds = time.monotonic() - started
        longest = {name: each for name, each in sampler.longest().items() if not name.startswith("steady")}
    return Soak(
        requests, seconds, wrong, longest, {name: growth(each, WARM_UP, WINDOW) for name, each in longest.items()}
    )


async def _send(target: str, requests: int, progress: list[int], tell: Callable[[str], None]) -> int:
    """Returns how many answers were wrong."""
    numbers = iter(range(requests))
    wrong = 0

    async def keep_calling(client: AsyncClient) -> None:
        nonlocal wrong
        for number in numbers:
            padding = CLAIM_BYTES + 1000 if number % LARGE_EVERY == 0 else 0
            request_id = f"soak-{number}" if number % NAMED_EVERY == 0 else ""
            result = await client.infer(DEPLOYMENT, inputs(number, 0.0, padding), timeout_s=60, request_id=request_id)
            wrong += int(result["answer"][0]) != 3 * number + 1
            progress[0] += 1
            if progress[0] % 500 == 0:
                tell(f"{progress[0]} of {requests} requests")

    async with AsyncClient(target, max_retries=0) as client:
        await asyncio.gather(*(keep_calling(client) for _ in range(WIDTH)))
    return wrong
