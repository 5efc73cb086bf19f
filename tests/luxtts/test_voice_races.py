"""A voice is replaced or deleted between any two steps of those who use it: what they get is one voice, whole."""

from __future__ import annotations

import asyncio
import functools
import hashlib
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any
from unittest import mock

import grpc
import pytest
from redis import Connection, ConnectionPool, Redis
from redis import asyncio as aioredis

from kernelport import Client
from kernelport.broker import keys
from kernelport.errors import InvalidArgumentError
from kernelport.jobs import scripts
from kernelport.jobs import voices as job_voices
from kernelport.jobs.voices import JobVoices
from kernelport.supervisor.stack import Stack
from kernelport.v1 import job_pb2_grpc
from kernelport.v1.voice_pb2 import Voice as Registered
from kernelport_workers.luxtts import Pipeline
from kernelport_workers.pipelines.luxtts.references import References, Wanted
from tests.jobs.calls import JobCalls
from tests.luxtts.conftest import audio_file, spell, tone

Spoken = tuple[bytes, str]
"""A recording and what it says."""
Encodings = dict[Spoken | None, bytes | None]

FIRST: Spoken = audio_file(tone(0.8, level=0.2)), "Words."
OTHER: Spoken = audio_file(tone(1.1)), "Quite other words."
SAME_RECORDING: Spoken = FIRST[0], "Mended words."
CHANGES = pytest.mark.parametrize("then", [OTHER, SAME_RECORDING, None], ids=["replaced", "transcript", "deleted"])
PARAMETERS = (0.01, 5.0, False)


@pytest.fixture(scope="module")
def engine(tiny: Path) -> Iterator[Pipeline]:
    """It encodes each recording once: what comes of one is always the same."""
    engine = Pipeline.load(tiny, phonemize=spell)
    with mock.patch.object(engine, "encode_prompt", functools.cache(engine.encode_prompt)):
        yield engine


@pytest.fixture(scope="module")
def encodings(engine: Pipeline) -> Encodings:
    """What is right for each voice; for none, nothing."""
    return {None: None} | {
        spoken: engine.encode_prompt(*spoken, rms=PARAMETERS[0], seconds=PARAMETERS[1]).to_bytes()
        for spoken in (FIRST, OTHER, SAME_RECORDING)
    }


@pytest.fixture
def url(stack: Stack) -> str:
    return stack.settings.redis_url


@pytest.fixture
def redis(url: str) -> Iterator[Redis]:
    with Redis.from_url(url) as connected:
        yield connected


@pytest.fixture
def client(stack: Stack, redis: Redis) -> Iterator[Client]:
    with Client(stack.target, timeout_s=30) as connected:
        yield connected
        become(connected, redis, None)


@pytest.fixture
def open_job(stack: Stack, redis: Redis) -> Iterator[Callable[[], str]]:
    """Makes jobs that wait for items; in the end they are taken back, and nothing of their voices is left."""
    with grpc.insecure_channel(stack.target) as channel:
        jobs, made = JobCalls(job_pb2_grpc.JobServiceStub(channel)), []

        def make() -> str:
            made.append(jobs.submit("identity-onnx", [], open=True).id)
            return made[-1]

        yield make
    for job in made:
        scripts.run(redis, "discard", job)
    assert not redis.keys("kp:jobs:voices:*")
    assert not redis.keys("kp:jobs:recording:*")


def become(client: Client, redis: Redis, voice: Spoken | None) -> None:
    """The name `me` stands for this voice from now on, and nobody has encoded any."""
    change(client, voice)
    for key in redis.keys("kp:encoded-voice*"):
        redis.delete(key)


def change(client: Client, voice: Spoken | None) -> None:
    client.delete_voice("me")
    if voice is not None:
        client.add_voice("me", voice[0], transcript=voice[1], consent="A test.", owner="The tests.")


class Step:
    """Something that happens before one round trip of a client to Redis, counted from 0."""

    def __init__(self, number: int, action: Callable[[], None]) -> None:
        self._number, self._action, self._trips = number, action, None
        self.happened = False

    def begin(self) -> None:
        self._trips = count()

    def trip(self) -> None:
        if self._trips is not None and next(self._trips) == self._number:
            self.happened = True
            self._action()

    def client(self, url: str) -> Redis:
        step = self

        class Stepping(Connection):
            def send_packed_command(self, command: Any, check_health: bool = True) -> None:
                step.trip()
                super().send_packed_command(command, check_health)

        redis = Redis(connection_pool=ConnectionPool.from_url(url, connection_class=Stepping))
        redis.ping()
        self.begin()
        return redis

    async def async_client(self, url: str) -> aioredis.Redis:
        step = self

        class Stepping(aioredis.Connection):
            async def send_packed_command(self, command: Any, check_health: bool = True) -> None:
                step.trip()
                await super().send_packed_command(command, check_health)

        redis = aioredis.Redis(connection_pool=aioredis.ConnectionPool.from_url(url, connection_class=Stepping))
        await redis.ping()
        self.begin()
        return redis


def speech(worker: References) -> bytes | None:
    """How `me` is encoded; None when there is no such voice."""
    try:
        return worker.encoded(Wanted(*PARAMETERS, tenant="default", name="me")).to_bytes()
    except InvalidArgumentError:
        return None


def assert_caches_are_right(encodings: Encodings, engine: Pipeline, redis: Redis, *workers: References) -> None:
    """Who gives a recording gets its encoding, whatever a worker or Redis has kept of others."""
    for spoken in (FIRST, OTHER, SAME_RECORDING):
        for worker in (*workers, References(engine, redis, "one model")):
            assert worker.encoded(Wanted(*PARAMETERS, *spoken)).to_bytes() == encodings[spoken]


@CHANGES
def test_a_call_gets_one_voice_whole(
    encodings: Encodings, engine: Pipeline, url: str, redis: Redis, client: Client, then: Spoken | None
) -> None:
    for number in count():
        become(client, redis, FIRST)
        step = Step(number, lambda: change(client, then))
        worker = References(engine, step.client(url), "one model")
        assert speech(worker) in (encodings[FIRST], encodings[then])
        assert_caches_are_right(encodings, engine, redis, worker)
        if not step.happened:
            break
        assert speech(worker) == encodings[then]
    assert number >= 5, "reading, looking for its encoding, reading both, looking again, sharing"


@CHANGES
@pytest.mark.parametrize("is_pinned", [True, False], ids=["pinned", "found-by-a-worker"])
def test_a_job_gets_one_voice_for_good(
    encodings: Encodings,
    engine: Pipeline,
    url: str,
    redis: Redis,
    client: Client,
    open_job: Callable[[], str],
    then: Spoken | None,
    is_pinned: bool,
) -> None:
    for number in count():
        become(client, redis, FIRST)
        job = open_job()
        if is_pinned:
            assert JobVoices(redis, job).find("me") is not None
        step = Step(number, lambda: change(client, then))
        workers = [References(engine, each, "one model") for each in (step.client(url), redis)]
        spoken = [speech(worker.for_job(job)) for worker in workers]
        assert spoken[0] == spoken[1]
        assert spoken[0] in (encodings[FIRST], encodings[FIRST if is_pinned else then])
        assert_caches_are_right(encodings, engine, redis, *workers)
        if not step.happened:
            break
    assert number >= 5


@CHANGES
def test_a_submission_pins_a_recording_with_its_transcript(
    url: str, redis: Redis, client: Client, open_job: Callable[[], str], then: Spoken | None
) -> None:
    async def pin(step: Step, job: str) -> set[str]:
        async with await step.async_client(url) as stepping:
            return await job_voices.pin(stepping, job, ["me", "nobody"])

    for number in count():
        become(client, redis, FIRST)
        job = open_job()
        step = Step(number, lambda: change(client, then))
        pinned = asyncio.run(pin(step, job))
        change(client, then)
        found = JobVoices(redis, job).read("me")
        assert pinned == ({"me"} if found else set())
        if found is None:
            assert then is None
        else:
            voice, recording = found
            assert (recording, voice.transcript) in (FIRST, then)
            assert voice.sha256 == hashlib.sha256(recording).hexdigest()
        if not step.happened:
            break
    assert number >= 2, "reading, pinning"


def test_a_voice_as_version_0_1_0_has_kept_it_is_read_and_pinned(
    encodings: Encodings, engine: Pipeline, redis: Redis, client: Client, open_job: Callable[[], str]
) -> None:
    recording, transcript = FIRST
    voice = Registered(name="me", transcript=transcript, sha256=hashlib.sha256(recording).hexdigest())
    redis.hset(keys.VOICES, "me", voice.SerializeToString())
    redis.hset(keys.VOICE_RECORDINGS, "me", recording)
    worker = References(engine, redis, "one model")
    assert speech(worker) == encodings[FIRST]
    job = open_job()
    assert speech(worker.for_job(job)) == encodings[FIRST]
    become(client, redis, OTHER)
    assert speech(worker.for_job(job)) == encodings[FIRST]
    assert speech(worker) == encodings[OTHER]


def test_jobs_hold_one_recording_until_the_last_of_them_is_gone(
    redis: Redis, client: Client, open_job: Callable[[], str]
) -> None:
    become(client, redis, FIRST)
    jobs = [open_job() for _ in range(4)]
    assert all(JobVoices(redis, job).find("me") for job in jobs)
    become(client, redis, None)
    recording = keys.job_recording(hashlib.sha256(FIRST[0]).hexdigest())
    discarded, deleted, swept, succeeded = jobs
    assert redis.hget(recording, "bytes") == FIRST[0]
    scripts.run(redis, "discard", discarded)
    for job, outputs in ((deleted, 0), (swept, 1)):
        assert redis.hget(recording, "bytes") == FIRST[0]
        redis.hset(keys.job(job), "state", "cancelled")
        assert scripts.run(redis, "delete", job, "delete", outputs) == [b"ok"]
    assert redis.hget(recording, "bytes") == FIRST[0]
    redis.hset(keys.job(succeeded), "state", "finishing")
    assert scripts.run(redis, "finish", succeeded, 0, "succeeded", "", 3600, 60, 0, 0) == 1
    assert not redis.exists(recording)


def test_a_job_pins_voices_as_long_as_it_may_be_resumed(
    redis: Redis, client: Client, open_job: Callable[[], str]
) -> None:
    become(client, redis, FIRST)
    for state, pins in (("failed", True), ("succeeded", False)):
        job = open_job()
        redis.hset(keys.job(job), mapping={"state": state, "sealed": "1"})
        assert (JobVoices(redis, job).find("me") is not None) == pins
        redis.hset(keys.job(job), mapping={"state": "pending", "sealed": "0"})
