"""Clients take numbers, texts and lists for what a deployment declares, and refuse by name what is none of it."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from kernelport import AsyncClient, Client, InvalidArgumentError
from kernelport.signature import Signature, tensor_spec
from kernelport.supervisor.stack import Stack
from kernelport.v1 import inference_pb2 as pb

X = [[[[0.1, 2], [3, 4]]]]
AS_F32 = np.array(X, np.float32)


@pytest.mark.parametrize(
    "x", [X, np.array(X), AS_F32.astype(np.longdouble), AS_F32], ids=["list", "F64", "long", "F32"]
)
async def test_values_become_what_the_deployment_declares(x: Any, client: Client, stack: Stack) -> None:
    for _ in range(2):  # the second call knows the signature
        np.testing.assert_array_equal(client.infer("identity-onnx", {"x": x})["y"], AS_F32, strict=True)
    async with AsyncClient(stack.target, timeout_s=30) as async_client:
        for _ in range(2):
            result = await async_client.infer("identity-onnx", {"x": x})
            np.testing.assert_array_equal(result["y"], AS_F32, strict=True)


@pytest.mark.parametrize("x", [np.ones((1, 1, 1, 2), np.float32), [[[[1, 2]]]], X], ids=["array", "whole", "fractions"])
async def test_a_signature_that_is_out_of_date_is_asked_for_again(x: Any, client: Client, stack: Stack) -> None:
    stale = Signature(inputs=[tensor_spec("x", pb.I32, ["N"])], outputs=[tensor_spec("y", pb.I32, ["N"])])
    async with AsyncClient(stack.target, timeout_s=30) as async_client:
        for each in (client, async_client):
            each._inference._signatures["identity-onnx"] = (
                stale  # as if the model had been another when it was asked for
            )
        for result in (client.infer("identity-onnx", {"x": x}), await async_client.infer("identity-onnx", {"x": x})):
            np.testing.assert_array_equal(result["y"], np.array(x, np.float32), strict=True)


def test_arrays_of_the_declared_dtype_ask_for_nothing(client: Client) -> None:
    client.infer("identity-onnx", {"x": AS_F32})
    client.speak("hibari-en", "Hello.")
    assert not client._inference._signatures


@pytest.mark.parametrize(
    ("call", "field"),
    [
        (lambda client: client.infer("identity-onnx", {"x": [[[[1j]]]]}), 'inputs["x"]'),
        (lambda client: client.infer("identity-onnx", {"x": AS_F32.astype(complex)}), 'inputs["x"]'),
        (lambda client: client.infer("identity-onnx", {"x": np.full((1, 1, 1, 1), 2**24 + 1)}), 'inputs["x"]'),
        (lambda client: client.infer("identity-onnx", None), "inputs"),
        (lambda client: client.speak("hibari-en", "Hi.", seed=1.9), 'inputs["seed"]'),
        (lambda client: client.speak("hibari-en", "Hi \ud83d"), 'inputs["text"]'),
        (lambda client: client.jobs.submit("hibari-en", "Hello."), "items"),
        (lambda client: client.jobs.submit("hibari-en", {"text": "Hello."}), "items"),
        (lambda client: client.jobs.submit("hibari-en", None), "items"),
        (lambda client: client.jobs.submit("hibari-en", ["Hello.", float("nan")]), "items[1]"),
        (lambda client: client.jobs.submit("hibari-en", ["Hello.", None]), "items[1]"),
        (lambda client: client.jobs.submit("hibari-en", [(1, "Hello.")]), "items[0]"),
        (lambda client: client.jobs.submit("hibari-en", ["Hello \ud83d"]), 'items[0].inputs["text"]'),
        (lambda client: client.jobs.submit("hibari-en", ["Hi."], shared={"seed": 0.5}), 'inputs["seed"]'),
    ],
)
def test_a_mistake_is_refused_by_name(call: Callable[[Client], object], field: str, client: Client) -> None:
    with pytest.raises(InvalidArgumentError) as refused:
        call(client)
    assert [violation.field for violation in refused.value.violations] == [field]


def test_none_is_an_input_that_is_not_given(client: Client) -> None:
    plain = client.speak("hibari-en", "Hello.")
    np.testing.assert_array_equal(client.speak("hibari-en", "Hello.", speed=None, seed=None).audio, plain.audio)
