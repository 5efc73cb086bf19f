"""`python -m kernelport_ops.chaos.callers`: a process full of callers that never tire.

It writes every call to a file when the call ends. SIGUSR1 makes it send a burst at once; SIGTERM ends it once its calls
have ended.
"""

import asyncio
import random
import signal
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import click
import numpy as np

from kernelport.client import AsyncClient
from kernelport.errors import KernelPortError
from kernelport.tensors import Array
from kernelport_ops.chaos.records import OK, Call

DEADLINE_S = 60.0
RETRY_S = 0.2
# A call without a result this long after its deadline will never have one.
GRACE_S = 10.0
# A burst is this many times as wide as what is under way otherwise.
BURST = 10
# A long task has this many times its duration.
STEADY_PATIENCE = 12
NUMBERS_A_PROCESS = 10**9
HUNG = "HUNG"
_TRY_AGAIN = {"UNAVAILABLE", "RESOURCE_EXHAUSTED"}


def inputs(number: int, seconds: float = 0.0, padding: int = 0) -> dict[str, Array]:
    """The inputs of a request that works for `seconds` seconds and carries `padding` bytes."""
    pad = np.full(padding, number % 251, np.uint8)
    pad[: padding // 2] = 255
    return {"number": np.array([number], np.int64), "seconds": np.array([seconds], np.float32), "padding": pad}


@dataclass
class Caller:
    """Makes calls and notes what became of each."""

    client: AsyncClient
    deployment: str
    numbers: Iterator[int]
    dice: random.Random
    large_bytes: int
    out: IO[str]

    async def small(self) -> None:
        """A short request with a generous deadline."""
        await self.call(next(self.numbers), "small", seconds=self.dice.uniform(0, 0.02))

    async def long(self) -> None:
        """One that is likely to be under way when its worker dies."""
        await self.call(next(self.numbers), "long", seconds=self.dice.uniform(0.3, 1.0))

    async def large(self) -> None:
        """A request and a response that travel beside the queue."""
        await self.call(next(self.numbers), "large", padding=self.large_bytes)

    async def named(self) -> None:
        """A request with an id, sent twice at once now and then, and again until it is answered."""
        number = next(self.numbers)
        seconds = self.dice.uniform(0, 0.05)
        calls = self.dice.choice((1, 1, 2))
        await asyncio.gather(*(self._until_answered(number, "named", seconds, DEADLINE_S) for _ in range(calls)))

    async def steady(self, seconds: float) -> None:
        """A long task with an id, sent again until it is answered."""
        await self._until_answered(next(self.numbers), "steady", seconds, STEADY_PATIENCE * seconds)

    async def short(self) -> None:
        """A deadline that is likely to pass."""
        seconds = self.dice.uniform(0, 0.1)
        await self.call(next(self.numbers), "short", seconds=seconds, deadline_s=self.dice.uniform(0.02, 0.1))

    async def hang_up(self) -> None:
        """A caller that loses patience."""
        number = next(self.numbers)
        call = asyncio.create_task(self.call(number, "hang-up", seconds=self.dice.uniform(0, 0.1)))
        await asyncio.wait([call], timeout=self.dice.uniform(0, 0.1))
        call.cancel()
        await asyncio.wait([call])

    async def call(
        self,
        number: int,
        kind: str,
        seconds: float = 0.0,
        padding: int = 0,
        deadline_s: float = DEADLINE_S,
        request_id: str = "",
    ) -> str:
        """Makes one call and notes its outcome, which it returns.

        Args:
            seconds: how long the model works.
            padding: bytes to send along and to get back.
            deadline_s: seconds that the call has.
        """
        arrays = inputs(number, seconds, padding)
        started = time.time()

        def note(code: str, message: str = "", token: int = 0, right: bool = True) -> str:
            call = Call(number, kind, request_id, started, time.time(), deadline_s, code, message, token, right)
            self.out.write(call.line())
            return code

        try:
            async with asyncio.timeout(deadline_s + GRACE_S):
                result = await self.client.infer(self.deployment, arrays, timeout_s=deadline_s, request_id=request_id)
        except KernelPortError as error:
            return note(error.code.name, error.message)
        except TimeoutError:
            return note(HUNG)
        except asyncio.CancelledError:
            note("CANCELLED", "hung up")
            raise
        right = int(result["answer"][0]) == 3 * number + 1 and np.array_equal(result["echo"], arrays["padding"][::-1])
        return note(OK, "", int(result["token"][0]), right)

    async def _until_answered(self, number: int, kind: str, seconds: float, deadline_s: float) -> None:
        options: dict[str, Any] = {"seconds": seconds, "deadline_s": deadline_s, "request_id": f"id-{number}"}
        while await self.call(number, kind, **options) in _TRY_AGAIN:  # noqa: ASYNC110 - a server sets no event
            await asyncio.sleep(RETRY_S)


async def run(
    target: str, deployment: str, out: Path, index: int, seed: int, width: int, large_bytes: int, steady_s: float
) -> None:
    """Keeps `width` calls under way until SIGTERM; with `steady_s`, only such that work for so many seconds."""
    stop, burst = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGUSR1, burst.set)

    def end() -> None:
        stop.set()
        burst.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, end)
    dice = random.Random(seed * 1000 + index)  # noqa: S311 - a mixture of calls, not a secret
    numbers = iter(range(index * NUMBERS_A_PROCESS, (index + 1) * NUMBERS_A_PROCESS))
    with out.open("a", buffering=1) as file:
        async with AsyncClient(target, max_retries=0) as client:
            caller = Caller(client, deployment, numbers, dice, large_bytes, file)
            kinds: list[Callable[[], Awaitable[None]]] = [caller.small, caller.large, caller.named, caller.short]
            kinds += [caller.hang_up, caller.small, caller.small, caller.named, caller.long]
            if steady_s:
                kinds = [lambda: caller.steady(steady_s)]

            async def keep_calling() -> None:
                while not stop.is_set():
                    await dice.choice(kinds)()
                    await asyncio.sleep(dice.uniform(0, 0.1))

            async def keep_bursting() -> None:
                while True:
                    await burst.wait()
                    if stop.is_set():
                        return
                    burst.clear()
                    await asyncio.gather(*(caller.call(next(numbers), "burst") for _ in range(BURST * width)))

            await asyncio.gather(keep_bursting(), *(keep_calling() for _ in range(width)))


@click.command()
@click.option("--target", required=True)
@click.option("--deployment", required=True)
@click.option("--out", required=True, type=click.Path(path_type=Path))
@click.option("--index", required=True, type=int)
@click.option("--seed", required=True, type=int)
@click.option("--width", required=True, type=int)
@click.option("--large-bytes", required=True, type=int)
@click.option("--steady-s", default=0.0)
def main(**options: Any) -> None:
    """The command."""
    asyncio.run(run(**options))


if __name__ == "__main__":
    main()
