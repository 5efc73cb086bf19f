"""Recordings as callers send them: decoded by a process of their own, whose memory and time are limited, and judged.

A small file may unpack to hours, and a library that decodes strangers' files may crash or never end over one: that
costs its caller an error, and nobody else anything.
"""

import contextlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, Any

import numpy as np

from kernelport.process import run_where_idle, stand_back
from kernelport.tensors import Array

PATIENCE_S = 60.0
# Of a recording that is judged while callers wait: so long it is decoded only where a core would idle; then as long as
# it takes, by a process that lets callers go first who send none.
IDLE_PATIENCE_S = 3.0
NICENESS = 10
_DECODER = Path(__file__).with_name("decoder.py")
# Numeric libraries reserve memory for every thread that they may start.
_ENVIRONMENT = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}


class RecordingError(ValueError):
    """A recording cannot be used; the message says what was expected."""


@dataclass(frozen=True)
class Facts:
    """What is known of a recording.

    Attributes:
        format: WAV, FLAC, OGG or MP3.
        sample_rate: in Hz.
        channels: that the file has.
        peak: the largest sample of any channel, 0 and up.
        seconds: its length.
    """

    format: str
    sample_rate: int
    channels: int
    peak: float
    seconds: float


@dataclass(frozen=True, eq=False)
class Recording(Facts):
    """A decoded recording.

    Attributes:
        samples: F32[S], the mean of the channels.
    """

    samples: Array


def judged(audio: bytes, max_seconds: float, *, is_transcribed: bool) -> Facts:
    """Decodes a recording that is to be a voice, and judges whether it can be; its samples do not come into this
    process.

    Args:
        max_seconds: as for `decode`.
        is_transcribed: whether its words are given, so that all of it is used.

    Raises:
        RecordingError: it cannot be decoded or used; the message says what was expected.
    """
    wanted = _judged(is_transcribed)
    if hasattr(os, "SCHED_IDLE"):
        with contextlib.suppress(subprocess.TimeoutExpired):  # no core idles: it is begun anew, with a low priority
            return Facts(**_run(audio, max_seconds, wanted, IDLE_PATIENCE_S, run_where_idle)[0])
    return Facts(**_run_patiently(audio, max_seconds, wanted)[0])


def reference(audio: bytes, max_seconds: float, *, is_transcribed: bool) -> Recording:
    """The same, with its samples."""
    return _recording(audio, max_seconds, *_judged(is_transcribed))


def decode(audio: bytes, max_seconds: float) -> Recording:
    """Decodes a WAV, FLAC, OGG or MP3 file. No more of it is decoded than it may be long.

    Raises:
        RecordingError: when it is none of them, empty, longer than `max_seconds`, at another rate or of more channels
            than kernelport/decoder.py allows, has samples that are not finite, or takes more memory or time than
            decoding should.
    """
    return _recording(audio, max_seconds)


def _judged(is_transcribed: bool) -> list[str]:
    return ["judged", "transcribed"] if is_transcribed else ["judged"]


def _recording(audio: bytes, max_seconds: float, *wanted: str) -> Recording:
    told, data = _run_patiently(audio, max_seconds, ["samples", *wanted])
    return Recording(**told, samples=np.frombuffer(bytearray(data), np.float32))


def _run_patiently(audio: bytes, max_seconds: float, wanted: Sequence[str]) -> tuple[dict[str, Any], bytes]:
    """The same as `_run`, with all the time that decoding may take."""
    try:
        return _run(audio, max_seconds, wanted, PATIENCE_S, partial(stand_back, NICENESS))
    except subprocess.TimeoutExpired as error:
        raise RecordingError(f"expected a recording that is decoded within {PATIENCE_S:g} s") from error


def _run(
    audio: bytes, max_seconds: float, wanted: Sequence[str], patience_s: float, defer: Callable[[int], None]
) -> tuple[dict[str, Any], bytes]:
    """What the decoder tells of a recording, and its samples if they are wanted.

    Args:
        defer: has a process let others go first.

    Raises:
        RecordingError: it cannot be decoded or used.
        subprocess.TimeoutExpired: the decoder takes longer than `patience_s` seconds; it has been ended.
    """
    with _in_memory() as file:  # through a pipe, Python would hand it over in thousands of small pieces
        file.write(audio)
        file.seek(0)
        with subprocess.Popen(
            [sys.executable, "-P", str(_DECODER), str(max_seconds), *wanted],
            stdin=file,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**os.environ, **_ENVIRONMENT},
            start_new_session=True,  # in ours, its priority would count beside our own threads only
        ) as decoder:
            try:
                defer(decoder.pid)  # before it has loaded its libraries
                answer, _ = decoder.communicate(timeout=patience_s)
            except BaseException:
                decoder.kill()
                raise
    header, _, data = answer.partition(b"\n")
    if decoder.returncode or not header:
        raise RecordingError("expected a recording that can be decoded with little memory and time")
    told = json.loads(header)
    if "problem" in told:
        raise RecordingError(told["problem"])
    return told, data


def _in_memory() -> IO[bytes]:
    """A file without a name, for a child to read."""
    if hasattr(os, "memfd_create"):
        return open(os.memfd_create("recording"), "w+b", buffering=0)
    return tempfile.TemporaryFile(buffering=0)
