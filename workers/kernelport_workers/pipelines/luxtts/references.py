"""Encoded voices: made once for a recording and its parameters, then kept in the worker and shared through Redis."""

import copy
import hashlib
import logging
from collections import OrderedDict
from typing import TYPE_CHECKING, Self

from redis import Redis
from redis.exceptions import RedisError

from kernelport.broker import keys, voices
from kernelport.broker.clock import clock
from kernelport.errors import UnavailableError
from kernelport.jobs.voices import JobVoices
from kernelport_workers.luxtts.errors import InvalidInputError
from kernelport_workers.pipelines.luxtts.inputs import invalid

if TYPE_CHECKING:
    from kernelport_workers.luxtts import Pipeline, Voice

log = logging.getLogger(__name__)

KEPT_HERE = 256
# In Redis, an encoding takes 0.2 MB for 5 s of speech and 1.1 MB for 30 s.
RECORDINGS_IN_REDIS = 500
ENCODINGS_OF_ONE = 8
RETRY_AFTER_S = 1.0


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

    def for_job(self, job: str) -> Self:
        """The same, with the registered voices that a job has pinned."""
        pinned = copy.copy(self)
        pinned._pinned = JobVoices(self._redis, job)
        return pinned

    def registered(self, tenant: str, name: str, rms: float, seconds: float, upstream: bool) -> "Voice":
        """The encoded voice that a tenant has registered under a name.

        Raises:
            InvalidArgumentError: when there is none, or its recording cannot be used; it names `voice`.
            UnavailableError: when Redis cannot be asked.
        """
        registry = self._pinned or voices.Registry(self._redis, tenant)
        try:
            known = registry.find(name)
            if known is not None:
                encoded = self._cached(known.sha256, known.transcript or None, rms, seconds, upstream)
                if encoded is not None:
                    return encoded
            # The name may stand for another recording by now: what is encoded is known by its own bytes.
            found = registry.read(name)
            if found is None:
                raise invalid("voice", voices.VoiceNotFoundError(name).message)
            voice, audio = found
            return self.given(audio, voice.transcript or None, rms, seconds, upstream)
        except RedisError as error:
            raise UnavailableError(f"voice: Redis cannot be asked: {error}", retry_after_s=RETRY_AFTER_S) from error
        except InvalidInputError as error:
            if error.field in ("prompt_audio", "prompt_text"):
                raise invalid("voice", f"the recording of {name!r}: {error.reason}") from error
            raise

    def given(self, audio: bytes, transcript: str | None, rms: float, seconds: float, upstream: bool) -> "Voice":
        """The encoded voice of a recording that came with a request.

        Raises:
            InvalidInputError: when the recording, its transcript or a parameter cannot be used.
        """
        sha256 = hashlib.sha256(audio).hexdigest()
        return self._cached(sha256, transcript, rms, seconds, upstream) or self._encode(
            sha256, audio, transcript, rms, seconds, upstream
        )

    def _cached(
        self, sha256: str, transcript: str | None, rms: float, seconds: float, upstream: bool
    ) -> "Voice | None":
        from kernelport_workers.luxtts import Voice, encoding_key

        field = encoding_key(self._identity, transcript, rms, seconds, upstream)
        key = sha256 + field
        if key in self._kept:
            self._kept.move_to_end(key)
            return self._kept[key]
        try:
            shared = self._read(sha256, field)
            return None if shared is None else self._keep(key, Voice.from_bytes(shared))
        except (RedisError, InvalidInputError) as error:
            log.warning("no shared encoding of a voice: %s", error)
            return None

    def _encode(
        self, sha256: str, audio: bytes, transcript: str | None, rms: float, seconds: float, upstream: bool
    ) -> "Voice":
        from kernelport_workers.luxtts import encoding_key

        voice = self._engine.encode_prompt(audio, transcript, seconds=seconds, rms=rms, upstream=upstream)
        field = encoding_key(self._identity, transcript, rms, seconds, upstream)
        try:
            self._share(sha256, field, voice.to_bytes())
        except RedisError as error:
            log.warning("the encoding of a voice is not shared: %s", error)
        return self._keep(sha256 + field, voice)

    def _keep(self, key: str, voice: "Voice") -> "Voice":
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
