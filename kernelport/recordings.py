"""Recordings as callers send them: decoded by a process of their own, whose memory and time are limited, and judged.

A small file may unpack to hours, and a library that decodes strangers' files may crash or never end over one: that
costs its caller an error, and nobody else anything.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from kernelport.tensors import Array

PATIENCE_S = 60.0
MIN_SPEECH_S, MAX_SPEECH_S = 0.5, 30.0
"""Of a voice's recording without the silence around it; at most so much where its words are given, all of which are
used."""

# A step of the levels, and which of them are silence: what is so far below the loudest, and what is below the last.
_STEP_S = 0.01
_QUIET_DB, _FLOOR_DB = -40.0, -65.0
_SILENCE = 10 ** (_FLOOR_DB / 20)
# What is kept of the silence before and behind the first and the last sound.
_LEAD_S, _TAIL_S = 0.3, 0.1
_LEAST_SOUND_S = 0.2
# The largest mean, of full scale.
_MOST_OFFSET = 0.1
# A sample that is within so much of the largest, and of its neighbour, has been cut off; so many in a hundred may be.
_FLAT = 1e-3
_MOST_CLIPPED_PERCENT = 1.0
# A sum of channels that is so much quieter than the loudest of them has lost what they have in common.
_LEAST_OF_PEAK = 0.02
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


def reference(audio: bytes, max_seconds: float, *, is_transcribed: bool) -> Recording:
    """Decodes a recording that is to be a voice, and judges whether it can be.

    Args:
        max_seconds: as for `decode`.
        is_transcribed: whether its words are given, so that all of it is used.

    Raises:
        RecordingError: it cannot be decoded or used; the message says what was expected.
    """
    recording = decode(audio, max_seconds)
    for problem in _problems(recording, is_transcribed):
        raise RecordingError(problem)
    return recording


def levels(samples: Array, sample_rate: int) -> Array:
    """The level of every 10 ms about their mean, in dB relative to full scale: F64[N]; what is left over is dropped."""
    step = max(1, round(_STEP_S * sample_rate))
    steps = samples[: len(samples) // step * step].reshape(-1, step).astype(np.float64)
    centred = steps - (samples.mean(dtype=np.float64) if len(samples) else 0.0)
    return np.asarray(10.0 * np.log10(np.square(centred).mean(axis=1) + 1e-12))


def is_loud(found: Array) -> Array:
    """Which of some levels are of sound: BOOL[N]."""
    return found > max(float(found.max(initial=_FLOOR_DB)) + _QUIET_DB, _FLOOR_DB)


def speech_in(samples: Array, sample_rate: int) -> slice:
    """Where the sound of a recording lies, with at most 0.3 s before and 0.1 s behind it; empty where all is silent."""
    step = max(1, round(_STEP_S * sample_rate))
    loud = np.flatnonzero(is_loud(levels(samples, sample_rate)))
    if not loud.size:
        return slice(0, 0)
    first = max(0, int(loud[0]) * step - int(_LEAD_S * sample_rate))
    return slice(first, min(len(samples), (int(loud[-1]) + 1) * step + int(_TAIL_S * sample_rate)))


def _problems(recording: Recording, is_transcribed: bool) -> Iterator[str]:
    """What speaks against a recording as a voice."""
    samples, rate = recording.samples, recording.sample_rate
    loudest = float(np.abs(samples).max(initial=0.0))
    if recording.peak < _SILENCE:
        yield "expected speech, got silence"
    elif loudest < _LEAST_OF_PEAK * recording.peak:
        yield f"expected channels that agree: mixed to one, the {recording.channels} of it cancel each other"
    if (offset := abs(float(samples.mean(dtype=np.float64)))) > _MOST_OFFSET:
        yield f"expected samples around zero, got a mean of {offset:.2f} of full scale; a high-pass filter removes it"
    span = speech_in(samples, rate)
    sound_s = np.count_nonzero(is_loud(levels(samples, rate))) * _STEP_S
    if not sound_s:
        yield "expected speech, got silence"
    speech_s = (span.stop - span.start) / rate
    if speech_s < MIN_SPEECH_S or sound_s < _LEAST_SOUND_S:
        yield f"expected at least {MIN_SPEECH_S:g} s of speech, got {min(speech_s, max(sound_s, _STEP_S)):.2f} s"
    if is_transcribed and speech_s > MAX_SPEECH_S:
        yield f"expected at most {MAX_SPEECH_S:g} s of speech where its words are given, got {speech_s:.2f} s"
    flat = (np.abs(samples[1:]) > (1 - _FLAT) * loudest) & (np.abs(np.diff(samples)) < _FLAT * loudest)
    if (clipped := 100 * float(flat.mean())) > _MOST_CLIPPED_PERCENT:
        yield f"expected a recording that is not clipped, got one with {clipped:.1f} % of its samples cut off"


def decode(audio: bytes, max_seconds: float) -> Recording:
    """Decodes a WAV, FLAC, OGG or MP3 file. No more of it is decoded than it may be long.

    Raises:
        RecordingError: when it is none of them, empty, longer than `max_seconds`, at another rate or of more channels
            than kernelport/decoder.py allows, has samples that are not finite, or takes more memory or time than
            decoding should.
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
    samples = np.frombuffer(bytearray(data), np.float32)
    if not samples.size:
        raise RecordingError("expected samples, got none")
    if not np.isfinite(samples).all():
        raise RecordingError("expected samples that are finite")
    return Recording(**told, samples=samples)
