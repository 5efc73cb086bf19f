"""What becomes of a stream when a worker dies or stops, or its listener does not listen."""

import os
import re
import signal
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import grpc
import numpy as np
import pytest
from redis import Redis

from kernelport import Client, InternalError, Speech, tensors
from kernelport.broker import keys
from kernelport.config.settings import bundled_deployments
from kernelport.supervisor.stack import Stack
from kernelport.supervisor.worker_command import worker_command
from kernelport.tensors import Array
from kernelport.v1 import inference_pb2 as pb
from kernelport.v1 import inference_pb2_grpc
from tests.conftest import serving_stack, stack_settings
from tests.stack.models import pipeline, write_deployments
from tests.waiting import wait_for

TEXT = "The clocks were striking thirteen, and nobody on the stairs looked up at them. " * 12
LONG_TEXT = "The clocks were striking thirteen, and nobody on the stairs looked up at them. " * 600


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A stack whose workers may die."""
    with serving_stack(stack_settings(bundled_deployments()), ["hibari-en"], tmp_path_factory.mktemp("own")) as running:
        yield running


@pytest.fixture
def client(own: Stack) -> Iterator[Client]:
    with Client(own.target, timeout_s=100) as connected:
        yield connected


@pytest.fixture
def redis(own: Stack) -> Iterator[Redis]:
    with Redis.from_url(own.settings.redis_url) as connected:
        yield connected


@contextmanager
def another_worker(own: Stack, client: Client) -> Iterator["subprocess.Popen[bytes]"]:
    before = client.deployment("hibari-en").live_workers
    environment = {**os.environ, **own.settings.to_environment()}
    worker = subprocess.Popen(
        worker_command(["hibari-en"]), env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        wait_for(lambda: client.deployment("hibari-en").live_workers > before, 60)
        yield worker
    finally:
        worker.kill()
        worker.wait(30)


def in_hand(redis: Redis, worker: int | None = None) -> list[str]:
    """The batches that workers have in hand; or the one whose process this is."""
    found = []
    for tag in redis.zrange(keys.UNACKED_INDEX, 0, -1):  # type: ignore[union-attr]
        last = redis.lindex(keys.attempts(tag.decode()), -1)
        if last is not None and (worker is None or f"-{worker}".encode() in last):  # type: ignore[operator]
            found.append(tag.decode())
    return found


def joined(pieces: list[Speech]) -> Array:
    return np.concatenate([each.audio for each in pieces])


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_stream_outlives_its_worker(own: Stack, client: Client, redis: Redis, number: signal.Signals) -> None:
    text = 2 * TEXT  # more than is made for one who takes nothing: it stays in hand
    with another_worker(own, client) as worker:
        streams = [client.stream("hibari-en", text) for _ in range(6)]
        heard = [[next(stream)] for stream in streams]
        wait_for(lambda: bool(in_hand(redis, worker.pid)), 30)
        worker.send_signal(number)
        for pieces, stream in zip(heard, streams, strict=True):
            pieces += stream
        whole = client.speak("hibari-en", text).audio
        assert all(np.array_equal(joined(pieces), whole) for pieces in heard)
        wait_for(lambda: worker.poll() is not None, 30)
    assert not in_hand(redis)


def test_nothing_is_made_or_kept_for_a_listener_who_has_gone(own: Stack, client: Client, redis: Redis) -> None:
    stream = client.stream("hibari-en", LONG_TEXT)
    next(stream)
    assert in_hand(redis)
    stream.close()
    wait_for(lambda: not in_hand(redis), 10)
    wait_for(lambda: os.listdir(own.settings.shared_dir) == ["id"], 10)


def test_a_listener_who_takes_nothing_has_its_worker_pause(own: Stack, client: Client, redis: Redis) -> None:
    inputs = tensors.from_arrays({"text": np.frombuffer(LONG_TEXT.encode(), np.uint8)})
    with grpc.insecure_channel(own.target) as channel:
        stub = inference_pb2_grpc.InferenceServiceStub(channel)
        call = stub.InferStream(pb.InferRequest(model="hibari-en", inputs=inputs), timeout=100)
        next(call)
        wait_for(lambda: bool(redis.zcard(keys.PAUSED)), 60)
        assert client.speak("hibari-en", "Others are served meanwhile.").seconds > 1
        (batch,) = in_hand(redis)
        made = int(redis.hget(keys.progress(batch), "next") or 0)  # type: ignore[arg-type]
        assert made < 100, "of 600"
        for _ in range(2 * made):
            next(call)
        assert int(redis.hget(keys.progress(batch), "next") or 0) > made  # type: ignore[arg-type]
        call.cancel()
    wait_for(lambda: not redis.zcard(keys.PAUSED), 10)


def test_a_job_gives_way_between_pieces(client: Client) -> None:
    job = client.jobs.submit("hibari-en", [f"Item {number}. {TEXT}" for number in range(12)])
    wait_for(lambda: client.jobs.get(job.id).progress.running > 0, 30)
    stream = client.stream("hibari-en", TEXT)
    heard = [next(stream)]
    client.speak("hibari-en", TEXT)
    assert client.jobs.get(job.id).progress.succeeded < 12
    assert np.array_equal(joined([*heard, *stream]), client.speak("hibari-en", TEXT).audio)
    assert client.jobs.wait(job.id).progress.succeeded == 12


def test_items_of_a_job_are_taken_together(client: Client) -> None:
    job = client.jobs.submit("hibari-en", [f"Number {number}." for number in range(24)])
    assert client.jobs.wait(job.id).progress.succeeded == 24
    assert max(item.batch_size for item in client.jobs.items(job.id)) > 1


def test_what_it_keeps_of_a_request_is_gone_with_it(client: Client, redis: Redis) -> None:
    list(client.stream("hibari-en", TEXT))
    client.speak("hibari-en", TEXT)
    wait_for(lambda: not list(redis.scan_iter("kp:progress:*")), 10)


def test_who_kills_workers_takes_nobody_along(tmp_path: Path) -> None:
    file = write_deployments(tmp_path, counting=pipeline("Counting", limits={"max_attempts": 2}))
    with (
        serving_stack(stack_settings(file), ["counting"], tmp_path / "state") as stack,
        Client(stack.target, timeout_s=100) as client,
        ThreadPoolExecutor() as pool,
    ):

        def count(fatal: int) -> list[int]:
            inputs = {"count": np.array([60]), "fatal": np.array([fatal])}
            numbers: list[int] = client.infer("counting", inputs)["numbers"].tolist()
            return numbers

        counts = [pool.submit(count, fatal) for fatal in (-1, -1, 10, -1, -1)]
        with pytest.raises(InternalError, match="dead letter"):
            counts.pop(2).result()
        assert [each.result() for each in counts] == [list(range(60))] * 4
        (letter,) = client.dead_letters("counting")
        assert len(letter.attempts) == 2


def test_a_careless_model_fails_its_request_and_not_its_worker(tmp_path: Path) -> None:
    file = write_deployments(tmp_path, careless=pipeline("Careless"))
    with (
        serving_stack(stack_settings(file), ["careless"], tmp_path / "state") as stack,
        grpc.insecure_channel(stack.target) as channel,
    ):
        stub, worker = inference_pb2_grpc.InferenceServiceStub(channel), stack.children["worker-careless"].pid

        def counted(mistake: str, whole: bool) -> list[int]:
            inputs = tensors.from_arrays({"count": np.array([3]), "mistake": [mistake]})
            asked = pb.InferRequest(model="careless", inputs=inputs)
            answers = [stub.Infer(asked, timeout=20)] if whole else stub.InferStream(asked, timeout=20)
            return [number for each in answers for number in tensors.to_array(each.outputs[0]).tolist()]

        for mistake, told in {
            "raises": "the model failed: KeyError: 'an abacus'",
            "no frame": "expected 1 frames or errors, got NoneType",
            "no text": "cannot travel: TypeError: tensor 'names': a STRING element must be str or bytes, got int",
            "another dtype": "the model's pieces do not go together: ValueError: expected int64 [], got float64 []",
        }.items():
            for whole in (True,) if mistake == "another dtype" else (True, False):
                with pytest.raises(grpc.RpcError, match=re.escape(told)):
                    counted(mistake, whole)
        assert counted("", whole=True) == counted("", whole=False) == [0, 1, 2]
        assert stack.children["worker-careless"].pid == worker
