"""Requests to models, with what their signatures say."""

import contextlib
from collections.abc import AsyncGenerator, Mapping, Sequence
from typing import Any

from kernelport.client.calling.aio import AsyncChannel, in_thread_if
from kernelport.client.calling.limits import Deadline
from kernelport.client.calling.messages import checked_name, message
from kernelport.client.inference.coding import (
    INLINE_BYTES,
    LARGE_BYTES,
    SerializedInferenceStub,
    decode,
    decode_message,
    encode,
    resume_from,
    size,
)
from kernelport.client.inputs import only_input
from kernelport.client.results import InferResult, Speech
from kernelport.coercion import are_arrays
from kernelport.errors import InvalidArgumentError, KernelPortError, UnavailableError
from kernelport.signature import Signature
from kernelport.v1 import deployment_pb2
from kernelport.v1.deployment_pb2_grpc import DeploymentServiceStub


class AsyncInference:
    """Runs requests, and remembers the signatures of models."""

    def __init__(self, channel: AsyncChannel) -> None:
        self._channel = channel
        self._signatures: dict[str, Signature] = {}
        self._answer_bytes: dict[str, int] = {}  # of each model's last answer

    async def run(
        self, model: str, inputs: Any, outputs: Sequence[str], deadline: Deadline, request_id: str
    ) -> InferResult:
        """Runs one request. Its inputs become what the signature declares; arrays travel as they are, and are only
        fitted to the signature when they are refused.

        Args:
            inputs: by name; or one value, for the one input that the model asks for.
        """
        model = checked_name("model", model)
        if not isinstance(inputs, Mapping):
            inputs = only_input(inputs, await self.signature(model, deadline))
        signature = self._signatures.get(model) if are_arrays(inputs) else await self.signature(model, deadline)
        try:
            return await self._run(model, inputs, signature, outputs, deadline, request_id)
        except InvalidArgumentError as error:  # the signature may have changed
            if signature is None and not _is_about_dtypes(error):
                raise
            fresh = await self.fetch_signature(model, deadline)
            if fresh == signature:
                raise
        return await self._run(model, inputs, fresh, outputs, deadline, request_id)

    async def stream(
        self, model: str, inputs: Mapping[str, Any], outputs: Sequence[str], deadline: Deadline
    ) -> AsyncGenerator[Speech]:
        """The pieces of speech that a request becomes. A stream that breaks goes on where it was, at whichever front
        door answers."""
        model = checked_name("model", model)
        request = encode(model, inputs, await self.signature(model, deadline), "", outputs)
        sequence, failures, is_last = 0, 0, False
        while not is_last:
            resuming = request + resume_from(sequence)
            try:
                async with contextlib.aclosing(
                    self._channel.stream(SerializedInferenceStub, "InferStream", resuming, deadline)
                ) as answers:
                    # To the end: who leaves after the last message looks as if they had hung up.
                    async for answer in answers:
                        sequence += 1
                        result, is_last = await in_thread_if(len(answer) > INLINE_BYTES, decode_message, answer)
                        if result.outputs:
                            failures = 0
                            yield Speech.of(result)
                failure: KernelPortError = UnavailableError("the stream ended before its last message")
            except KernelPortError as error:
                failure = error
            if not is_last:
                failures += 1
                await self._channel.pause_to_repeat(failure, failures, deadline)

    async def signature(self, model: str, deadline: Deadline) -> Signature:
        """The signature of a model, as it was when it was asked for last."""
        known = self._signatures.get(model)
        return await self.fetch_signature(model, deadline) if known is None else known

    async def fetch_signature(self, model: str, deadline: Deadline) -> Signature:
        """The signature of a model, as it is now."""
        signature = (await self.deployment(model, deadline)).signature
        if signature.outputs:  # else no worker has loaded the model yet
            self._signatures[model] = signature
        return signature

    async def deployment(self, name: str, deadline: Deadline) -> deployment_pb2.Deployment:
        """What the front door tells of a deployment."""
        request = message(deployment_pb2.GetDeploymentRequest, name=name)
        found: deployment_pb2.Deployment = (
            await self._channel.call(DeploymentServiceStub, "GetDeployment", request, deadline)
        ).deployment
        return found

    async def _run(
        self,
        model: str,
        inputs: Mapping[str, Any],
        signature: Signature | None,
        outputs: Sequence[str],
        deadline: Deadline,
        request_id: str,
    ) -> InferResult:
        large = size(inputs) > INLINE_BYTES
        request = await in_thread_if(large, encode, model, inputs, signature, request_id, outputs)
        is_large = max(len(request), self._answer_bytes.get(model, 0)) > LARGE_BYTES
        response = await self._channel.exchange(SerializedInferenceStub, "Infer", request, deadline, is_large)
        self._answer_bytes[model] = len(response)
        return await in_thread_if(len(response) > INLINE_BYTES, decode, response)


def _is_about_dtypes(error: InvalidArgumentError) -> bool:
    """Whether the front door or a worker refuses the dtype of an input: the signature tells another."""
    return any(violation.field.endswith("].dtype") for violation in error.violations)
