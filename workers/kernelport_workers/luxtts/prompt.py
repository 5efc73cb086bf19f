"""The reference recording: decoding, trimming, cutting at a pause, and the encoded voice that is worth caching."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import Any

import numpy as np
import safetensors.numpy
import soxr
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError

from kernelport import decoder, recordings
from kernelport_workers.luxtts import features
from kernelport_workers.luxtts.config import FEATURE_SCALE, SAMPLE_RATE
from kernelport_workers.luxtts.errors import InvalidInputError

MIN_SECONDS, MAX_SECONDS = decoder.MIN_SPEECH_S, decoder.MAX_SPEECH_S
"""Length of a reference after trimming."""

MAX_FILE_SECONDS = 600
"""Longest recording that is decoded at all."""

# Raise it when the same recording and parameters give another voice than before.
# What was kept under 1 may be of another recording than it says; under 2 and 3 transcripts were read by other rules.
_ENCODING = 4

_HOP = SAMPLE_RATE // 100


@dataclass(frozen=True, slots=True, eq=False)
class Voice:
    """An encoded reference; everything of it that generation needs.

    Attributes:
        tokens: Token ids of the transcript.
        features: Log-mel features times 0.1, float32 (frames, 100).
        rms: Root mean square of the recording as given.
        target_rms: Level to which a quieter recording was raised before the features were taken.
        transcript: What the recording says.
    """

    tokens: tuple[int, ...]
    features: NDArray[np.float32]
    rms: float
    target_rms: float
    transcript: str

    def to_bytes(self) -> bytes:
        """Serialise without pickle, for a cache or a voice registry."""
        fields = {"rms": self.rms, "target_rms": self.target_rms, "transcript": self.transcript}
        arrays: dict[str, NDArray[Any]] = {"tokens": np.array(self.tokens, dtype=np.int64), "features": self.features}
        return safetensors.numpy.save(arrays, metadata={"voice": json.dumps(fields)})

    @classmethod
    def from_bytes(cls, data: bytes) -> Voice:
        """Read what :meth:`to_bytes` wrote.

        Raises:
            InvalidInputError: The bytes are not an encoded voice.
        """
        try:
            header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
            fields: dict[str, Any] = json.loads(header["__metadata__"]["voice"])
            arrays = safetensors.numpy.load(data)
            return cls(
                tokens=tuple(arrays["tokens"].tolist()),
                features=arrays["features"],
                rms=float(fields["rms"]),
                target_rms=float(fields["target_rms"]),
                transcript=str(fields["transcript"]),
            )
        except (SafetensorError, ValueError, KeyError, TypeError, OverflowError) as error:
            raise InvalidInputError("voice", f"not an encoded voice: {error}") from error


def encoding_key(identity: str, transcript: str | None, rms: float, seconds: float, upstream: bool = False) -> str:
    """Cache key of how a recording is encoded; with a hash of the recording it names one encoded voice.

    Args:
        identity: Names the token table, phonemizer and transcriber.
    """
    parameters = [_ENCODING, identity, transcript, float(rms), float(seconds), upstream]
    return hashlib.sha256(json.dumps(parameters).encode()).hexdigest()


def decode(audio: bytes, *, is_transcribed: bool = False, upstream: bool = False) -> NDArray[np.float32]:
    """Decode a WAV, FLAC, OGG or MP3 file to mono float32 at 24 kHz.

    Args:
        is_transcribed: Whether its words are given, so that all of it is used.
        upstream: Take whatever can be decoded.

    Raises:
        InvalidInputError: ``prompt_audio`` cannot be decoded, or used as a reference.
    """
    try:
        if upstream:
            recording = recordings.decode(audio, MAX_FILE_SECONDS)
        else:
            recording = recordings.reference(audio, MAX_FILE_SECONDS, is_transcribed=is_transcribed)
    except recordings.RecordingError as error:
        raise InvalidInputError("prompt_audio", str(error)) from error
    return resample(recording.samples, recording.sample_rate, SAMPLE_RATE)


def resample(wave: NDArray[np.float32], rate: int, target: int) -> NDArray[np.float32]:
    """Resample mono audio with the high-quality setting of soxr."""
    if rate == target:
        return wave
    resampled: NDArray[np.float32] = soxr.resample(wave, rate, target, quality="HQ")
    return resampled


def cut_at_pause(wave: NDArray[np.float32], seconds: float) -> NDArray[np.float32]:
    """Shorten 24 kHz audio to at most ``seconds``, at the longest pause of the last 40 %, or its quietest moment."""
    limit = int(seconds * SAMPLE_RATE)
    if len(wave) <= limit:
        return wave
    all_levels = decoder.levels(wave, SAMPLE_RATE)
    quiet, levels = ~decoder.is_loud(all_levels), all_levels[: limit // _HOP]
    first = int(0.6 * len(levels))
    best, length, run = first + int(np.argmin(levels[first:])), 0, 0
    for frame in range(first, len(levels)):
        run = run + 1 if quiet[frame] else 0
        if run > length:
            best, length = frame - run // 2, run
    return wave[: (best + 1) * _HOP]


def prepare(
    wave: NDArray[np.float32], seconds: float | None, target_rms: float, upstream: bool = False
) -> tuple[NDArray[np.float32], NDArray[np.float32], float]:
    """Trim and cut a decoded reference and take its features.

    Args:
        wave: Mono 24 kHz audio.
        seconds: Longest part to use; None uses all of it.
        target_rms: Level to which quieter audio is raised.
        upstream: Cut hard at ``seconds`` and do not trim.

    Returns:
        The audio used (n,), its features (frames, 100) already scaled, and its root mean square as given.

    Raises:
        InvalidInputError: ``prompt_audio`` is too short to have features.
    """
    used = wave if upstream else wave[decoder.speech_in(wave, SAMPLE_RATE)]
    if seconds is not None:
        used = used[: int(seconds * SAMPLE_RATE)] if upstream else cut_at_pause(used, seconds)
    if len(used) < features.MIN_SAMPLES:
        raise InvalidInputError(
            "prompt_audio", f"expected at least {features.MIN_SAMPLES} samples at 24 kHz, got {len(used)}"
        )
    raised, level = features.raise_to(torch.from_numpy(np.ascontiguousarray(used)), target_rms)
    mel = features.log_mel(raised).mul_(FEATURE_SCALE)
    return used, np.ascontiguousarray(mel.numpy()), level
