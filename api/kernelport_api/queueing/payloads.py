"""Large requests and responses: they travel beside the queue, in the shared folder or under keys of their own."""

from typing import Any

from redis.asyncio import Redis

from kernelport.broker import keys
from kernelport.broker.shared_folder import SharedFolder
from kernelport.errors import InternalError, ResourceExhaustedError
from kernelport.internal.v1.queue_pb2 import BatchItem, Completion
from kernelport_api.queueing.admission import Admission
from kernelport_api.queueing.live_workers import WorkerView
from kernelport_api.queueing.redis_errors import reached
from kernelport_api.turns import turn_if_large


class Payloads:
    """What a front door does with large messages.

    Args:
        shared: the folder that this front door sees, if any.
        claim_bytes: requests from this size on travel beside the queue.
    """

    def __init__(
        self, redis: Redis, workers: WorkerView, admission: Admission, shared: SharedFolder | None, claim_bytes: int
    ) -> None:
        self._redis = redis
        self._workers = workers
        self._admission = admission
        self._shared = shared
        self._claim_bytes = claim_bytes

    @property
    def folder_id(self) -> str:
        """The id of the shared folder; empty when there is none."""
        return self._shared.id if self._shared else ""

    async def attach(self, item: BatchItem, deployment: str, body: bytes, timeout_s: float, anywhere: bool) -> None:
        """Puts a request into its item, or a large one beside the queue.

        Args:
            anywhere: it must be in reach of workers on other machines.

        Raises:
            ResourceExhaustedError: when it must travel through Redis, and is larger than Redis takes now.
            UnavailableError: when Redis cannot be reached.
        """
        if len(body) < self._claim_bytes:
            item.request = body
            return
        await turn_if_large(len(body))
        ttl_s = timeout_s + keys.PAYLOAD_TTL_PAST_DEADLINE_S
        if self._shared and not anywhere and self._workers.all_share(deployment, self._shared.id):
            item.request_file = self._shared.put(item.id.decode(), body, ttl_s) or ""
        if item.request_file:
            return
        if len(body) > keys.LARGEST_VALUE_BYTES:
            limit = f"{keys.LARGEST_VALUE_BYTES:,} bytes, which is all that Redis takes"
            raise ResourceExhaustedError(f"inputs: expected a request of at most {limit}; got {len(body):,}")
        self._admission.check_payload(deployment)
        item.request_claim = keys.claim(item.id.decode())
        await reached(self._redis.set(item.request_claim, body, ex=round(ttl_s)))

    def release(self, item: BatchItem) -> None:
        """Lets go of a request that its worker could not let go of."""
        if self._shared and item.request_file:
            self._shared.discard(item.request_file)

    async def response(self, completion: Completion) -> bytes:
        """The serialized response of a completion; a large one can be had once."""
        kind = completion.WhichOneof("result")
        if kind == "response":
            return completion.response
        claimed: Any = None
        if kind == "response_file" and self._shared:
            try:
                await turn_if_large(self._shared.size(completion.response_file))
                claimed = self._shared.get(completion.response_file)
            finally:
                self._shared.discard(completion.response_file)
        elif kind == "response_claim" and completion.response_claim.startswith(keys.CLAIM):
            claimed = await reached(self._redis.getdel(completion.response_claim), "the request has run")
        if claimed is None:
            raise InternalError("the response expired before it could be read")
        return bytes(claimed)

    def sweep(self) -> None:
        """Lets go of messages in the shared folder whose owners died."""
        if self._shared:
            self._shared.sweep()
