"""Inference: validate, admit, queue, answer."""

import contextlib
import math
import time
from collections.abc import AsyncGenerator, Iterable
from itertools import islice
from typing import Literal

from redis.asyncio import Redis
from redis.exceptions import RedisError

from kernelport.broker.scripts import IdempotencyHold
from kernelport.config.deployments import Deployment
from kernelport.errors import (
    DeadlineExceededError,
    FieldViolation,
    InvalidArgumentError,
    KernelPortError,
    NotFoundError,
    UnavailableError,
)
from kernelport.items import TEXT_INPUT
from kernelport.signature import Signature, output_violations
from kernelport.speech_pace import ALWAYS_TAKEN_LETTERS, SPEED, letters
from kernelport.stacking import ANY, Share
from kernelport.telemetry import metrics
from kernelport.telemetry.metrics import labelled
from kernelport.tensors import shapes_of, to_array
from kernelport.v1 import inference_pb2 as pb
from kernelport.wire_format import data_of_inputs, has_outline
from kernelport_api import calls
from kernelport_api.access.deployments import CallersDeployments
from kernelport_api.aside import aside
from kernelport_api.calls import Call
from kernelport_api.queueing.admission import Admission
from kernelport_api.queueing.call_quotas import CallQuotas
from kernelport_api.queueing.dispatcher import Dispatcher
from kernelport_api.queueing.idempotency import RequestIds, check
from kernelport_api.queueing.live_workers import Model, WorkerView
from kernelport_api.queueing.redis_errors import RETRY_AFTER_S, reached_at_once, unreachable
from kernelport_api.services.counting import Counting
from kernelport_api.services.inputs import SoundForms, are_slow_to_check, input_violations

# More findings than this are not looked for.
MOST_TOLD = 100
TimeLimit = Literal["request_s", "stream_s"]


class Inference:
    """Runs requests. They and their responses stay serialized on their way through: a tensor is never re-encoded."""

    def __init__(
        self,
        deployments: CallersDeployments,
        redis: Redis,
        workers: WorkerView,
        admission: Admission,
        dispatcher: Dispatcher,
        quotas: CallQuotas,
        counting: Counting,
    ) -> None:
        self._counting = counting
        self._deployments = deployments
        self._request_ids = RequestIds(redis)
        self._sound = SoundForms()
        self._workers = workers
        self._admission = admission
        self._dispatcher = dispatcher
        self._quotas = quotas

    async def answer(
        self, request: pb.InferRequest, body: bytes, remaining_s: float | None, arrived_at: float
    ) -> bytes:
        """Runs one request of the current call, and counts it; returns the serialized InferResponse.

        Args:
            body: the request as it came in.
            remaining_s: seconds that its caller waits; None when that is not known.
            arrived_at: seconds of the monotonic clock.
        """
        call = calls.current()
        deployment = self._deployment(call, request)
        run = self._counted if call.principal.quotas else self.run
        try:
            response = await run(deployment, request, body, remaining_s)
        except BaseException as error:
            self._counting.failed(call, request, len(body), 0, time.monotonic() - arrived_at, error)
            raise
        self._counting.answered(call, request, len(body), len(response), time.monotonic() - arrived_at)
        return response

    async def _counted(
        self, deployment: Deployment, request: pb.InferRequest, body: bytes, remaining_s: float | None
    ) -> bytes:
        """`run`, within the quotas of its caller."""
        async with self._quotas.counted(calls.current().principal.quotas, request, len(body)):
            return await self.run(deployment, request, body, remaining_s)

    async def stream(
        self, request: pb.InferRequest, body: bytes, remaining_s: float | None, arrived_at: float
    ) -> AsyncGenerator[bytes]:
        """Runs one request, and counts it; gives the serialized messages of its answer as they come.

        Args:
            body, remaining_s, arrived_at: as `answer` takes them.
        """
        call = calls.current()
        deployment = self._deployment(call, request)
        response_bytes = 0
        try:
            async with (
                self._quotas.counted(call.principal.quotas, request, len(body)),
                contextlib.aclosing(self._messages(deployment, request, body, remaining_s)) as messages,
            ):
                async for message in messages:
                    response_bytes += len(message)
                    yield message
        except BaseException as error:
            self._counting.failed(call, request, len(body), response_bytes, time.monotonic() - arrived_at, error)
            raise
        self._counting.answered(call, request, len(body), response_bytes, time.monotonic() - arrived_at)

    async def _messages(
        self, deployment: Deployment, request: pb.InferRequest, body: bytes, remaining_s: float | None
    ) -> AsyncGenerator[bytes]:
        name, limits = deployment.name, deployment.timeouts
        self._admission.enter(name, deployment.limits, len(body))
        try:
            share = await self._share(deployment, request, body)
            if not self._workers.answers_in_pieces(name):
                self._check_time(deployment, request, "request_s", remaining_s)
            elif not request.resume_from:  # else there is less to come than the text has
                self._check_time(deployment, request, "stream_s", remaining_s)
        except BaseException:
            self._admission.turn_away(name, len(body))
            raise
        left_s = math.inf if remaining_s is None else max(0.0, remaining_s)
        first_s, whole_s = min(limits.request_s, left_s), min(limits.stream_s, left_s)
        try:
            async with contextlib.aclosing(
                self._dispatcher.stream(deployment, share, body, request.resume_from, first_s, whole_s)
            ) as messages:
                async for message in messages:
                    yield message
        finally:
            self._admission.leave(name, len(body))

    def _deployment(self, call: Call, request: pb.InferRequest) -> Deployment:
        """The deployment of a request; its call is told of both."""
        calls.of_models += 1
        call.request_id = request.request_id
        deployment = self._deployments.known_to(call.principal, request.model)
        if deployment is None:
            unknown = _unknown(request.model, self._deployments)
            labelled(metrics.REQUESTS, metrics.UNKNOWN, unknown.code.name).inc()
            raise unknown
        call.deployment = deployment.name
        return deployment

    async def signature(self, name: str) -> Signature | None:
        """What a deployment's model takes and gives; None until a worker has loaded it once.

        Raises:
            NotFoundError: when no deployment has this name.
        """
        if name not in self._deployments:
            raise _unknown(name, self._deployments)
        signature: Signature | None = await reached_at_once(self._workers.signature(name))
        return signature

    def aliases(self, name: str) -> list[str]:
        """Further names of a deployment, which clients of OpenAI's API may call it."""
        models = self._deployments.aliases.models
        return [alias for alias, model in models.items() if model == name and alias not in self._deployments]

    async def is_served(self, name: str) -> bool:
        """Whether a live worker serves the deployment."""
        return bool(await reached_at_once(self._workers.is_served(name)))

    async def run(
        self, deployment: Deployment, request: pb.InferRequest, body: bytes, remaining_s: float | None
    ) -> bytes:
        """Runs one request whose deployment is known; `body` is the request as it came in."""
        limit_s = deployment.timeouts.request_s
        self._admission.enter(deployment.name, deployment.limits, len(body))
        try:
            share = await self._share(deployment, request, body)
            try:
                self._check_time(deployment, request, "request_s", remaining_s)
            except DeadlineExceededError:
                if not await self._request_ids.is_known(request):  # else it is in flight, or has run
                    raise
        except BaseException:
            self._admission.turn_away(deployment.name, len(body))
            raise
        timeout_s = limit_s if remaining_s is None else min(limit_s, max(0.0, remaining_s))
        try:
            if not request.request_id:
                return await self._dispatcher.run(deployment, share, body, timeout_s)

            async def run_first(hold: IdempotencyHold) -> bytes:
                self._admission.check_kept(deployment.name)
                return await self._dispatcher.run(deployment, share, body, timeout_s, hold)

            return await self._request_ids.run_once(request, body, timeout_s, run_first)
        except DeadlineExceededError as error:
            if remaining_s is not None and remaining_s <= limit_s:
                raise
            raise DeadlineExceededError(f"{error.message}; {self._limit(deployment, 'request_s')}") from error
        finally:
            self._admission.leave(deployment.name, len(body))

    def _check_time(
        self, deployment: Deployment, request: pb.InferRequest, limit: TimeLimit, remaining_s: float | None
    ) -> None:
        """Refuses a text that is expected to take longer than the deployment allows.

        Args:
            limit: the one that holds.
            remaining_s: as `answer` takes it. A caller's own limit that is shorter is for the caller to know.

        Raises:
            DeadlineExceededError: it would, at the pace of the fastest of the live workers.
        """
        pace = self._workers.seconds_a_letter(deployment.name)
        limit_s: float = getattr(deployment.timeouts, limit)
        if not pace or (remaining_s is not None and remaining_s <= limit_s):
            return
        text = next((tensor.data for tensor in request.inputs if tensor.name == TEXT_INPUT), b"")
        spoken = letters(text, _numbers(request))
        takes_s = pace * spoken
        if takes_s > limit_s and spoken > ALWAYS_TAKEN_LETTERS:
            told = f"text: it would take about {takes_s:.0f} s; {self._limit(deployment, limit)}"
            if limit == "request_s" and self._workers.answers_in_pieces(deployment.name):
                told += ", or take the speech as it is made (`kernelport say --stream`)"
            raise DeadlineExceededError(told)

    def _limit(self, deployment: Deployment, name: TimeLimit) -> str:
        """A time limit of a deployment, where it is, and what can be done about it."""
        file = deployment.file if self._deployments.tells_file else "the deployments file"
        return (
            f"the limit of {getattr(deployment.timeouts, name):g} s is timeouts.{name} of {deployment.name} in "
            f"{file}: raise it, or make a job (`kernelport jobs submit`), which has no such limit"
        )

    async def _share(self, deployment: Deployment, request: pb.InferRequest, body: bytes) -> Share:
        """What a request asks of the run that it shares.

        Raises:
            InvalidArgumentError: it is not sound, or does not fit the model, as far as a worker has ever said so.
        """
        inputs = request.inputs
        sizes = list(map(len, data_of_inputs(body))) if has_outline(body) else []
        if are_slow_to_check(inputs, len(body)):
            await aside(_raise_any, input_violations(inputs, len(body), data_sizes=sizes))
        elif sizes:
            _raise_any(input_violations(inputs, len(body), data_sizes=sizes))
        else:
            _raise_any(self._sound.violations(inputs, len(body)))
        check(request)
        model = self._workers.served_model(deployment.name) or await self._model(deployment)
        if model is None:
            return ANY
        shapes = shapes_of(inputs)
        _raise_any(model.declared.misfits(inputs, shapes))
        if request.outputs:
            _raise_any(output_violations(request.outputs, model.signature))
        return model.stacking.share_of_shapes(shapes) if model.stacking else ANY

    async def _model(self, deployment: Deployment) -> Model | None:
        """What is known of the model; None when no worker has ever said so and the deployment waits for one."""
        try:
            if await self._workers.is_served(deployment.name) or deployment.on_no_worker == "wait":
                return await self._workers.model(deployment.name)
        except RedisError as error:
            raise unreachable(error) from error
        raise UnavailableError(f'model: no live worker serves "{deployment.name}"', retry_after_s=RETRY_AFTER_S)


def _numbers(request: pb.InferRequest) -> dict[str, float]:
    """The numeric inputs; only of the speed the value counts."""
    others = (each for each in request.inputs if each.dtype != pb.U8)
    return {each.name: to_array(each).flat[0] if each.name == SPEED and each.data else 1 for each in others}


def _unknown(model: str, deployments: CallersDeployments) -> KernelPortError:
    if not model:
        return InvalidArgumentError.of([FieldViolation("model", "expected the name of a deployment, got nothing")])
    return NotFoundError(f"model: {deployments.unknown(model)}")


def _raise_any(violations: Iterable[FieldViolation]) -> None:
    violations = iter(violations)
    for first in violations:  # mostly there is none
        raise InvalidArgumentError.of([first, *islice(violations, MOST_TOLD - 1)])
