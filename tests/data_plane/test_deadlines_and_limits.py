"""Requests that are late, given up, too many, or repeated."""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import grpc
import numpy as np
import pytest

from kernelport import AlreadyExistsError, DeadlineExceededError, ResourceExhaustedError, tensors
from kernelport.v1 import inference_pb2, inference_pb2_grpc
from tests.data_plane.conftest import Plane
from tests.stack.models import HELD
from tests.waiting import wait_for

Start = Callable[..., Plane]


def test_a_hundred_requests_past_their_deadline_never_reach_the_model(running: Plane) -> None:
    with ThreadPoolExecutor(101) as pool:
        long = pool.submit(running.infer, 0, HELD)
        wait_for(lambda: running.entries() == [0])
        late = [pool.submit(running.infer, number, timeout_s=0.1) for number in range(1, 101)]
        for call in late:
            with pytest.raises(DeadlineExceededError):
                call.result()
        running.release()
        assert long.result() == 0
    assert running.infer(200) == 200
    assert running.entries() == [0, 200]


def test_a_request_whose_caller_hung_up_never_reaches_the_model(running: Plane) -> None:
    with ThreadPoolExecutor() as pool, grpc.insecure_channel(running.stack.target) as channel:
        long = pool.submit(running.infer, 0, HELD)
        wait_for(lambda: running.entries() == [0])
        inputs = {"number": np.array([1], np.int64), "seconds": np.array([0], np.float32)}
        request = inference_pb2.InferRequest(model="journal", inputs=tensors.from_arrays(inputs))
        given_up = inference_pb2_grpc.InferenceServiceStub(channel).Infer.future(request)
        wait_for(lambda: running.redis.llen("kp.journal") == 1)
        told = running.cancelled()
        given_up.cancel()
        wait_for(lambda: running.cancelled() > told)
        running.release()
        assert long.result() == 0
    assert running.infer(2) == 2
    assert running.entries() == [0, 2]


def test_work_in_progress_stops_at_its_next_step_when_the_deadline_passes(running: Plane) -> None:
    with pytest.raises(DeadlineExceededError):
        running.infer(1, 30.0, timeout_s=0.5)
    started = time.monotonic()
    assert running.infer(2) == 2
    assert time.monotonic() - started < 10


def test_over_the_limit_requests_are_refused_at_once_with_a_time_to_retry(plane: Start) -> None:
    running = plane(limits={"max_waiting": 3})
    with ThreadPoolExecutor() as pool:
        held = [pool.submit(running.infer, number, HELD) for number in range(3)]
        wait_for(lambda: running.waiting() == 3)
        refusal = _refused(running, 99, timeout_s=10)
        assert refusal is not None
        assert refusal.retry_after_s is not None
        assert "3 requests wait, of at most 3" in refusal.message
        running.release()
        assert sorted(call.result() for call in held) == [0, 1, 2]
    assert running.infer(7) == 7


def _refused(running: Plane, number: int, timeout_s: float = 0.05) -> ResourceExhaustedError | None:
    try:
        running.infer(number, timeout_s=timeout_s)
    except ResourceExhaustedError as error:
        return error
    except DeadlineExceededError:
        pass
    return None


def test_redis_near_its_memory_limit_counts_as_full(running: Plane) -> None:
    used = running.redis.info("memory")["used_memory"]  # type: ignore[index]
    running.redis.config_set("maxmemory", int(used * 1.01))
    try:
        refusal = wait_for(lambda: _refused(running, 1))
    finally:
        running.redis.config_set("maxmemory", 0)
    assert "Redis" in refusal.message
    wait_for(lambda: _refused(running, 1) is None)
    assert running.infer(2) == 2


def test_without_a_worker_requests_may_wait_for_one(plane: Start) -> None:
    running = plane(workers=False, on_no_worker="wait")
    with ThreadPoolExecutor() as pool:
        call = pool.submit(running.infer, 1)
        wait_for(lambda: running.redis.llen("kp.journal") == 1)
        worker = running.start_worker()
        try:
            assert call.result() == 1
        finally:
            worker.terminate()
            worker.wait(30)


def test_a_request_id_runs_once_however_often_it_is_called(running: Plane) -> None:
    with ThreadPoolExecutor() as pool:
        together = [pool.submit(running.infer, 1, 0.5, request_id="five calls") for _ in range(5)]
        assert [call.result() for call in together] == [1] * 5
    assert running.infer(1, 0.5, request_id="five calls") == 1
    assert running.entries() == [1]


def test_a_request_id_with_another_request_is_refused(running: Plane) -> None:
    assert running.infer(1, request_id="taken") == 1
    with pytest.raises(AlreadyExistsError, match="request_id"):
        running.infer(2, request_id="taken")
    assert running.infer(2, request_id="other") == 2


def test_results_are_kept_up_to_their_bytes(plane: Start) -> None:
    running = plane(settings={"result_bytes": 1, "result_ttl_s": 5.0})
    assert running.infer(1, request_id="kept") == 1
    wait_for(lambda: _is_refused(running, "one too many"), what="the front door learns of it")
    with pytest.raises(ResourceExhaustedError, match=r"request_id: results .*KERNELPORT_RESULT_BYTES") as refused:
        running.infer(2, request_id="one more")
    assert 0 < (refused.value.retry_after_s or 0) <= 6
    assert running.infer(1, request_id="kept") == running.infer(1) == 1
    assert running.entries().count(1) == 2, "what is kept is still given"
    wait_for(lambda: not _is_refused(running, "room again"), what="results go, and there is room")


def _is_refused(running: Plane, request_id: str) -> bool:
    try:
        running.infer(3, request_id=f"{request_id} {time.monotonic()}")
    except ResourceExhaustedError:
        return True
    return False


def test_a_failed_request_id_may_run_again(running: Plane) -> None:
    running.infer(0)
    with pytest.raises(DeadlineExceededError):
        running.infer(1, 5.0, request_id="failed", timeout_s=0.3)
    wait_for(lambda: not running.redis.exists("kp:result:failed"))
    assert running.infer(1, 0.0, request_id="failed") == 1
