"""`python -m kernelport_ops.bench.bounds.open_loop`: calls at a steady rate, whether earlier ones are answered or not.

A time counts from when its call was due, so a front door that stands still is felt by every call that it held up. The
figures are one line of JSON on standard output.
"""

import asyncio
import json
import math
import struct
import sys
import time
from collections import Counter
from dataclasses import asdict, dataclass
from typing import Any

import click
import grpc
import numpy as np
import uvloop

from kernelport.client import Address
from kernelport.v1 import inference_pb2, inference_pb2_grpc

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

    async def call(infer: Any, number: int, due: float) -> None:
        data = struct.pack("<f", number) * math.prod(SHAPE)
        x = inference_pb2.Tensor(name="x", dtype=inference_pb2.F32, shape=SHAPE, data=data)
        try:
            answer = await infer(inference_pb2.InferRequest(model=model, inputs=[x]), timeout=TIMEOUT_S)
        except grpc.aio.AioRpcError as error:
            errors[error.code().name] += 1
            return
        if answer.outputs[0].data == data:
            times_s.append(time.perf_counter() - due)
        else:
            errors["wrong"] += 1

    async with Address(target).open(grpc.aio) as channel:
        infer = inference_pb2_grpc.InferenceServiceStub(channel).Infer
        for number in range(WARM_UP_CALLS):
            await call(infer, number, 0.0)
        times_s.clear()
        started = time.perf_counter()
        async with asyncio.TaskGroup() as group:
            for number in range(round(rate * seconds)):
                due = started + number / rate
                await asyncio.sleep(due - time.perf_counter())
                group.create_task(call(infer, number, due))
    p99_s, max_s = np.percentile(times_s, [99, 100]) if times_s else (0.0, 0.0)
    return Felt(len(times_s), dict(errors), 1000 * float(p99_s), 1000 * float(max_s))


@click.command()
@click.option("--target", required=True)
@click.option("--model", required=True)
@click.option("--rate", required=True, type=float)
@click.option("--seconds", required=True, type=float)
def main(target: str, model: str, rate: float, seconds: float) -> None:
    """The command."""
    sys.stdout.write(json.dumps(asdict(uvloop.run(measure(target, model, rate, seconds)))) + "\n")


if __name__ == "__main__":
    main()
