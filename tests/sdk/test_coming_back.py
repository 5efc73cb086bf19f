"""A client finds a front door that is back, and tries again what is safe to repeat."""

import time

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


@pytest.mark.alone
def test_a_front_door_that_is_back_is_found_within_two_seconds() -> None:
    assert back_after_s(8) < MOST_BACK_S
