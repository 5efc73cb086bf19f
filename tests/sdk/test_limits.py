"""A time limit is one of seconds everywhere, and holds."""

import math
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kernelport import (
    AsyncClient,
    Client,
    DeadlineExceededError,
    InvalidArgumentError,
    KernelPortError,
    UnavailableError,
)
from kernelport.client.calling.limits import Deadline, retry_pause_s
from kernelport.supervisor.stack import Stack
from tests.jobs_client.proxy import Proxy, proxied
from tests.sdk.servers import Echo, frozen, serving
from tests.waiting import wait_for

X = {"x": np.ones((1, 1, 2, 2), np.float32)}


@pytest.mark.parametrize("timeout_s", [0, -1, -math.inf])
async def test_a_limit_of_nothing_is_an_error_at_once(timeout_s: float) -> None:
    with frozen() as target, Client(target) as client:
        with pytest.raises(DeadlineExceededError, match="timeout_s: expected more than 0 seconds"):
            client.infer("m", X, timeout_s=timeout_s)
        with pytest.raises(DeadlineExceededError):
            client.jobs.wait("j", timeout_s=timeout_s)
        with pytest.raises(DeadlineExceededError):
            client.jobs.submit("m", ["text"], timeout_s=timeout_s)
        async with AsyncClient(target) as async_client:
            with pytest.raises(DeadlineExceededError):
                await async_client.infer("m", X, timeout_s=timeout_s)
        with pytest.raises(DeadlineExceededError):
            Client(target, timeout_s=timeout_s)


@pytest.mark.parametrize("timeout_s", ["5", True, math.nan, [1]])
def test_what_is_no_number_of_seconds_is_refused(timeout_s: float) -> None:
    with pytest.raises(InvalidArgumentError) as refused:
        Client(timeout_s=timeout_s)
    assert refused.value.field == "timeout_s"
    with Client() as client, pytest.raises(InvalidArgumentError, match="timeout_s: expected seconds as a number"):
        client.infer("m", X, timeout_s=timeout_s)


@pytest.mark.parametrize("timeout_s", [math.inf, 1e300, 10**400, np.float32(30), 30])
def test_infinity_is_no_limit(timeout_s: float) -> None:
    with serving(Echo()) as target, Client(target, timeout_s=1) as client:
        client.infer("m", X, timeout_s=timeout_s)


async def test_a_limit_holds_and_the_message_says_it() -> None:
    with frozen() as target, Client(target, timeout_s=0.25) as client:
        began = time.monotonic()
        with pytest.raises(DeadlineExceededError, match=r"within 0\.25 s"):
            client.infer("m", X)
        with pytest.raises(DeadlineExceededError, match=r"within 0\.05 s"):
            client.infer("m", X, timeout_s=0.05)
        async with AsyncClient(target) as async_client:
            with pytest.raises(DeadlineExceededError, match=r"within 0\.05 s"):
                await async_client.infer("m", X, timeout_s=0.05)
        assert time.monotonic() - began < 2


MINE = {"request_id": "mine", "timeout_s": 0.05}


@pytest.mark.parametrize(
    "call",
    [
        lambda client: client.infer("m", X, **MINE),
        lambda client: client.infer("m", {"x": [1]}, **MINE),
        lambda client: client.infer("m", X, request_id="mine", timeout_s=0),
        lambda client: client.speak("m", "Hello.", **MINE),
        lambda client: client.jobs.submit("m", ["Hello."], **MINE),
    ],
    ids=["infer", "infer, which asks for the signature", "no time at all", "speak", "submit"],
)
async def test_an_error_of_the_own_limit_carries_the_id_of_the_call(call: Callable[[Any], Any]) -> None:
    with frozen() as target, Client(target) as client:
        with pytest.raises(DeadlineExceededError) as exceeded:
            call(client)
        assert exceeded.value.request_id == "mine"
        async with AsyncClient(target) as async_client:
            with pytest.raises(DeadlineExceededError) as exceeded:
                await call(async_client)
        assert exceeded.value.request_id == "mine"


def test_an_error_of_the_own_limit_carries_the_id_that_the_front_door_made() -> None:
    error, deadline = DeadlineExceededError("too late"), Deadline(0.001)
    error.request_id = "made"
    wait_for(lambda: deadline.named(error) is not error)
    assert deadline.named(error).request_id == "made"
    away = UnavailableError("away")
    away.request_id = "made"
    with pytest.raises(DeadlineExceededError) as exceeded:
        retry_pause_s(away, failures=1, max_retries=2, deadline=deadline)
    assert exceeded.value.request_id == "made"


@pytest.fixture
def proxy(stack: Stack) -> Iterator[Proxy]:
    with proxied(stack.target) as between:
        yield between


def test_a_limit_of_a_submission_bounds_the_whole(proxy: Proxy) -> None:
    def items() -> Iterator[dict[str, np.ndarray]]:
        for number in range(100):
            if number == 50:
                proxy.freeze()
            yield {"x": np.zeros((1, 1, 512, 512), np.float32)}

    with Client(proxy.target, timeout_s=30) as client:
        began = time.monotonic()
        with pytest.raises(DeadlineExceededError, match="within 1 s"):
            client.jobs.submit("identity-onnx", items(), timeout_s=1)
        assert time.monotonic() - began < 5


def test_a_limit_of_waiting_bounds_the_whole_outages_included(proxy: Proxy, tmp_path: Path) -> None:
    with Client(proxy.target, timeout_s=30) as client:
        client.deployments()
        job = client.jobs.submit("identity-onnx", [X])
        assert client.jobs.wait(job.id, timeout_s=30).id == job.id
        (item,) = client.jobs.items(job.id)
        proxy.close()
        for call in (
            lambda: client.jobs.wait(job.id, timeout_s=0.5),
            lambda: client.jobs.fetch(job.id, item, tmp_path, timeout_s=0.5),
        ):
            began = time.monotonic()
            with pytest.raises(DeadlineExceededError, match=re.escape("within 0.5 s")):
                call()
            assert time.monotonic() - began < 2


async def test_a_limit_of_fetching_bounds_the_listing_of_items(proxy: Proxy, tmp_path: Path) -> None:
    with Client(proxy.target, timeout_s=30) as client:
        job = client.jobs.wait(client.jobs.submit("identity-onnx", [X]).id)
        async with AsyncClient(proxy.target, timeout_s=30) as async_client:
            await async_client.jobs.get(job.id)
            proxy.freeze()
            began = time.monotonic()
            with pytest.raises(DeadlineExceededError, match=re.escape("within 0.5 s")):
                client.jobs.fetch_all(job.id, tmp_path, timeout_s=0.5)
            with pytest.raises(DeadlineExceededError, match=re.escape("within 0.5 s")):
                await async_client.jobs.fetch_all(job.id, tmp_path, timeout_s=0.5)
            assert time.monotonic() - began < 5


def test_a_call_without_a_limit_ends_when_the_front_door_has_frozen(proxy: Proxy) -> None:
    with Client(proxy.target, max_retries=0) as client:
        client.deployments()
        proxy.freeze()
        began = time.monotonic()
        with pytest.raises(KernelPortError):
            client.deployments()
        assert time.monotonic() - began < 25
