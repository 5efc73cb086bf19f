"""Encoded voices: made once, found by every worker, and dispensable."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from redis import Redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from kernelport.broker import keys
from kernelport.errors import InvalidArgumentError, UnavailableError
from kernelport.supervisor.ports import free_port
from kernelport.supervisor.stack import Stack
from kernelport.v1.voice_pb2 import Voice as Registered
from kernelport_workers.luxtts import InvalidInputError, Pipeline, Voice
from kernelport_workers.pipelines.luxtts import references
from kernelport_workers.pipelines.luxtts.references import References, Wanted
from tests.luxtts.conftest import audio_file, spell, tone

RECORDING = audio_file(tone(0.8, level=0.2))
PARAMETERS = (0.01, 5.0, False)
LONG = Wanted(*PARAMETERS, tenant="default", name="long")
SPOKEN = Wanted(*PARAMETERS, audio=RECORDING, transcript="Words.")


class Counting:
    """An engine that counts what it encodes."""

    def __init__(self, engine: Pipeline) -> None:
        self._engine = engine
        self.encoded = 0

    def encode_prompt(
        self, audio: bytes, text: str | None = None, *, seconds: float = 5.0, rms: float = 0.01, upstream: bool = False
    ) -> Voice:
        self.encoded += 1
        return self._engine.encode_prompt(audio, text, seconds=seconds, rms=rms, upstream=upstream)


@pytest.fixture
def engine(tiny: Path) -> Counting:
    return Counting(Pipeline.load(tiny, phonemize=spell))


@pytest.fixture
def redis(stack: Stack) -> Iterator[Redis]:
    with Redis.from_url(stack.settings.redis_url) as connected:
        yield connected
        for key in connected.keys("kp:encoded-voice*"):
            connected.delete(key)
        connected.delete(keys.VOICES, keys.VOICE_RECORDINGS)


def worker(engine: Counting, redis: Redis, identity: str = "one model") -> References:
    return References(engine, redis, identity)  # type: ignore[arg-type]


def test_a_recording_is_encoded_once_for_all_workers(engine: Counting, redis: Redis) -> None:
    first = worker(engine, redis)
    voice = first.encoded(SPOKEN)
    assert first.encoded(SPOKEN) is voice
    other = worker(engine, redis).encoded(SPOKEN)
    assert engine.encoded == 1
    assert (other.tokens, other.rms, other.transcript) == (voice.tokens, voice.rms, voice.transcript)
    assert other.features.tobytes() == voice.features.tobytes()


def test_other_parameters_and_other_models_are_encoded_anew(engine: Counting, redis: Redis) -> None:
    worker(engine, redis).encoded(SPOKEN)
    worker(engine, redis).encoded(replace(SPOKEN, rms=0.5))
    worker(engine, redis, "another model").encoded(SPOKEN)
    assert engine.encoded == 3


def test_what_redis_keeps_is_bounded(engine: Counting, redis: Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(references, "RECORDINGS_IN_REDIS", 2)
    here = worker(engine, redis)
    for index in range(4):
        here.encoded(replace(SPOKEN, audio=audio_file(tone(0.6 + index / 10))))
    kept = redis.keys("kp:encoded-voice:*")
    assert len(kept) == redis.zcard(keys.ENCODED_VOICES) == 2
    assert all(0 < redis.ttl(key) <= keys.ENCODED_VOICE_TTL_S for key in [*kept, keys.ENCODED_VOICES])
    monkeypatch.setattr(references, "ENCODINGS_OF_ONE", 2)
    for rms in (0.1, 0.2, 0.3):
        here.encoded(replace(SPOKEN, rms=rms))
    assert len(redis.keys("kp:encoded-voice:*")) == 1


def test_damaged_or_absent_redis_is_only_slower(engine: Counting, redis: Redis) -> None:
    worker(engine, redis).encoded(SPOKEN)
    (key,) = redis.keys("kp:encoded-voice:*")
    for field in redis.hkeys(key):
        redis.hset(key, field, b"junk")
    worker(engine, redis).encoded(SPOKEN)
    with Redis(port=free_port(), retry=Retry(NoBackoff(), 0)) as nowhere:
        away = worker(engine, nowhere)
        assert away.encoded(SPOKEN) is away.encoded(SPOKEN)
        with pytest.raises(UnavailableError, match="voice: Redis cannot be asked"):
            away.encoded(Wanted(*PARAMETERS, tenant="default", name="me"))
    assert engine.encoded == 3


def test_a_registered_recording_that_cannot_be_used_is_the_voices_fault(engine: Counting, redis: Redis) -> None:
    too_long = audio_file(tone(31.0))
    redis.hset(keys.VOICES, "long", Registered(name="long", transcript="Words.", sha256="0" * 64).SerializeToString())
    with pytest.raises(InvalidArgumentError, match="no voice is named 'long'"):
        worker(engine, redis).encoded(LONG)
    redis.hset(keys.VOICE_RECORDINGS, "long", too_long)
    with pytest.raises(
        InvalidArgumentError,
        match=r'inputs\["voice"\]: the recording of \'long\': expected at most 30 s of speech where its',
    ):
        worker(engine, redis).encoded(LONG)
    with pytest.raises(InvalidInputError, match="rms"):
        worker(engine, redis).encoded(replace(LONG, rms=2.0))
