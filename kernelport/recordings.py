"""Recordings as callers send them: decoded by a process of their own, whose memory and time are limited.

A small file may unpack to hours, and a library that decodes strangers' files may crash or never end over one: that
costs its caller an error, and nobody else anything.
"""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from kernelport.tensors import Array

PATIENCE_S = 60.0
_DECODER = Path(__file__).with_name("decoder.py")
# Numeric libraries reserve memory for every thread that they may start.
_ENVIRONMENT = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}


class RecordingError(ValueError):
    """A recording cannot be used; the message says what was expected."""


@dataclass(frozen=True, eq=False)
class Recording:
    """A decoded recording.

    Attributes:
        format: WAV, FLAC, OGG or MP3.
        sample_rate: in Hz.
        channels: that the file has.
        peak: the largest sample of any channel, 0 and up.
        samples: F32[S], the mean of the channels.
    """

    format: str
    sample_rate: int
    channels: int
    peak: float
    samples: Array

    @property
    def seconds(self) -> float:
        """Its length."""
        return len(self.samples) / self.sample_rate


def decode(audio: bytes, max_seconds: float) -> Recording:
    """Decodes a WAV, FLAC, OGG or MP3 file. No more of it is decoded than it may be long.

    Raises:
        RecordingError: when it is none of them, longer than `max_seconds`, at another rate or of more channels than
            kernelport/decoder.py allows, or takes more memory or time than decoding should.
    """
    try:
        done = subprocess.run(
            [sys.executable, "-P", str(_DECODER), str(max_seconds)],
            input=audio,
            env={**os.environ, **_ENVIRONMENT},
            capture_output=True,
            timeout=PATIENCE_S,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise RecordingError(f"expected a recording that is decoded within {PATIENCE_S:g} s") from error
    header, _, data = done.stdout.partition(b"\n")
    if done.returncode or not header:
        raise RecordingError("expected a recording that can be decoded with little memory and time")
    told = json.loads(header)
    if "problem" in told:
        raise RecordingError(told["problem"])
    return Recording(**told, samples=np.frombuffer(bytearray(data), np.float32))
