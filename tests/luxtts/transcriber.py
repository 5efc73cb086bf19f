"""A transcriber for the tests: it writes down in a file what it hears, since it does so in a worker's process."""

import os
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

LOG = "TRANSCRIBER_LOG"
WORDS = "Words that were heard."


class Counting:
    """Hears the same words in everything."""

    def transcribe(self, wave: NDArray[np.float32]) -> str:
        with Path(os.environ[LOG]).open("a") as file:
            file.write(f"{len(wave)}\n")
        return WORDS


def heard() -> list[str]:
    """One line for each recording that was heard."""
    path = Path(os.environ[LOG])
    return path.read_text().splitlines() if path.exists() else []
