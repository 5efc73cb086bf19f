"""Registered voices: a recording and what is known of it, kept in Redis under a name until they are deleted."""

import hashlib
import io
import re
import time
from collections.abc import Iterator

import numpy as np
import soundfile
from redis import Redis

from kernelport import keys
from kernelport.errors import AlreadyExistsError, FieldViolation, InvalidArgumentError, NotFoundError
from kernelport.v1.voice_pb2 import AddVoiceRequest, Voice

MAX_BYTES = 16 * 2**20
MIN_SECONDS, MAX_SECONDS = 0.5, 60.0
MAX_TEXT = 2_000
MAX_VOICES = 1_000

_NAME = re.compile(rb"[A-Za-z0-9]([A-Za-z0-9._-]{0,62}[A-Za-z0-9])?")
_FORMATS = ("WAV", "WAVEX", "FLAC", "OGG", "MP3")
_RATES = (4_000, 384_000)
_MAX_CHANNELS = 8
_BLOCK_FRAMES = 1 << 16
_SILENCE = 10 ** (-65 / 20)


class VoiceNotFoundError(NotFoundError):
    """No voice has this name."""

    reason = "VOICE_NOT_FOUND"

    def __init__(self, name: str) -> None:
        super().__init__(f"no voice is named {name[:64]!r}; `kernelport voices list` shows those there are")


class VoiceExistsError(AlreadyExistsError):
    """The name of the voice is taken."""

    reason = "VOICE_EXISTS"


def described(request: AddVoiceRequest) -> Voice:
    """What a request to add a voice amounts to; decodes the whole recording, which takes milliseconds.

    Raises:
        InvalidArgumentError: a field is missing or too long, or the recording cannot serve as a reference.
    """
    violations = [*_text_violations(request), *_audio_violations(request.audio)]
    if violations:
        raise InvalidArgumentError.of(violations)
    with soundfile.SoundFile(io.BytesIO(request.audio)) as file:
        return Voice(
            name=request.name,
            transcript=request.transcript,
            consent=request.consent,
            owner=request.owner,
            seconds=file.frames / file.samplerate,
            sample_rate=file.samplerate,
            channels=file.channels,
            format=file.format.removesuffix("EX"),
            bytes=len(request.audio),
            sha256=hashlib.sha256(request.audio).hexdigest(),
            created_unix_us=round(time.time() * 1e6),
        )


def is_name(value: bytes) -> bool:
    """Whether a voice can have this name."""
    return _NAME.fullmatch(value) is not None


class Registry:
    """The registered voices as workers see them. Every method raises RedisError when Redis cannot be asked."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    def find(self, name: str) -> Voice | None:
        """What is known of a voice."""
        value: bytes | None = self._redis.hget(keys.VOICES, name)  # type: ignore[assignment]
        return None if value is None else Voice.FromString(value)

    def read(self, name: str) -> tuple[Voice, bytes] | None:
        """A voice with its recording, both of the same moment: the name may stand for another one at the next."""
        with self._redis.pipeline(transaction=True) as pipeline:
            pipeline.hget(keys.VOICES, name)
            pipeline.hget(keys.VOICE_RECORDINGS, name)
            value, recording = pipeline.execute()
        return None if value is None or recording is None else (Voice.FromString(value), recording)


def _text_violations(request: AddVoiceRequest) -> Iterator[FieldViolation]:
    if not is_name(request.name.encode()):
        expected = "1 to 64 letters, digits, dots, dashes and underscores, a letter or digit at both ends"
        yield FieldViolation("name", f"expected {expected}, got {request.name[:64]!r}")
    for field in ("consent", "owner"):
        if not getattr(request, field).strip():
            yield FieldViolation(field, "expected a text that is not empty")
    for field in ("transcript", "consent", "owner"):
        length = len(getattr(request, field))
        if length > MAX_TEXT:
            yield FieldViolation(field, f"expected at most {MAX_TEXT} characters, got {length}")


def _audio_violations(audio: bytes) -> Iterator[FieldViolation]:
    if len(audio) > MAX_BYTES:
        yield FieldViolation("audio", f"expected at most {MAX_BYTES} bytes, got {len(audio)}")
        return
    try:
        finding = _audio_finding(audio)
    except (soundfile.LibsndfileError, RuntimeError, TypeError) as error:
        finding = f"expected a WAV, FLAC, OGG or MP3 file: {getattr(error, 'error_string', 'format not recognised')}"
    if finding:
        yield FieldViolation("audio", finding)


def _audio_finding(audio: bytes) -> str | None:
    with soundfile.SoundFile(io.BytesIO(audio)) as file:
        if file.format not in _FORMATS:
            return f"expected a WAV, FLAC, OGG or MP3 file, got {file.format}"
        if not _RATES[0] <= file.samplerate <= _RATES[1] or file.channels > _MAX_CHANNELS:
            return (
                f"expected {_RATES[0]} to {_RATES[1]} Hz and at most {_MAX_CHANNELS} channels, "
                f"got {file.samplerate} Hz and {file.channels}"
            )
        longest = int(MAX_SECONDS * file.samplerate)
        frames, peak = 0, 0.0
        for block in file.blocks(_BLOCK_FRAMES, dtype="float32", frames=longest + 1):
            frames += len(block)
            peak = max(peak, float(np.abs(block).max(initial=0.0)))
            if not np.isfinite(block).all():
                return "expected samples that are finite"
        if not MIN_SECONDS * file.samplerate <= frames <= longest:
            seconds = f"over {MAX_SECONDS:g}" if frames > longest else f"{frames / file.samplerate:.2f}"
            return f"expected {MIN_SECONDS:g} to {MAX_SECONDS:g} seconds, got {seconds}"
        return "expected speech, got silence" if peak < _SILENCE else None
