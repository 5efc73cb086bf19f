"""Simulated listeners: they come at random, and each plays one text in real time from its first sound on."""

import asyncio
import contextlib
import multiprocessing
import random
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
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
# Sentences of a text, and how many of a hundred texts have so many; characters of a sentence, from and to.
LENGTHS = {1: 16, 2: 16, 3: 16, 5: 16, 8: 16, 12: 16, 40: 4}
CHARACTERS = (60, 90)
MEAN_SENTENCES = sum(count * share for count, share in LENGTHS.items()) / sum(LENGTHS.values())
LINES = [line for line in sentences(2000) if CHARACTERS[0] <= len(line) <= CHARACTERS[1]]
# The share of a level in which those who listen from its beginning come; nothing is counted in it.
WARM_UP = 0.25
TIMEOUT_S = 3600.0

Ask = Callable[[AsyncClient, str], AsyncIterator[Speech]]
"""How speech is asked for: it comes in one piece or in several."""


@dataclass(frozen=True)
class Level:
    """What one level has.

    Attributes:
        listeners: who play at a time, on average.
        seconds: how long it takes.
        sentence_s: seconds for which a sentence is heard, on average.
    """

    listeners: int
    seconds: float
    sentence_s: float

    def arrivals(self) -> Iterator[tuple[float, int]]:
        """When each listener comes, and how many sentences it hears; the same each time.

        Those who come later are a Poisson process, of so many that as many listen all the time. Those who listen from
        the beginning come within the warm-up, and hear the rest of a text: the longer a text, the likelier somebody is
        in the middle of it.
        """
        dice = random.Random(self.listeners)  # noqa: S311
        counts, shares = list(LENGTHS), list(LENGTHS.values())
        halfway = [count * share for count, share in LENGTHS.items()]
        for _ in range(self.listeners):
            yield dice.uniform(0, WARM_UP * self.seconds), dice.randint(1, dice.choices(counts, halfway)[0])
        rate = self.listeners / (MEAN_SENTENCES * self.sentence_s)
        at = dice.expovariate(rate)
        while at < self.seconds:
            yield at, dice.choices(counts, shares)[0]
            at += dice.expovariate(rate)


@dataclass
class Heard:
    """What one listener has heard of its text.

    Attributes:
        began: when it was asked for, in seconds of the monotonic clock.
        counts: whether it came behind the warm-up.
        waited_s: seconds to the first sound that is heard, or to the end.
        is_silent: whether there was none.
        plays: from when to when it played.
        underruns: when nothing was there to be played in the middle.
        audio_s: seconds of speech that came.
        error: why there is no more, if something went wrong.
    """

    began: float
    counts: bool
    waited_s: float = 0.0
    is_silent: bool = True
    plays: tuple[float, float] = (0.0, 0.0)
    underruns: list[float] = field(default_factory=list)
    audio_s: float = 0.0
    error: str = ""


@dataclass(frozen=True)
class Run:
    """What the listeners of a level have heard, and the time that counts, in seconds of the monotonic clock."""

    heard: list[Heard]
    since: float
    until: float


async def streamed(client: AsyncClient, text: str) -> AsyncIterator[Speech]:
    """The speech as it is made."""
    async with contextlib.aclosing(client.stream(MODEL, text)) as pieces:
        async for piece in pieces:
            yield piece


async def called(client: AsyncClient, text: str) -> AsyncIterator[Speech]:
    """The speech once all of it has been made."""
    yield await client.speak(MODEL, text)


def measured_sentence_s(target: str, count: int = 40) -> float:
    """Seconds for which a sentence is heard, its pause included."""
    return asyncio.run(_sentence_s(target, count))


async def _sentence_s(target: str, count: int) -> float:
    async with AsyncClient(target, timeout_s=TIMEOUT_S) as client:
        return (await client.speak(MODEL, " ".join(LINES[:count]))).seconds / count


async def listen(target: str, ask: Ask, level: Level) -> Run:
    """What the listeners of a level have heard until its time is over.

    Args:
        target: host:port of the front door.
    """
    heard: list[Heard] = []
    began = time.monotonic()
    since = began + WARM_UP * level.seconds

    async def listener(client: AsyncClient, number: int, at: float, count: int) -> None:
        await asyncio.sleep(began + at - time.monotonic())
        start = number * 7 % (len(LINES) - count)
        heard.append(Heard(time.monotonic(), began + at >= since))
        await _play(ask(client, " ".join(LINES[start : start + count])), heard[-1])

    async with AsyncClient(target, timeout_s=TIMEOUT_S) as client:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(level.seconds), asyncio.TaskGroup() as group:
                for number, (at, count) in enumerate(level.arrivals()):
                    group.create_task(listener(client, number, at, count))
                await asyncio.sleep(level.seconds)
    until = time.monotonic()
    for each in heard:
        if each.is_silent:
            each.waited_s = until - each.began
    return Run(heard, since, until)


def heard_aside(target: str, ask: Ask, level: Level) -> Run:
    """What `listen` gives, from a process of its own: an event loop of gRPC leaves its traces in the next one."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        return pool.submit(_listen, target, ask, level).result()


def _listen(target: str, ask: Ask, level: Level) -> Run:
    return asyncio.run(listen(target, ask, level))


async def _play(pieces: AsyncIterator[Speech], heard: Heard) -> None:
    """Plays speech to its end."""
    ends_at: float | None = None
    try:
        async for piece in pieces:
            now = time.monotonic()
            if ends_at is None:
                ends_at = now
                heard.waited_s, heard.is_silent = now + _silence_s(piece) - heard.began, False
                heard.plays = (now, now)
            elif now > ends_at + LATE_S:
                heard.underruns.append(now)
                ends_at = now
            ends_at += piece.seconds
            heard.plays = (heard.plays[0], ends_at)
            heard.audio_s += piece.seconds
    except KernelPortError as error:
        heard.error = error.message


def _silence_s(piece: Speech) -> float:
    """Seconds before the first sound that is heard."""
    return float(np.argmax(np.abs(piece.audio) > AUDIBLE)) / piece.sample_rate


@dataclass(frozen=True)
class Figures:
    """What came of one level.

    Attributes:
        system: how the speech was asked for, and of which worker.
        listeners: at a time, as many as were meant to be.
        playing: at a time, as many as were.
        texts: asked for behind the warm-up; those without a sound by the end count with the time that they have waited.
        silent: of these.
        p50_ms, p95_ms, p99_ms: to the first sound.
        underruns: of all listeners together, behind the warm-up.
        audio_per_second: seconds of speech that came each second of the level.
        cpu_per_audio: CPU seconds of the worker for each second of speech; its real-time factor on one core.
        errors: texts that broke off.
    """

    system: str
    listeners: int
    playing: float
    texts: int
    silent: int
    p50_ms: float
    p95_ms: float
    p99_ms: float
    underruns: float
    audio_per_second: float
    cpu_per_audio: float
    errors: int


def figures(system: str, level: Level, run: Run, cpu_s: float) -> Figures:
    """The figures of a level.

    Args:
        cpu_s: that the worker has taken.
    """
    counted = [each for each in run.heard if each.counts]
    waited_s = [each.waited_s for each in counted]
    p50, p95, p99 = np.percentile(waited_s, [50, 95, 99]) * 1000 if waited_s else (0.0, 0.0, 0.0)
    audio_s = sum(each.audio_s for each in run.heard)
    played_s = sum(max(0.0, min(each.plays[1], run.until) - max(each.plays[0], run.since)) for each in run.heard)
    return Figures(
        system=system,
        listeners=level.listeners,
        playing=played_s / (run.until - run.since),
        texts=len(counted),
        silent=sum(each.is_silent for each in counted),
        p50_ms=float(p50),
        p95_ms=float(p95),
        p99_ms=float(p99),
        underruns=sum(at >= run.since for each in run.heard for at in each.underruns),
        audio_per_second=audio_s / level.seconds,
        cpu_per_audio=cpu_s / audio_s if audio_s else 0.0,
        errors=sum(bool(each.error) for each in run.heard),
    )


def fed(rows: Sequence[Figures], system: str, p95_ms: float) -> int:
    """The most listeners whom a system feeds without an underrun and with a first sound that is soon enough."""
    return max(
        (
            row.listeners
            for row in rows
            if row.system == system and not (row.underruns or row.errors) and row.p95_ms <= p95_ms
        ),
        default=0,
    )
