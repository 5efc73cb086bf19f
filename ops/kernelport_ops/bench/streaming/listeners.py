"""Simulated listeners: each plays a text in real time from its first sound on, and then asks for another one."""

import asyncio
import contextlib
import multiprocessing
import random
import time
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field

import numpy as np

from kernelport import AsyncClient, Speech
from kernelport.errors import KernelPortError
from kernelport_ops.bench.texts import sentences

MODEL = "hibari-en"
# The first sample above -50 dBFS is the first that is heard.
AUDIBLE = 10 ** (-50 / 20)
# Sound that comes so much later than it was to be played is missed.
LATE_S = 0.02
# Sentences of a text, and how many of a hundred texts have so many.
LENGTHS = {1: 16, 2: 16, 3: 16, 5: 16, 8: 16, 12: 16, 40: 4}
LONGEST_PAUSE_S = 2.0
SENTENCES = 500
TIMEOUT_S = 3600.0

Ask = Callable[[AsyncClient, str], AsyncIterator[Speech]]
"""How speech is asked for: it comes in one piece or in several."""


@dataclass
class Heard:
    """What one listener has heard of one text.

    Attributes:
        began: when it was asked for, in seconds of the monotonic clock.
        waited_s: seconds to the first sound that is heard, or to the end.
        is_silent: whether there was none.
        underruns: how often nothing was there to be played in the middle.
        audio_s: seconds of speech that came.
        error: why there is no more, if something went wrong.
    """

    began: float = field(default_factory=time.monotonic)
    waited_s: float = 0.0
    is_silent: bool = True
    underruns: int = 0
    audio_s: float = 0.0
    error: str = ""


async def streamed(client: AsyncClient, text: str) -> AsyncIterator[Speech]:
    """The speech as it is made."""
    async with contextlib.aclosing(client.stream(MODEL, text)) as pieces:
        async for piece in pieces:
            yield piece


async def called(client: AsyncClient, text: str) -> AsyncIterator[Speech]:
    """The speech once all of it has been made."""
    yield await client.speak(MODEL, text)


async def listen(target: str, ask: Ask, listeners: int, seconds: float) -> list[Heard]:
    """What so many listeners have heard, each of one text after the other, until the time is over.

    Args:
        target: host:port of the front door.
    """
    heard: list[Heard] = []
    lines = sentences(SENTENCES)

    async def listener(client: AsyncClient, number: int) -> None:
        dice = random.Random(number)  # noqa: S311
        await asyncio.sleep(dice.uniform(0, min(seconds / 3, LONGEST_PAUSE_S + listeners * 0.1)))
        while True:
            (count,) = dice.choices(list(LENGTHS), list(LENGTHS.values()))
            start = dice.randrange(SENTENCES - count)
            text = " ".join(lines[start : start + count])
            heard.append(Heard())
            await _play(ask(client, text), heard[-1])
            await asyncio.sleep(dice.uniform(0, LONGEST_PAUSE_S))

    async with AsyncClient(target, timeout_s=TIMEOUT_S) as client:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds), asyncio.TaskGroup() as group:
                for number in range(listeners):
                    group.create_task(listener(client, number))
    for each in heard:
        if each.is_silent:
            each.waited_s = time.monotonic() - each.began
    return heard


def heard_aside(target: str, ask: Ask, listeners: int, seconds: float) -> list[Heard]:
    """What `listen` gives, from a process of its own: an event loop of gRPC leaves its traces in the next one."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        return pool.submit(_listen, target, ask, listeners, seconds).result()


def _listen(target: str, ask: Ask, listeners: int, seconds: float) -> list[Heard]:
    return asyncio.run(listen(target, ask, listeners, seconds))


async def _play(pieces: AsyncIterator[Speech], heard: Heard) -> None:
    """Plays speech to its end."""
    ends_at: float | None = None
    try:
        async for piece in pieces:
            now = time.monotonic()
            if ends_at is None:
                ends_at = now
                heard.waited_s, heard.is_silent = now + _silence_s(piece) - heard.began, False
            elif now > ends_at + LATE_S:
                heard.underruns += 1
                ends_at = now
            ends_at += piece.seconds
            heard.audio_s += piece.seconds
    except KernelPortError as error:
        heard.error = error.message
    if ends_at is not None:
        await asyncio.sleep(max(0.0, ends_at - time.monotonic()))


def _silence_s(piece: Speech) -> float:
    """Seconds before the first sound that is heard."""
    return float(np.argmax(np.abs(piece.audio) > AUDIBLE)) / piece.sample_rate


@dataclass(frozen=True)
class Figures:
    """What came of one level.

    Attributes:
        system: how the speech was asked for, and of which worker.
        listeners: at a time.
        texts: asked for; those without a sound by the end count with the time that they have waited.
        silent: of these.
        p50_ms, p95_ms, p99_ms: to the first sound.
        underruns: in all texts together.
        fed: share of the texts that were heard without one.
        audio_per_second: seconds of speech that came each second.
        cpu_per_audio: CPU seconds of the worker for each second of speech; its real-time factor on one core.
        errors: texts that broke off.
    """

    system: str
    listeners: int
    texts: int
    silent: int
    p50_ms: float
    p95_ms: float
    p99_ms: float
    underruns: int
    fed: float
    audio_per_second: float
    cpu_per_audio: float
    errors: int


def figures(system: str, listeners: int, heard: Sequence[Heard], seconds: float, cpu_s: float) -> Figures:
    """The figures of a level.

    Args:
        cpu_s: that the worker has taken.
    """
    waited_s = [each.waited_s for each in heard]
    p50, p95, p99 = np.percentile(waited_s, [50, 95, 99]) * 1000 if waited_s else (0.0, 0.0, 0.0)
    audio_s = sum(each.audio_s for each in heard)
    fed = [each for each in heard if not (each.is_silent or each.underruns or each.error)]
    return Figures(
        system=system,
        listeners=listeners,
        texts=len(heard),
        silent=sum(each.is_silent for each in heard),
        p50_ms=float(p50),
        p95_ms=float(p95),
        p99_ms=float(p99),
        underruns=sum(each.underruns for each in heard),
        fed=len(fed) / max(1, len(heard)),
        audio_per_second=audio_s / seconds,
        cpu_per_audio=cpu_s / audio_s if audio_s else 0.0,
        errors=sum(bool(each.error) for each in heard),
    )
