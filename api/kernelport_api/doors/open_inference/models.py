"""What the protocol tells of deployments, and runs on them."""

import time
from collections import defaultdict
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

from kernelport import __version__
from kernelport.config.deployments import Deployment
from kernelport.errors import NotFoundError
from kernelport.open_inference import inference_pb2 as oip
from kernelport.signature import Signature, TensorSpec
from kernelport.wire_format import Output, outputs_of
from kernelport_api.access.deployments import CallersDeployments
from kernelport_api.calls import current
from kernelport_api.doors.open_inference.tensors import DATATYPES, Input, as_declared, invalid, is_text, request_bytes
from kernelport_api.doors.parsing import parsed_request
from kernelport_api.services.inference import Inference

# A deployment has one version: what it serves now.
VERSION = "1"
EXTENSIONS = ("binary_tensor_data", "parameters", "model_configuration", "model_repository", "statistics")
# Of a call, in microseconds.
_MOST_TIMEOUT_US = 10 * 365 * 24 * 3600 * 1_000_000
_CONFIG_TYPES = {**{name: f"TYPE_{name}" for name in DATATYPES.values()}, "BYTES": "TYPE_STRING"}


@dataclass(frozen=True)
class Asked:
    """What a call asks for.

    Attributes:
        outputs: the names of those that are wanted; all when there are none.
        remaining_s: seconds that its caller waits; None when that is not known.
        idempotency_key: makes it safe to repeat; may be empty.
    """

    model: str
    version: str
    inputs: list[Input]
    outputs: list[str]
    remaining_s: float | None
    idempotency_key: str
    arrived_at: float


@dataclass
class _Tally:
    """Of the calls of one deployment: how many, and nanoseconds."""

    succeeded: int = 0
    failed: int = 0
    total_ns: int = 0
    failed_ns: int = 0
    queue_ns: int = 0
    batching_ns: int = 0
    backend_ns: int = 0
    last_unix_ms: int = 0


@dataclass(frozen=True)
class Answered:
    """What a call gives.

    Attributes:
        outputs: those that it wants, in the order in which it wants them.
        warnings: what it is told beside them, a line each; the parameter `warnings` of an answer.
    """

    outputs: Sequence[Output]
    warnings: str


class Models:
    """The deployments as models.

    Args:
        not_serving: says why no calls can be taken; empty when they can.
    """

    def __init__(self, deployments: CallersDeployments, inference: Inference, not_serving: Callable[[], str]) -> None:
        self._deployments = deployments
        self._not_serving = not_serving
        self._inference = inference
        self._tallies: defaultdict[tuple[str, str], _Tally] = defaultdict(_Tally)

    async def infer(self, asked: Asked) -> Answered:
        """Runs a call.

        Raises:
            KernelPortError: as the contract's Infer; also when an output is wanted that there is not.
        """
        self._deployment(asked.model, asked.version)
        signature = await self._inference.signature(asked.model) or Signature()
        if signature.outputs:
            _check_names(asked.outputs, [spec.name for spec in signature.outputs])
        specs = {spec.name: spec for spec in signature.inputs}
        inputs = [as_declared(each, specs.get(each.name)) for each in asked.inputs]
        body = request_bytes(asked.model, asked.idempotency_key, inputs, dict.fromkeys(asked.outputs))
        request = await parsed_request(body)
        tally, is_done = self._tallies[current().principal.tenant, asked.model], False
        try:
            answer = await self._inference.answer(request, body, asked.remaining_s, asked.arrived_at)
            is_done = True
        finally:
            took_ns = round(1e9 * (time.monotonic() - asked.arrived_at))
            if is_done:
                tally.succeeded, tally.total_ns = tally.succeeded + 1, tally.total_ns + took_ns
            else:
                tally.failed, tally.failed_ns = tally.failed + 1, tally.failed_ns + took_ns
        response, outputs = outputs_of(answer)
        tally.queue_ns += 1000 * response.queued_us
        tally.batching_ns += 1000 * response.batched_us
        tally.backend_ns += 1000 * response.backend_us
        tally.last_unix_ms = round(1000 * time.time())
        return Answered(_wanted(outputs, asked.outputs), "\n".join(response.warnings))

    def are_taken(self) -> bool:
        """Whether calls can be taken, of whatever model."""
        return not self._not_serving()

    async def is_ready(self, name: str, version: str) -> bool:
        """Whether a live worker serves it."""
        return await self._inference.is_served(self._deployment(name, version).name)

    def server(self) -> oip.ServerMetadataResponse:
        """What answers here."""
        return oip.ServerMetadataResponse(name="kernelport", version=__version__, extensions=EXTENSIONS)

    async def metadata(self, name: str, version: str) -> oip.ModelMetadataResponse:
        """What a deployment takes and gives; nothing of it before a worker has loaded it once."""
        deployment, signature = await self._known(name, version)
        stacks = _leading_batch(signature)
        return oip.ModelMetadataResponse(
            name=name,
            versions=[VERSION],
            platform=_platform(deployment),
            inputs=[_tensor(spec, stacks) for spec in signature.inputs],
            outputs=[_tensor(spec, stacks) for spec in signature.outputs],
        )

    async def config(self, name: str, version: str) -> oip.ModelConfig:
        """The same as Triton's model configuration."""
        deployment, signature = await self._known(name, version)
        stacks = _leading_batch(signature)
        config = oip.ModelConfig(
            name=name,
            platform=_platform(deployment),
            backend=deployment.backend,
            max_batch_size=min(deployment.batching.max_rows, 2**31 - 1) if stacks else 0,
            model_transaction_policy=oip.ModelTransactionPolicy(decoupled=False),
        )
        for spec in signature.inputs:
            datatype, dims = _shape(spec, stacks)
            config.input.add(
                name=spec.name, data_type=_CONFIG_TYPES[datatype], dims=dims[stacks:], optional=spec.optional
            )
        for spec in signature.outputs:
            datatype, dims = _shape(spec, stacks)
            config.output.add(name=spec.name, data_type=_CONFIG_TYPES[datatype], dims=dims[stacks:])
        return config

    def statistics(self, name: str, version: str) -> oip.ModelStatisticsResponse:
        """Of the calls of this protocol that this front door has answered for the caller's tenant.

        Args:
            name: of a deployment; empty for all.
        """
        names = [self._deployment(name, version).name] if name else sorted(self._deployments)
        tenant = current().principal.tenant
        told = [_statistics(each, self._tallies[tenant, each]) for each in names]
        return oip.ModelStatisticsResponse(model_stats=told)

    async def index(self, ready: bool) -> oip.RepositoryIndexResponse:
        """All deployments, or those that are served."""
        found = oip.RepositoryIndexResponse()
        for name in sorted(self._deployments):
            if await self._inference.is_served(name):
                found.models.add(name=name, version=VERSION, state="READY")
            elif not ready:
                found.models.add(name=name, version=VERSION, state="UNAVAILABLE", reason="no live worker serves it")
        return found

    async def _known(self, name: str, version: str) -> tuple[Deployment, Signature]:
        deployment = self._deployment(name, version)
        return deployment, await self._inference.signature(name) or Signature()

    def _deployment(self, name: str, version: str) -> Deployment:
        if name not in self._deployments:
            raise NotFoundError(f"model: {self._deployments.unknown(name)}")
        if version not in ("", VERSION):
            raise NotFoundError(f'model: "{name}" has the version "{VERSION}", not "{version[:64]}"')
        return self._deployments[name]


def parameter_s(timeout_us: object, field: str) -> float | None:
    """Seconds of a parameter `timeout`; None when it is not given or 0.

    Raises:
        InvalidArgumentError: it is no number of microseconds.
    """
    if timeout_us is None or timeout_us == 0:
        return None
    if not isinstance(timeout_us, int) or isinstance(timeout_us, bool) or not 0 < timeout_us <= _MOST_TIMEOUT_US:
        raise invalid(field, f"expected microseconds above 0, got {timeout_us!r:.64}")
    return timeout_us / 1e6


def _wanted(outputs: Sequence[Output], names: Sequence[str]) -> Sequence[Output]:
    """The outputs of these names; all when there are none."""
    if not names:
        return outputs
    found = {each.tensor.name: each for each in outputs}
    _check_names(names, found)
    return [found[name] for name in names]


def _check_names(names: Sequence[str], known: Collection[str]) -> None:
    for index, name in enumerate(names):
        if name not in known:
            raise invalid(f"outputs[{index}].name", f'expected one of {", ".join(known)}, got "{name[:64]}"')


def _leading_batch(signature: Signature) -> bool:
    """Whether the first dimension of every tensor is that of a batch."""
    specs = [*signature.inputs, *signature.outputs]
    return signature.batchable and all(
        spec.ranked and len(spec.shape) > 0 and not (spec.batch_axis or spec.optional) for spec in specs
    )


def _tensor(spec: TensorSpec, stacks: bool) -> oip.ModelMetadataResponse.TensorMetadata:
    datatype, shape = _shape(spec, stacks)
    return oip.ModelMetadataResponse.TensorMetadata(name=spec.name, datatype=datatype, shape=shape)


def _shape(spec: TensorSpec, stacks: bool) -> tuple[str, list[int]]:
    """The datatype and the shape of a tensor; a text is one element of BYTES."""
    if is_text(spec) and (spec.max_characters or spec.choices or spec.names_voice):
        return "BYTES", [1]
    shape = [dimension.size for dimension in spec.shape] if spec.ranked else [-1]
    return DATATYPES[spec.dtype], [-1, *shape[1:]] if stacks else shape


def _platform(deployment: Deployment) -> str:
    return f"{deployment.backend}_pipeline" if deployment.pipeline else deployment.backend


def _statistics(name: str, tally: _Tally) -> oip.ModelStatistics:
    def duration(ns: int, count: int = tally.succeeded) -> oip.StatisticDuration:
        return oip.StatisticDuration(count=count, ns=ns)

    return oip.ModelStatistics(
        name=name,
        version=VERSION,
        last_inference=tally.last_unix_ms,
        inference_count=tally.succeeded,
        execution_count=tally.succeeded,
        inference_stats=oip.InferStatistics(
            success=duration(tally.total_ns),
            fail=duration(tally.failed_ns, tally.failed),
            queue=duration(tally.queue_ns),
            compute_input=duration(tally.batching_ns),
            compute_infer=duration(tally.backend_ns),
            compute_output=duration(0),
            cache_hit=duration(0, 0),
            cache_miss=duration(0, 0),
        ),
    )
