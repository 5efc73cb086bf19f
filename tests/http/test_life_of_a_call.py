"""A call over HTTP has the life of any other: it waits within limits, ends with its caller, and outlives a stop."""

import http.client
import json
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from urllib.parse import urlsplit

import numpy as np

from tests.data_plane.conftest import Plane, plane, running, shared_plane  # noqa: F401
from tests.data_plane.test_deadlines_and_limits import Start
from tests.http.calls import Reply, ask
from tests.http.test_open_inference import binary
from tests.stack.models import HELD
from tests.waiting import wait_for

INFER = "/v2/models/journal/infer"


def asking(number: int, seconds: float = 0.0, timeout_us: int = 0) -> tuple[bytes, dict[str, str]]:
    """A request to the journal."""
    inputs = [
        {"name": "number", "shape": [1], "datatype": "INT64", "parameters": {"binary_data_size": 8}},
        {"name": "seconds", "shape": [1], "datatype": "FP32", "parameters": {"binary_data_size": 4}},
    ]
    parts = np.int64(number).tobytes(), np.float32(seconds).tobytes()
    return binary({"inputs": inputs, "parameters": {"timeout": timeout_us}}, *parts)


def infer(plane: Plane, number: int, seconds: float = 0.0, timeout_us: int = 0) -> Reply:  # noqa: F811
    body, headers = asking(number, seconds, timeout_us)
    return ask(plane.stack.url, "POST", INFER, body, headers)


@contextmanager
def connected(plane: Plane, number: int, seconds: float) -> Iterator[socket.socket]:  # noqa: F811
    """A caller whose request is on its way."""
    where = urlsplit(plane.stack.url)
    connection = http.client.HTTPConnection(str(where.netloc), timeout=60)
    body, headers = asking(number, seconds)
    connection.request("POST", INFER, body, headers)
    assert connection.sock is not None
    with connection.sock as sock:
        yield sock


def test_a_request_whose_caller_hangs_up_never_reaches_the_model(running: Plane) -> None:  # noqa: F811
    with ThreadPoolExecutor() as pool:
        first = pool.submit(infer, running, 1, HELD)
        wait_for(lambda: running.entries() == [1])
        told = running.cancelled()
        with connected(running, 2, 0.0):
            wait_for(lambda: running.waiting() == 2)
        wait_for(lambda: running.cancelled() == told + 1)
        running.release()
        assert first.result().json()["outputs"][0]["data"] == [1]
    assert infer(running, 3).status == 200
    assert running.entries() == [1, 3]


def test_work_whose_caller_hangs_up_stops_at_its_next_step(running: Plane) -> None:  # noqa: F811
    with connected(running, 1, HELD):
        wait_for(lambda: running.entries() == [1])
    assert infer(running, 2).status == 200, "the model is free though nobody released it"


def test_a_time_limit_is_kept_and_told(running: Plane) -> None:  # noqa: F811
    reply = infer(running, 1, HELD, timeout_us=300_000)
    assert reply.status == 504
    assert reply.headers["x-should-retry"] == "false"
    assert reply.json() == {"error": "no answer within 0.3 s"}


def test_over_the_limit_a_call_is_refused_with_a_time_to_retry(plane: Start) -> None:  # noqa: F811
    started = plane(limits={"max_waiting": 1})
    with ThreadPoolExecutor() as pool:
        first = pool.submit(infer, started, 1, HELD)
        wait_for(lambda: started.entries() == [1])
        refused = infer(started, 2)
        assert (refused.status, refused.headers["x-should-retry"]) == (429, "true")
        assert int(refused.headers["retry-after"]) >= 1
        assert int(refused.headers["retry-after-ms"]) > 0
        started.release()
        assert first.result().status == 200


def test_a_stop_lets_calls_finish_and_sends_others_away(plane: Start) -> None:  # noqa: F811
    started = plane()
    with ThreadPoolExecutor() as pool:
        first = pool.submit(infer, started, 1, HELD)
        wait_for(lambda: started.entries() == [1])
        front_door = started.stack.children["front-door"]
        pid = front_door.pid
        front_door.terminate()
        # One that comes before the signal does is taken, and waits behind the first.
        away = wait_for(lambda: (reply := infer(started, 2, timeout_us=300_000)).status == 503 and reply)
        assert away.headers["x-should-retry"] == "true"
        assert "try again" in json.loads(away.body)["error"]
        started.release()
        assert first.result().status == 200
        front_door.join(10)
        assert front_door.pid != pid
    assert started.entries() == [1]
