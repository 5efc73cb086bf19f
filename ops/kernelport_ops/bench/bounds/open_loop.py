"""`python -m kernelport_ops.bench.bounds.open_loop`: calls at a steady rate, whether earlier ones are answered or not.

A time counts from when its call was due, so a front door that stands still is felt by every call that it held up. The
figures are one line of JSON on standard output.
"""

import asyncio
import json
import sys
import time
from collections import Counter
from dataclasses import asdict, dataclass

import click
import numpy as np

from kernelport.client import AsyncClient
from kernelport.errors import KernelPortError

SHAPE = (1, 1, 2, 2)
TIMEOUT_S = 60.0
WARM_UP_CALLS = 20


@dataclass(frozen=True)
class Felt:
    """What the callers felt.

    Attributes:
        answered: right answers.
        errors: other endings, by what was wrong.
        p99_ms, max_ms: milliseconds from when a call was due to its right answer; 0 when there was none.
    """

    answered: int
    errors: dict[str, int]
    p99_ms: float
    max_ms: float


async def measure(target: str, model: str, rate: float, seconds: float) -> Felt:
    """Calls `rate` times a second for so many seconds, and waits for every answer."""
    times_s: list[float] = []
    errors: Counter[str] = Counter()

    async def call(client: AsyncClient, number: int, due: float) -> None:
        x = np.full(SHAPE, number, np.float32)
        try:
            answer = await client.infer(model, {"x": x}, timeout_s=TIMEOUT_S)
        except KernelPortError as error:
            errors[error.code.name] += 1
            return
        if np.array_equal(answer["y"], x):
            times_s.append(time.perf_counter() - due)
        else:
            errors["wrong"] += 1

    async with AsyncClient(target, max_retries=0) as client:
        for number in range(WARM_UP_CALLS):
            await call(client, number, 0.0)
        times_s.clear()
        started = time.perf_counter()
        async with asyncio.TaskGroup() as group:
            for number in range(round(rate * seconds)):
                due = started + number / rate
                await asyncio.sleep(due - time.perf_counter())
                group.create_task(call(client, number, due))
    p99_s, max_s = np.percentile(times_s, [99, 100]) if times_s else (0.0, 0.0)
    return Felt(len(times_s), dict(errors), 1000 * float(p99_s), 1000 * float(max_s))


@click.command()
@click.option("--target", required=True)
@click.option("--model", required=True)
@click.option("--rate", required=True, type=float)
@click.option("--seconds", required=True, type=float)
def main(target: str, model: str, rate: float, seconds: float) -> None:
    """The command."""
    sys.stdout.write(json.dumps(asdict(asyncio.run(measure(target, model, rate, seconds)))) + "\n")


if __name__ == "__main__":
    main()
