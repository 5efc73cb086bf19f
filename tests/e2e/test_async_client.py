"""AsyncClient does what Client does, and each failure is an exception of its own class."""

import asyncio

import numpy as np
import pytest

from kernelport import (
    AsyncClient,
    Client,
    DeadlineExceededError,
    InternalError,
    InvalidArgumentError,
    NotFoundError,
    ResourceExhaustedError,
    UnavailableError,
)
from kernelport.supervisor.ports import free_port
from kernelport.supervisor.stack import Stack
from tests.conftest import BUNDLED
from tests.e2e.conftest import SMALL_MESSAGE_BYTES

X = np.arange(4, dtype=np.float32).reshape(1, 1, 2, 2)
NOW = {"seconds": np.array([0], np.float32)}


async def test_infer(stack: Stack) -> None:
    async with AsyncClient(stack.target) as client:
        result = await client.infer("identity-onnx", {"x": X}, timeout_s=30)
    np.testing.assert_array_equal(result["y"], X, strict=True)
    assert result.outputs.keys() == {"y"}
    assert min(result.queued_us, result.batched_us, result.backend_us) > 0


async def test_speak(stack: Stack, client: Client) -> None:
    async with AsyncClient(stack.target, timeout_s=30) as async_client:
        plain, quick = await asyncio.gather(
            async_client.speak("hibari-en", "Good evening."),
            async_client.speak("hibari-en", "Good evening.", speed=2, seed=5),
        )
    assert plain.sample_rate == quick.sample_rate == 24000
    assert quick.seconds < plain.seconds
    expected = client.speak("hibari-en", "Good evening.", speed=2, seed=5)
    np.testing.assert_array_equal(quick.audio, expected.audio, strict=True)


async def test_deployments(stack: Stack, client: Client) -> None:
    async with AsyncClient(stack.target, timeout_s=30) as async_client:
        deployments = await async_client.deployments()
        assert {each.name for each in deployments if each.live_workers} == set(BUNDLED)
        assert await async_client.deployment("hibari-en") == client.deployment("hibari-en")
        with pytest.raises(NotFoundError, match='no deployment is named "nope"'):
            await async_client.deployment("nope")


async def test_malformed_is_invalid_argument_with_its_fields(stack: Stack) -> None:
    async with AsyncClient(stack.target, timeout_s=30) as client:
        with pytest.raises(InvalidArgumentError) as refused:
            await client.infer("identity-onnx", {"x": X[0]})
    (violation,) = refused.value.violations
    assert violation.field == "inputs[0].shape"
    assert "expected rank 4 as in F32[N, C, H, W], got rank 3" in violation.description


async def test_an_unknown_deployment_is_not_found(stack: Stack) -> None:
    async with AsyncClient(stack.target, timeout_s=30) as client:
        with pytest.raises(NotFoundError, match='no deployment is named "nope"'):
            await client.infer("nope", {"x": X})


async def test_no_worker_is_unavailable_with_a_time_to_retry(odd_stack: Stack) -> None:
    async with AsyncClient(odd_stack.target, timeout_s=30) as client:
        with pytest.raises(UnavailableError, match='serves "nobody"') as refused:
            await client.infer("nobody", NOW)
    assert refused.value.retry_after_s is not None


async def test_no_front_door_is_unavailable() -> None:
    async with AsyncClient(f"127.0.0.1:{free_port()}", timeout_s=30) as client:
        with pytest.raises(UnavailableError):
            await client.infer("identity-onnx", {"x": X})
        with pytest.raises(UnavailableError):
            await client.deployments()


async def test_over_the_size_limit_is_resource_exhausted(odd_stack: Stack) -> None:
    elements = SMALL_MESSAGE_BYTES // 4
    async with AsyncClient(odd_stack.target, timeout_s=30) as client:
        with pytest.raises(ResourceExhaustedError, match=f"vs. {SMALL_MESSAGE_BYTES}"):
            await client.infer("sleeper", {"seconds": np.zeros(elements, np.float32)})
        with pytest.raises(InvalidArgumentError):  # just below the limit it is read, and then refused
            await client.infer("sleeper", {"seconds": np.zeros(elements - 100, np.float32)})


async def test_too_slow_is_deadline_exceeded(odd_stack: Stack) -> None:
    async with AsyncClient(odd_stack.target, timeout_s=0.2) as client:
        with pytest.raises(DeadlineExceededError):
            await client.infer("sleeper", {"seconds": np.array([0.5], np.float32)})
        assert await client.infer("sleeper", NOW, timeout_s=30)


async def test_a_failing_model_is_internal_for_the_one_who_made_it_fail(odd_stack: Stack) -> None:
    ok = [True, False, True, True, False, True]
    async with AsyncClient(odd_stack.target, timeout_s=30) as client:
        answers = await asyncio.gather(
            *(client.infer("fragile", {"ok": np.array([each])}) for each in ok), return_exceptions=True
        )
    for each, answer in zip(ok, answers, strict=True):
        if each:
            assert not isinstance(answer, BaseException), answer
            assert answer["ok"].tolist() == [True]
        else:
            assert type(answer) is InternalError
            assert "ZeroDivisionError: a bug in the model" in answer.message


async def test_a_call_can_be_given_up(odd_stack: Stack) -> None:
    async with AsyncClient(odd_stack.target, timeout_s=30) as client:
        call = asyncio.create_task(client.infer("sleeper", {"seconds": np.array([0.3], np.float32)}))
        await asyncio.sleep(0)  # it has been sent
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        assert await client.infer("sleeper", NOW)
