"""Registered voices: a recording and what is known of it, kept in Redis under a name until they are deleted."""

import hashlib
from collections.abc import Iterator

import numpy as np
from redis import Redis

from kernelport.broker import keys, stored
from kernelport.broker.clock import clock
from kernelport.errors import AlreadyExistsError, FieldViolation, InvalidArgumentError, NotFoundError
from kernelport.names import is_voice_name
from kernelport.recordings import Recording, RecordingError, decode
from kernelport.v1.voice_pb2 import AddVoiceRequest, Voice

MAX_BYTES = 16 * 2**20
MIN_SECONDS, MAX_SECONDS = 0.5, 60.0
MAX_TEXT = 2_000
MAX_VOICES = 1_000

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
    """What a request to add a voice amounts to; decodes the whole recording, which takes some tenths of a second.

    Raises:
        InvalidArgumentError: a field is missing or too long, or the recording cannot serve as a reference.
    """
    violations = list(_text_violations(request))
    voice: Voice | None = None
    try:
        voice = checked(request.audio)
    except InvalidArgumentError as error:
        violations += error.violations
    if voice is None or violations:
        raise InvalidArgumentError.of(violations)
    voice.name, voice.owner = request.name, request.owner
    voice.transcript, voice.consent = request.transcript, request.consent
    voice.created_unix_us = clock.now_us()
    return voice


def checked(audio: bytes) -> Voice:
    """What is known of a recording that nobody has named yet; decodes all of it.

    Raises:
        InvalidArgumentError: it cannot serve as a reference.
    """
    try:
        recording = _recording(audio)
    except RecordingError as error:
        raise InvalidArgumentError.of([FieldViolation("audio", str(error))]) from error
    return Voice(
        seconds=recording.seconds,
        sample_rate=recording.sample_rate,
        channels=recording.channels,
        format=recording.format,
        bytes=len(audio),
        sha256=hashlib.sha256(audio).hexdigest(),
    )


class Registry:
    """The registered voices of a tenant as workers see them. Every method raises RedisError when Redis cannot be
    asked."""

    def __init__(self, redis: Redis, tenant: str) -> None:
        self._redis = redis
        self._voices, self._recordings = (keys.owned(key, tenant) for key in (keys.VOICES, keys.VOICE_RECORDINGS))

    def find(self, name: str) -> Voice | None:
        """What is known of a voice."""
        value: bytes | None = self._redis.hget(self._voices, name)  # type: ignore[assignment]
        return stored.readable(Voice, value, keys.VOICES)

    def read(self, name: str) -> tuple[Voice, bytes] | None:
        """A voice with its recording, both of the same moment: the name may stand for another one at the next."""
        with self._redis.pipeline(transaction=True) as pipeline:
            pipeline.hget(self._voices, name)
            pipeline.hget(self._recordings, name)
            value, recording = pipeline.execute()
        voice = stored.readable(Voice, value, keys.VOICES)
        return None if voice is None or recording is None else (voice, recording)


def _text_violations(request: AddVoiceRequest) -> Iterator[FieldViolation]:
    if not is_voice_name(request.name.encode()):
        expected = "1 to 64 letters, digits, dots, dashes and underscores, a letter or digit at both ends"
        yield FieldViolation("name", f"expected {expected}, got {request.name[:64]!r}")
    for field in ("consent", "owner"):
        if not getattr(request, field).strip():
            yield FieldViolation(field, "expected a text that is not empty")
    for field in ("transcript", "consent", "owner"):
        length = len(getattr(request, field))
        if length > MAX_TEXT:
            yield FieldViolation(field, f"expected at most {MAX_TEXT} characters, got {length}")


def _recording(audio: bytes) -> Recording:
    """A recording that can serve as a reference.

    Raises:
        RecordingError: when it cannot.
    """
    if len(audio) > MAX_BYTES:
        raise RecordingError(f"expected at most {MAX_BYTES} bytes, got {len(audio)}")
    recording = decode(audio, MAX_SECONDS)
    if not np.isfinite(recording.samples).all():
        raise RecordingError("expected samples that are finite")
    if recording.seconds < MIN_SECONDS:
        raise RecordingError(f"expected {MIN_SECONDS:g} to {MAX_SECONDS:g} seconds, got {recording.seconds:.2f}")
    if recording.peak < _SILENCE:
        raise RecordingError("expected speech, got silence")
    return recording
