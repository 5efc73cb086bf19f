"""`python -m kernelport_ops.chaos.drains.callers`: a process full of callers that wait for every answer to the end.

Each call is written to a file when it ends, after the client's own tries. SIGTERM ends the process once its calls have
ended.
"""

import asyncio
import random
import signal
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import click
import numpy as np

from kernelport.client import AsyncClient
from kernelport.errors import KernelPortError
from kernelport.v1 import job_pb2
from kernelport_ops.chaos.callers import GRACE_S, HUNG, NUMBERS_A_PROCESS, Caller, inputs
from kernelport_ops.chaos.records import OK, Call
from kernelport_ops.chaos.system import DEPLOYMENT, RECITING

DEADLINE_S = 90.0
# Calls go before jobs.
JOB_DEADLINE_S = 600.0
LONGEST_PAUSE_S = 1.0
# Of a job, and the seconds that each works.
ITEMS, ITEM_S = 20, 0.02
# Characters that are recited, each of which is a piece.
FEWEST_PIECES, MOST_PIECES = 5, 40
SAMPLES_A_PIECE = 160


class Patient(Caller):
    """Makes streams and jobs, too, and notes what became of each."""

    async def stream(self) -> None:
        """A text that is recited piece by piece."""
        number = next(self.numbers)
        text = "".join(self.dice.choices("abcdefgh", k=self.dice.randint(FEWEST_PIECES, MOST_PIECES)))

        async def listen() -> bool:
            pieces = [piece.audio async for piece in self.client.stream(RECITING, text, timeout_s=DEADLINE_S)]
            return np.array_equal(np.concatenate(pieces), np.repeat([ord(each) for each in text], SAMPLES_A_PIECE))

        await self._note(number, "stream", listen)

    async def job(self) -> None:
        """A job of some items."""
        number = next(self.numbers)
        items = [(str(each), inputs(NUMBERS_A_PROCESS * number + each, ITEM_S)) for each in range(ITEMS)]

        async def run() -> bool:
            jobs = self.client.jobs
            job = await jobs.submit(DEPLOYMENT, items, request_id=f"job-{number}", delete_outputs=True)
            job = await jobs.wait(job.id, timeout_s=JOB_DEADLINE_S)
            return job.state == job_pb2.JOB_STATE_SUCCEEDED and job.progress.succeeded == ITEMS

        await self._note(number, "job", run)

    async def _note(self, number: int, kind: str, work: Callable[[], Awaitable[bool]]) -> None:
        started, code, told, right = time.time(), OK, "", True
        try:
            async with asyncio.timeout(JOB_DEADLINE_S + GRACE_S):
                right = await work()
        except KernelPortError as error:
            code, told = error.code.name, error.message
        except TimeoutError:
            code = HUNG
        self.out.write(Call(number, kind, "", started, time.time(), DEADLINE_S, code, told, right=right).line())


async def run(target: str, out: Path, index: int, seed: int, calls: int, streams: int, jobs: int, large: int) -> None:
    """Keeps so many calls, streams and jobs under way until SIGTERM."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    dice = random.Random(seed * 1000 + index)  # noqa: S311 - a mixture of calls, not a secret
    numbers = iter(range(index * NUMBERS_A_PROCESS, (index + 1) * NUMBERS_A_PROCESS))
    with out.open("a", buffering=1) as file:
        async with AsyncClient(target) as client:
            caller = Patient(client, DEPLOYMENT, numbers, dice, large, file)
            kinds = [*[caller.small] * 24, *[caller.large] * 7, *[caller.named] * 8, caller.long]

            async def keep(choices: Sequence[Callable[[], Awaitable[None]]]) -> None:
                while not stop.is_set():
                    await dice.choice(choices)()
                    await asyncio.sleep(dice.uniform(0, LONGEST_PAUSE_S))

            of_each = [(calls, kinds), (streams, [caller.stream]), (jobs, [caller.job])]
            await asyncio.gather(*(keep(choices) for count, choices in of_each for _ in range(count)))


@click.command()
@click.option("--target", required=True)
@click.option("--out", required=True, type=click.Path(path_type=Path))
@click.option("--index", required=True, type=int)
@click.option("--seed", required=True, type=int)
@click.option("--calls", required=True, type=int)
@click.option("--streams", required=True, type=int)
@click.option("--jobs", required=True, type=int)
@click.option("--large", required=True, type=int, help="Bytes of a large request.")
def main(**options: Any) -> None:
    """The command."""
    asyncio.run(run(**options))


if __name__ == "__main__":
    main()
