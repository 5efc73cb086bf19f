"""A client finds a front door that is back, and tries again what is safe to repeat."""

import contextlib
import math
import time
from collections.abc import Iterator

import numpy as np
import pytest

from kernelport import (
    AsyncClient,
    Client,
    InternalError,
    InvalidArgumentError,
    KernelPortError,
    ResourceExhaustedError,
    UnavailableError,
)
from kernelport.supervisor.stack import Stack
from tests.jobs_client.proxy import proxied
from tests.sdk.servers import Echo, serving
from tests.sdk.trials import MOST_BACK_S, back_after_s

X = {"x": np.ones((1, 1, 2, 2), np.float32)}
AWAY = UnavailableError("away")


async def test_what_may_help_is_tried_twice_more() -> None:
    for errors, calls in (([AWAY, AWAY], 3), ([ResourceExhaustedError("full", retry_after_s=0.01)], 2)):
        echo, async_echo = Echo(*errors), Echo(*errors)
        with serving(echo) as target, Client(target) as client:
            client.infer("m", X)
        with serving(async_echo) as target:
            async with AsyncClient(target) as async_client:
                await async_client.infer("m", X)
        assert echo.calls == async_echo.calls == calls


@pytest.mark.parametrize(
    "error", [InvalidArgumentError("no"), InternalError("broken"), ResourceExhaustedError("too large")]
)
def test_what_cannot_help_is_not_tried_again(error: KernelPortError) -> None:
    echo = Echo(error)
    with serving(echo) as target, Client(target) as client, pytest.raises(type(error)):
        client.infer("m", X)
    assert echo.calls == 1


def test_the_last_error_is_the_callers() -> None:
    for max_retries in (0, 1, 3):
        echo = Echo(*[AWAY] * 9)
        with (
            serving(echo) as target,
            Client(target, max_retries=max_retries) as client,
            pytest.raises(UnavailableError, match="away"),
        ):
            client.infer("m", X)
        assert echo.calls == 1 + max_retries


@pytest.mark.parametrize("max_retries", [-1, 1.5, "2", True])
def test_a_number_of_retries_is_a_whole_number(max_retries: int) -> None:
    with pytest.raises(InvalidArgumentError, match="max_retries: expected a whole number of at least 0"):
        Client(max_retries=max_retries)


def test_a_delay_that_is_asked_for_is_waited_for() -> None:
    with serving(Echo(UnavailableError("away", retry_after_s=0.7))) as target, Client(target) as client:
        began = time.monotonic()
        client.infer("m", X)
        assert time.monotonic() - began >= 0.7


def test_a_delay_longer_than_the_time_limit_is_not_waited_for() -> None:
    with serving(Echo(UnavailableError("away", retry_after_s=9))) as target, Client(target) as client:
        began = time.monotonic()
        with pytest.raises(UnavailableError, match="away"):
            client.infer("m", X, timeout_s=3)
        assert time.monotonic() - began < 2


@pytest.mark.parametrize("away_from", ["the signature", "the job"])
def test_a_submission_waits_for_a_front_door_that_is_away(stack: Stack, away_from: str) -> None:
    with contextlib.ExitStack() as doors:
        proxy = doors.enter_context(proxied(stack.target))
        client = doors.enter_context(Client(proxy.target, timeout_s=30))
        client.deployments()
        told: list[tuple[KernelPortError, float]] = []

        def tell(error: KernelPortError, pause_s: float) -> None:
            told.append((error, pause_s))
            if len(told) == 2:
                doors.enter_context(proxied(stack.target, int(proxy.target.rpartition(":")[2])))

        def items() -> Iterator[dict[str, np.ndarray]]:
            if away_from == "the job":
                proxy.close()
            yield X

        client.jobs.on_retry = tell
        if away_from == "the signature":
            proxy.close()
        assert client.jobs.submit("identity-onnx", items()).progress.items == 1
        assert all(isinstance(error, UnavailableError) and pause_s > 0 for error, pause_s in told)
        assert len(told) >= 2


@pytest.mark.parametrize("patience_s", [None, "x", math.nan, -1, True])
def test_patience_is_a_number_of_seconds(patience_s: float) -> None:
    with Client() as client, pytest.raises(InvalidArgumentError) as refused:
        client.jobs.patience_s = patience_s
    assert refused.value.field == "patience_s"


def test_what_is_told_of_pauses_is_a_function() -> None:
    with Client() as client, pytest.raises(InvalidArgumentError, match="on_retry: expected a function of an error"):
        client.jobs.on_retry = "x"  # type: ignore[assignment]


@pytest.mark.alone
def test_a_front_door_that_is_back_is_found_within_two_seconds() -> None:
    assert back_after_s(8) < MOST_BACK_S
