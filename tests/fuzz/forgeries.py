"""What Redis may hold that nobody of ours wrote: of every kind that a front door or a worker reads."""

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from google.protobuf.empty_pb2 import Empty
from hypothesis import strategies as st
from redis import Redis

from kernelport.broker import keys
from kernelport.broker.queues import celery_message, job_message, job_queue_key, queue_keys, queue_name
from kernelport.internal.v1.job_store_pb2 import BatchResult, Page
from kernelport.internal.v1.queue_pb2 import Batch, FrontDoorRecord, Reply, WorkerRecord
from kernelport.signature import Signature
from kernelport.v1 import job_pb2, job_pb2_grpc
from kernelport.v1.dead_letter_pb2 import Attempt, DeadLetter, GetDeadLetterRequest
from kernelport.v1.deployment_pb2 import GetDeploymentRequest
from kernelport.v1.inference_pb2 import InferRequest, InferResponse
from kernelport.v1.voice_pb2 import GetVoiceRequest, Voice
from tests.fuzz.methods import Method, all_methods, call, check_ending
from tests.fuzz.target import Target
from tests.fuzz.values import garbled, json_values, messages, serialized, texts
from tests.fuzz.world import FUZZED, LEASE_S, UNSERVED, World
from tests.jobs.calls import JobCalls, tiny
from tests.waiting import wait_for

# Every background thread looks at least once in this time.
HELD_S = 1.2
FORGED = "forged"
# Names and tags that Redis may hold as bytes of any kind.
_names = texts.map(str.encode) | st.binary(max_size=12) | st.just(FORGED.encode())
_a_field = st.just(FORGED)
_numbers = st.sampled_from([b"-1", b"0", b"1", b"9" * 18, b"9" * 30, b"nan", b"\xff"])


@dataclass(frozen=True)
class Place:
    """Where a value stands.

    Attributes:
        values: what may stand there.
        put: puts one there.
        take_back: as it was.
    """

    name: str
    values: st.SearchStrategy[Any]
    put: Callable[[Redis, Any], Any]
    take_back: Callable[[Redis, Any], Any] = lambda redis, value: None


def forgeries(world: World, seed: int) -> list[Target]:
    """Some values at a time, in any of these places."""
    jobs = JobCalls(job_pb2_grpc.JobServiceStub(world.channel))
    unserved = UNSERVED[seed % len(UNSERVED)]
    places = {place.name: place for place in [*_shared_places(), *_deployment_places(unserved)]}
    named = {method.name: method for method in all_methods()}

    def check(example: Sequence[tuple[str, Any]]) -> None:
        job = jobs.wait(jobs.submit(FUZZED, [tiny("a"), tiny("b")]).id).id
        found = {**places, **{place.name: place for place in _job_places(job)}}
        try:
            for name, value in example:
                found[name].put(world.redis, value)
            _look_around(world, named, job, unserved)
            time.sleep(HELD_S)  # for what looks by itself
        finally:
            for name, value in reversed(example):
                found[name].take_back(world.redis, value)
        world.check()
        wait_for(lambda: not any(world.redis.llen(key) for key in queue_keys(FUZZED)), what="the queue is empty")
        wait_for(lambda: not world.redis.zcard(keys.UNACKED_INDEX), what="every delivery is over")
        world.check()

    every = [*places.values(), *_job_places("-")]
    one = st.sampled_from(every).flatmap(lambda place: st.tuples(st.just(place.name), place.values))
    return [Target("forgeries", st.lists(one, min_size=4, max_size=16), check, most=12, shrinks=False)]


def _look_around(world: World, named: dict[str, Method], job: str, unserved: str) -> None:
    """Asks for everything that may lead to what was put somewhere."""
    about_job = job_pb2.GetJobRequest(job_id=job)  # job_id is the first field of each of these
    about_letter = GetDeadLetterRequest(deployment=FUZZED, id=FORGED)
    x = tiny("a").inputs
    asked = [
        *((name, about_job) for name in ("GetJob", "ListItems", "WatchJob", "GetManifest", "CancelJob", "ResumeJob")),
        *((name, Empty()) for name in ("ListJobs", "ListVoices", "ListDeployments")),
        *((name, about_letter) for name in ("ListDeadLetters", "GetDeadLetter", "ReplayDeadLetter")),
        ("GetItemOutput", job_pb2.GetItemOutputRequest(job_id=job, item_id="a")),
        ("GetVoice", GetVoiceRequest(name=FORGED)),
        ("GetDeployment", GetDeploymentRequest(name=unserved)),
        ("Infer", InferRequest(model=FUZZED, inputs=x, request_id=FORGED)),
        (
            "SubmitJob",
            job_pb2.SubmitJobRequest(request_id=FORGED, spec=job_pb2.JobSpec(deployment=FUZZED), items=[tiny("a")]),
        ),
    ]
    for name, request in asked:
        check_ending(named[name], call(world.channel, named[name], [request.SerializeToString()]), forged=True)
    # Nobody runs it: it is about what Redis says of the model.
    waiting = InferRequest(model=unserved, inputs=x).SerializeToString()
    check_ending(named["Infer"], call(world.channel, named["Infer"], [waiting], timeout_s=0.3), forged=True)


def _shared_places() -> list[Place]:
    """What all deployments share."""
    return [
        _record("worker", keys.WORKERS, keys.worker, serialized(WorkerRecord)),
        _record("front-door", keys.FRONT_DOORS, keys.front_door, serialized(FrontDoorRecord)),
        Place("reply", serialized(Reply), _reply),
        Place("cancelled", _names, lambda redis, value: redis.zadd(keys.CANCELLED, {value: time.time()})),
        _hash("voice", keys.VOICES, serialized(Voice)),
        _hash("voice-recording", keys.VOICE_RECORDINGS, st.binary(max_size=40)),
        *(
            _set(name, getattr(keys, name))
            for name in ("FINISHING_JOBS", "EXPIRING_JOBS", "DELETING_JOBS", "JOB_HOOKS")
        ),
        _set("jobs", keys.JOBS),
    ]


def _deployment_places(unserved: str) -> list[Place]:
    """What there is of each deployment."""
    known = {"deployment": st.just(FUZZED), "id": st.just(FORGED), "front_door": st.just(FORGED)}
    request = serialized(InferRequest, {"model": st.just(FUZZED), "tensor": st.just("x")})
    batches = messages(Batch, known | {"BatchItem.request": request}).map(celery_message)
    tickets = st.sampled_from([job_message(FUZZED, FORGED), job_message("x", "y")])
    entries = batches | tickets | garbled(batches | tickets) | st.binary(max_size=40)
    taken = st.fixed_dictionaries({"worker": texts, "slice": json_values, "job": texts, "attempt": texts}) | json_values
    letters = serialized(DeadLetter, {"DeadLetter.request": request})
    return [
        Place("entry", entries, lambda redis, value: redis.lpush(queue_name(FUZZED), value)),
        Place("job-entry", entries, lambda redis, value: redis.lpush(job_queue_key(FUZZED), value)),
        Place("delivery", st.tuples(_names, _deliveries(entries), serialized(Attempt)), _deliver),
        Place("signature", serialized(Signature), lambda redis, value: redis.set(keys.signature(unserved), value)),
        _set("active", keys.active_jobs(FUZZED)),
        _hash("taken", keys.taken_slices(FUZZED), taken.map(json.dumps).map(str.encode) | st.binary(max_size=20)),
        _hash("dead-letter", keys.dead_letters(FUZZED), letters),
        _hash("kept", keys.kept(FUZZED), _numbers, fields=_numbers),
        _hash("result", keys.result(FORGED), serialized(InferResponse), fields=st.sampled_from(["digest", "response"])),
        _hash("job-request", keys.job_request(FORGED), _names, fields=st.sampled_from(["job", "digest"])),
    ]


def _job_places(job: str) -> list[Place]:
    """What there is of a job."""
    number = st.sampled_from(
        [b"-1", b"0", b"1", b"9" * 18, b"9" * 30, b"1e3", b"nan", b"", b"\xff", b"running", b"deleting"]
    )
    parts = {"pages": serialized(Page), "states": st.binary(max_size=4), "attempts": st.binary(max_size=4)}
    fields = (
        "state",
        "spec",
        "items",
        "succeeded",
        "failed",
        "running",
        "reason",
        "ending",
        "sealed",
        "deployment",
        "pages",
    )
    fields += ("created", "expires", "retention_s", "round", "log_length", "total_cost", "deadline", "has_webhook")
    hooks = ("event", "body", "kind", "tries", "since", "started", "finished", "done", "at")
    return [
        _hash("job", keys.job(job), number | serialized(job_pb2.JobSpec), fields=st.sampled_from(fields)),
        _hash("hook", keys.job(job, "hook"), number, fields=st.sampled_from(hooks)),
        *(_hash(part, keys.job(job, part), values, fields=st.just("0")) for part, values in parts.items()),
        _hash("index", keys.job(job, "index"), number | st.sampled_from([b"1-0 2-0", b"x y"]), fields=st.just("0")),
        Place("spec", serialized(job_pb2.JobSpec), lambda redis, value: redis.set(keys.job(job, "spec"), value)),
        Place("log", serialized(BatchResult), lambda redis, value: redis.xadd(keys.job(job, "log"), {"result": value})),
        Place("voices", _names, lambda redis, value: redis.hset(keys.job_voices(job), FORGED, value)),
    ]


def _set(name: str, key: str) -> Place:
    """A sorted set of jobs."""
    return Place(
        name, _names, lambda redis, value: redis.zadd(key, {value: 1}), lambda redis, value: redis.zrem(key, value)
    )


def _hash(name: str, key: str, values: Any, fields: Any = _a_field) -> Place:
    """A field of a hash."""

    def put(redis: Redis, value: tuple[str, bytes]) -> None:
        redis.hset(key, *value)

    return Place(name, st.tuples(fields, values), put, lambda redis, value: redis.hdel(key, value[0]))


def _record(name: str, index: str, key: Callable[[str], str], values: Any) -> Place:
    """A record of somebody who lives."""

    def put(redis: Redis, value: bytes) -> None:
        redis.set(key(FORGED), value)
        redis.sadd(index, FORGED, b"\xff")

    def take_back(redis: Redis, value: bytes) -> None:
        redis.delete(key(FORGED))
        redis.srem(index, FORGED, b"\xff")

    return Place(name, values, put, take_back)


def _reply(redis: Redis, value: bytes) -> None:
    for front_door in redis.smembers(keys.FRONT_DOORS):
        redis.lpush(keys.replies(front_door.decode(errors="replace")), value)


@st.composite
def _deliveries(draw: Any, entries: st.SearchStrategy[bytes]) -> bytes:
    """Records of delivered messages, as kombu keeps them."""
    entry = draw(entries)
    try:
        message = json.loads(entry)
    except ValueError:
        return entry
    record = draw(
        st.sampled_from([[message, "", queue_name(FUZZED)], [message, "", draw(texts)], [message]]) | json_values
    )
    return json.dumps(record).encode()


def _deliver(redis: Redis, value: tuple[bytes, bytes, bytes]) -> None:
    tag, record, attempt = value
    redis.hset(keys.UNACKED, tag, record)
    redis.zadd(keys.UNACKED_INDEX, {tag: time.time() - LEASE_S + 1})
    redis.rpush(b"kp:attempts:" + tag, attempt)
    redis.expire(b"kp:attempts:" + tag, 10)
