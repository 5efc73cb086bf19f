"""How the load generator makes one call. All gRPC systems are called by the same code with the same message."""

import importlib
import json
from collections import Counter
from typing import Any, Protocol

import grpc
import numpy as np
from redis import Redis

from kernelport import tensors
from kernelport.client import Address
from kernelport.errors import from_call
from kernelport.tensors import Array
from kernelport.v1 import inference_pb2, inference_pb2_grpc
from kernelport_ops.bench.cells import Job

RETRY_S = 0.05
HEADER_LENGTH = "Inference-Header-Content-Length"
_UNLIMITED = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]


class CallError(Exception):
    """A request without a right answer: what went wrong in a word or two, and seconds to wait before the next."""

    def __init__(self, what: str, retry_after_s: float = RETRY_S) -> None:
        super().__init__(what)
        self.what = what
        self.retry_after_s = retry_after_s


class Transport(Protocol):
    """Makes calls to one target."""

    counts: Counter[int]

    async def call(self) -> None:
        """One request and its answer. Raises CallError when the answer is not right."""

    async def close(self) -> None:
        """Closes the connections."""


def connect(job: Job) -> Transport:
    """The transport of a job other than `redis`. Call it inside a running event loop."""
    return GrpcTransport(job) if job.transport == "grpc" else HttpTransport(job)


class GrpcTransport:
    """One grpc.aio channel. The message is built once; it is serialized, and the answer parsed, in every call. With
    KERNELPORT_API_KEY each call shows that key."""

    def __init__(self, job: Job) -> None:
        self.counts: Counter[int] = Counter()
        self._job = job
        self._channel = grpc.aio.insecure_channel(job.target, options=_UNLIMITED)
        self._metadata = Address(job.target).metadata
        self._infer = inference_pb2_grpc.InferenceServiceStub(self._channel).Infer
        self._request = inference_pb2.InferRequest(model=job.model, inputs=tensors.from_arrays(_inputs(job)))

    async def call(self) -> None:
        try:
            response = await self._infer(self._request, timeout=self._job.timeout_s, metadata=self._metadata)
        except grpc.RpcError as error:
            retry_after_s = from_call(error).retry_after_s
            raise CallError(error.code().name, retry_after_s or RETRY_S) from None
        if len(response.outputs[0].data) != self._job.answer_bytes:
            raise CallError("wrong answer")
        if self._job.counted:
            outputs = tensors.to_arrays(response.outputs)
            self.counts[int(outputs[self._job.counted][0])] += 1

    async def close(self) -> None:
        await self._channel.close()


class HttpTransport:
    """An aiohttp session that keeps its connections.

    The elements travel as they are, raw bytes in and raw bytes out; with `http-open-inference` behind a description in
    JSON; or with `http-json` as text, made once, parsed in every call.
    """

    def __init__(self, job: Job) -> None:
        self._aiohttp: Any = importlib.import_module("aiohttp")
        self.counts: Counter[int] = Counter()
        self._job = job
        self._body, headers = http_request(job)
        self._session = self._aiohttp.ClientSession(
            connector=self._aiohttp.TCPConnector(limit=0),
            timeout=self._aiohttp.ClientTimeout(total=job.timeout_s),
            headers={**headers, "accept-encoding": "identity"},  # no compression: gRPC has none either
        )

    async def call(self) -> None:
        try:
            async with self._session.post(self._job.target, data=self._body) as response:
                answer = await response.read()
                status: int = response.status
        except (self._aiohttp.ClientError, TimeoutError) as error:
            raise CallError(type(error).__name__) from error
        if status != 200:
            raise CallError(f"HTTP {status}")
        size = len(answer) - int(response.headers.get(HEADER_LENGTH, 0))
        if self._job.transport == "http-json":
            size = np.asarray(json.loads(answer), np.float32).nbytes
        if size != self._job.answer_bytes:
            raise CallError("wrong answer")

    async def close(self) -> None:
        await self._session.close()


def http_request(job: Job) -> tuple[bytes, dict[str, str]]:
    """The body of every request, and what its headers say of it."""
    array = array_of(job)
    raw = array.tobytes()
    match job.transport:
        case "http-json":
            return json.dumps({"x": array.tolist()}).encode(), {"content-type": "application/json"}
        case "http-open-inference":
            size = {"binary_data_size": len(raw)}
            tensor = {"name": "x", "shape": job.shape, "datatype": "FP32", "parameters": size}
            asked = json.dumps({"inputs": [tensor], "parameters": {"binary_data_output": True}}).encode()
            return asked + raw, {"content-type": "application/octet-stream", HEADER_LENGTH: str(len(asked))}
        case _:
            return raw, {"content-type": "application/octet-stream"}


class RedisCalls:
    """redis-py as it is: SET of the elements, then GET of the same key. Blocking; one key a caller."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._redis: Any = Redis.from_url(job.target, socket_timeout=job.timeout_s)
        self._body = array_of(job).tobytes()

    def call(self, caller: int) -> None:
        """One SET and one GET. Raises CallError when what comes back is not what went in."""
        key = f"bench:{caller}"
        self._redis.set(key, self._body)
        if len(self._redis.get(key)) != self._job.answer_bytes:
            raise CallError("wrong answer")

    def close(self) -> None:
        """Closes the connections."""
        self._redis.close()


def _inputs(job: Job) -> dict[str, Array]:
    if not job.inputs_file:
        return {"x": array_of(job)}
    with np.load(job.inputs_file, allow_pickle=False) as arrays:
        return dict(arrays)


def array_of(job: Job) -> Array:
    """The input; no two elements equal within reason, so that nothing can be compressed or cached away."""
    return np.random.default_rng(0).random(job.shape, dtype=np.float32)
