"""Encoded voices: made once for a recording and its parameters, then kept in the worker and shared through Redis."""

import copy
import hashlib
import logging
import threading
from collections import OrderedDict
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Self

from redis import Redis
from redis.exceptions import RedisError

from kernelport.broker import keys, voices
from kernelport.broker.clock import clock
from kernelport.decoder import MAX_SPEECH_S
from kernelport.errors import UnavailableError
from kernelport.jobs.voices import JobVoices
from kernelport.v1.voice_pb2 import Voice as Registered
from kernelport_workers.luxtts.errors import DependencyError, InvalidInputError
from kernelport_workers.pipelines.luxtts.inputs import invalid

if TYPE_CHECKING:
    from kernelport_workers.luxtts import Pipeline, Voice

log = logging.getLogger(__name__)

KEPT_HERE = 256
# In Redis, an encoding takes 0.2 MB for 5 s of speech and 1.1 MB for 30 s.
RECORDINGS_IN_REDIS = 500
ENCODINGS_OF_ONE = 8
RETRY_AFTER_S = 1.0


@dataclass(frozen=True)
class Wanted:
    """A voice that a request asks for.

    Attributes:
        rms, seconds, upstream: as `Pipeline.encode_prompt` takes them.
        audio, transcript: a recording that came with the request, and its words, if they did.
        tenant, name: or else whose registered voice it is, and its name.
    """

    rms: float
    seconds: float
    upstream: bool
    audio: bytes = b""
    transcript: str | None = None
    tenant: str = ""
    name: str | None = None

    @cached_property
    def sha256(self) -> str:
        """Of the recording that came with the request."""
        return hashlib.sha256(self.audio).hexdigest()

    def of(self, voice: Registered) -> "Wanted":
        """The same of what a name stands for: of a voice without a transcript all that can be used is heard, so that
        its words are those of the whole."""
        if self.upstream:
            return replace(self, transcript=voice.transcript or None)
        return replace(self, transcript=voice.transcript or voice.heard or None, seconds=MAX_SPEECH_S)


class References:
    """Turns recordings into encoded voices, each once.

    Args:
        engine: encodes what is in no cache.
        redis: shares encoded voices between workers and holds the registered ones.
        identity: names what encodes: voices of another tokenizer or transcriber are not used.
    """

    def __init__(self, engine: "Pipeline", redis: Redis, identity: str) -> None:
        self._engine = engine
        self._redis = redis
        self._identity = identity
        self._pinned: JobVoices | None = None
        self._kept: OrderedDict[str, Voice] = OrderedDict()
        self._lock = threading.Lock()
        self._encoder = ThreadPoolExecutor(1, "encode-voice")

    def begin(self, wanted: "Wanted") -> "Future[Voice]":
        """The encoded voice that is wanted: at once where it is known, or else when a thread of its own has encoded it,
        which may take seconds where words have to be heard. Its errors are those of `registered` and `given`."""
        voice: Future[Voice] = Future()
        try:
            known = self.known(wanted)
        except Exception as error:
            voice.set_exception(error)
            return voice
        if known is None:
            return self._encoder.submit(self.encoded, wanted)
        voice.set_result(known)
        return voice

    def for_job(self, job: str) -> Self:
        """The same, with the registered voices that a job has pinned."""
        pinned = copy.copy(self)
        pinned._pinned = JobVoices(self._redis, job)
        return pinned

    def known(self, wanted: "Wanted") -> "Voice | None":
        """The voice that is wanted, if it has been encoded before.

        Raises:
            UnavailableError: when Redis cannot be asked about a name.
        """
        if wanted.name is None:
            return self._cached(wanted.sha256, wanted)
        with _asking_redis():
            found = self._registry(wanted).find(wanted.name)
        return None if found is None else self._cached(found.sha256, wanted.of(found))

    def encoded(self, wanted: "Wanted") -> "Voice":
        """The voice that is wanted; one that is not known is encoded.

        Raises:
            InvalidArgumentError: when no voice has this name, or its recording cannot be used; it names `voice`.
            InvalidInputError: when a recording, its transcript or a parameter cannot be used.
            DependencyError: when hearing its words takes a package that is not installed.
            UnavailableError: when Redis cannot be asked about a name.
        """
        known = self.known(wanted)
        if known is not None:
            return known
        if wanted.name is None:
            return self._encode(wanted.sha256, wanted.audio, wanted)
        registry = self._registry(wanted)
        # The name may stand for another recording by now: what is encoded is known by its own bytes.
        with _asking_redis():
            found = registry.read(wanted.name)
        if found is None:
            raise invalid("voice", voices.VoiceNotFoundError(wanted.name).message)
        registered, audio = found
        sha256, meant = hashlib.sha256(audio).hexdigest(), wanted.of(registered)
        try:
            voice = self._cached(sha256, meant) or self._encode(sha256, audio, meant)
        except (InvalidInputError, DependencyError) as error:
            if isinstance(error, InvalidInputError) and error.field not in ("prompt_audio", "prompt_text"):
                raise
            reason = error.reason if isinstance(error, InvalidInputError) else str(error)
            raise invalid("voice", f"the recording of {wanted.name!r}: {reason}") from error
        is_whole = not wanted.upstream and 0 < registered.seconds <= MAX_SPEECH_S
        if isinstance(registry, voices.Registry) and meant.transcript is None and is_whole:
            with _asking_redis():
                registry.keep_heard(wanted.name, sha256, voice.transcript)
        return voice

    def _registry(self, wanted: "Wanted") -> "JobVoices | voices.Registry":
        return self._pinned or voices.Registry(self._redis, wanted.tenant)

    def _cached(self, sha256: str, wanted: "Wanted") -> "Voice | None":
        from kernelport_workers.luxtts import Voice

        field = self._field(wanted)
        key = sha256 + field
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key]
        try:
            shared = self._read(sha256, field)
            return None if shared is None else self._keep(key, Voice.from_bytes(shared))
        except (RedisError, InvalidInputError) as error:
            log.warning("no shared encoding of a voice: %s", error)
            return None

    def _encode(self, sha256: str, audio: bytes, wanted: "Wanted") -> "Voice":
        voice = self._engine.encode_prompt(
            audio, wanted.transcript, seconds=wanted.seconds, rms=wanted.rms, upstream=wanted.upstream
        )
        field = self._field(wanted)
        try:
            self._share(sha256, field, voice.to_bytes())
        except RedisError as error:
            log.warning("the encoding of a voice is not shared: %s", error)
        return self._keep(sha256 + field, voice)

    def _field(self, wanted: "Wanted") -> str:
        from kernelport_workers.luxtts import encoding_key

        return encoding_key(self._identity, wanted.transcript, wanted.rms, wanted.seconds, wanted.upstream)

    def _keep(self, key: str, voice: "Voice") -> "Voice":
        with self._lock:
            self._kept[key] = voice
            if len(self._kept) > KEPT_HERE:
                self._kept.popitem(last=False)
        return voice

    def _read(self, sha256: str, field: str) -> bytes | None:
        key = keys.encoded_voice(sha256)
        with self._redis.pipeline(transaction=False) as pipeline:
            pipeline.hget(key, field)
            pipeline.expire(key, keys.ENCODED_VOICE_TTL_S)
            value: bytes | None = pipeline.execute()[0]
        return value

    def _share(self, sha256: str, field: str, encoded: bytes) -> None:
        key = keys.encoded_voice(sha256)
        with self._redis.pipeline() as pipeline:
            pipeline.hset(key, field, encoded)
            pipeline.expire(key, keys.ENCODED_VOICE_TTL_S)
            pipeline.zadd(keys.ENCODED_VOICES, {sha256: clock.now()})
            pipeline.expire(keys.ENCODED_VOICES, keys.ENCODED_VOICE_TTL_S)
            pipeline.hlen(key)
            pipeline.zrange(keys.ENCODED_VOICES, 0, -RECORDINGS_IN_REDIS - 1)
            encodings, oldest = pipeline.execute()[-2:]
        if encodings > ENCODINGS_OF_ONE:
            self._redis.delete(key)
        if oldest:
            self._redis.zrem(keys.ENCODED_VOICES, *oldest)
            self._redis.delete(*(keys.encoded_voice(each.decode()) for each in oldest))


@contextmanager
def _asking_redis() -> Iterator[None]:
    try:
        yield
    except RedisError as error:
        raise UnavailableError(f"voice: Redis cannot be asked: {error}", retry_after_s=RETRY_AFTER_S) from error
