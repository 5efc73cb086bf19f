"""Speaks many lines into audio files, several at a time."""

import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kernelport.audio import write_audio
from kernelport.client import Client
from kernelport.errors import KernelPortError


@dataclass(frozen=True)
class Line:
    """A text and the file its speech goes to."""

    text: str
    path: Path


@dataclass(frozen=True)
class Spoken:
    """What became of one line.

    Attributes:
        seconds: of audio; 0 when it failed.
        latency_s: seconds from the call to the answer.
        error: why there is no file; None when there is one.
    """

    line: Line
    seconds: float
    latency_s: float
    error: KernelPortError | None = None

    @property
    def real_time_factor(self) -> float:
        """Seconds of work per second of audio: below 1 is faster than real time."""
        return self.latency_s / self.seconds if self.seconds else float("inf")


def speak_lines(
    client: Client, deployment: str, lines: Sequence[Line], inputs: Mapping[str, Any], parallel: int
) -> Iterator[Spoken]:
    """Yields each line as it is done, in the order of completion.

    Args:
        inputs: the deployment's optional inputs, the same for every line.
        parallel: calls in flight at a time.
    """
    with ThreadPoolExecutor(parallel) as pool:
        futures = [pool.submit(_speak, client, deployment, line, inputs) for line in lines]
        try:
            for future in as_completed(futures):
                yield future.result()
        finally:
            for future in futures:
                future.cancel()


def _speak(client: Client, deployment: str, line: Line, inputs: Mapping[str, Any]) -> Spoken:
    started = time.monotonic()
    try:
        speech = client.speak(deployment, line.text, **inputs)
    except KernelPortError as error:
        return Spoken(line, 0.0, time.monotonic() - started, error)
    latency_s = time.monotonic() - started
    line.path.parent.mkdir(parents=True, exist_ok=True)
    write_audio(line.path, speech)
    return Spoken(line, speech.seconds, latency_s)
