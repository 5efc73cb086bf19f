"""Registered voices: a recording and what is known of it, kept in Redis under a name until they are deleted."""

import contextlib
import hashlib
from collections.abc import Iterator

from redis import Redis
from redis.exceptions import WatchError

from kernelport.broker import keys, stored
from kernelport.broker.clock import clock
from kernelport.errors import AlreadyExistsError, FieldViolation, InvalidArgumentError, NotFoundError
from kernelport.names import is_voice_name
from kernelport.recordings import RecordingError, judged
from kernelport.v1.voice_pb2 import AddVoiceRequest, Voice

MAX_BYTES = 16 * 2**20
MAX_SECONDS = 60.0
MAX_TEXT = 2_000
MAX_VOICES = 1_000


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
        voice = checked(request.audio, is_transcribed=bool(request.transcript.strip()))
    except InvalidArgumentError as error:
        violations += error.violations
    if voice is None or violations:
        raise InvalidArgumentError.of(violations)
    voice.name, voice.owner = request.name, request.owner
    voice.transcript, voice.consent = request.transcript, request.consent
    voice.created_unix_us = clock.now_us()
    return voice


def checked(audio: bytes, *, is_transcribed: bool = False) -> Voice:
    """What is known of a recording that nobody has named yet; decodes all of it.

    Args:
        is_transcribed: whether its words are given.

    Raises:
        InvalidArgumentError: it cannot serve as a reference.
    """
    try:
        if len(audio) > MAX_BYTES:
            raise RecordingError(f"expected at most {MAX_BYTES} bytes, got {len(audio)}")
        recording = judged(audio, MAX_SECONDS, is_transcribed=is_transcribed)
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

    def keep_heard(self, name: str, sha256: str, words: str) -> None:
        """Keeps what a recording has been heard to say, if the name still stands for it."""
        with self._redis.pipeline(transaction=True) as pipeline, contextlib.suppress(WatchError):
            pipeline.watch(self._voices)  # type: ignore[no-untyped-call]
            voice = stored.readable(Voice, pipeline.hget(self._voices, name), keys.VOICES)  # type: ignore[arg-type]
            if voice is None or voice.sha256 != sha256 or voice.transcript:
                return
            voice.heard = words
            pipeline.multi()
            pipeline.hset(self._voices, name, voice.SerializeToString())
            pipeline.execute()


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
