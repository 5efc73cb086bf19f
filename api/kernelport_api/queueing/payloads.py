"""Large requests and responses: they travel beside the queue, in the shared folder or under keys of their own."""

import asyncio
import contextlib
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from redis.asyncio import Redis
from redis.exceptions import RedisError

from kernelport.broker import keys, large
from kernelport.broker.shared_folder import SharedFolder
from kernelport.errors import InternalError, ResourceExhaustedError
from kernelport.internal.v1.queue_pb2 import BatchItem, Completion
from kernelport_api.queueing.admission import Admission
from kernelport_api.queueing.live_workers import WorkerView
from kernelport_api.queueing.redis_errors import reached_at_once

# Copying so much takes longer than going to a thread and back; files are read and written without the interpreter. One
# thread: each keeps some of the memory that it has freed.
_THREAD_BYTES = 2**20
_thread = ThreadPoolExecutor(1, "payloads")


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
        self._unlinking: set[asyncio.Task[None]] = set()

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
        ttl_s = timeout_s + keys.PAYLOAD_TTL_PAST_DEADLINE_S
        if self._shared and not anywhere and self._workers.all_share(deployment, self._shared.id):
            item.request_file = await self._put(self._shared, item.id.decode(), body, ttl_s)
        if item.request_file:
            return
        if len(body) > keys.LARGEST_VALUE_BYTES:
            limit = f"{keys.LARGEST_VALUE_BYTES:,} bytes, which is all that Redis takes"
            raise ResourceExhaustedError(f"inputs: expected a request of at most {limit}; got {len(body):,}")
        self._admission.check_payload(deployment)
        item.request_claim = keys.claim(item.id.decode())
        await reached_at_once(large.write_async(self._redis, item.request_claim, body, round(ttl_s)))

    async def _put(self, folder: SharedFolder, name: str, body: bytes, ttl_s: float) -> str:
        """The name of a request in the shared folder; empty when there is no room."""
        if len(body) < _THREAD_BYTES:
            return folder.put(name, [body], ttl_s) or ""
        putting = asyncio.get_running_loop().run_in_executor(_thread, folder.put, name, [body], ttl_s)
        try:
            return await asyncio.shield(putting) or ""
        except asyncio.CancelledError:  # nobody will ask for it
            putting.add_done_callback(lambda _: folder.discard(putting.result() or ""))
            raise

    def release(self, item: BatchItem) -> None:
        """Lets go of a request that no worker lets go of."""
        self._discard(item.request_file, item.request_claim)

    async def response(self, completion: Completion, tail: bytes = b"") -> bytes:
        """The serialized response of a completion, with `tail` behind it; a large one can be had once."""
        kind = completion.WhichOneof("result")
        if kind == "response":
            return completion.response + tail
        claimed: bytes | None = None
        try:
            if kind == "response_file" and self._shared:
                file = completion.response_file
                is_large = self._shared.size(file) >= _THREAD_BYTES
                get = partial(self._shared.get, file, tail)
                claimed = await asyncio.get_running_loop().run_in_executor(_thread, get) if is_large else get()
            elif kind == "response_claim" and completion.response_claim.startswith(keys.CLAIM):
                reading = large.read_async(self._redis, completion.response_claim, tail)
                claimed = await reached_at_once(reading, "the request has run")
        finally:
            self.drop(completion)
        if claimed is None:
            raise InternalError("the response expired before it could be read")
        return claimed

    def drop(self, completion: Completion) -> None:
        """Lets go of a response that nobody waits for any more."""
        self._discard(completion.response_file, completion.response_claim)

    def _discard(self, file: str, claim: str) -> None:
        if self._shared and file:
            self._shared.discard(file)
        if claim.startswith(keys.CLAIM):
            task = asyncio.create_task(self._unlink(claim))
            self._unlinking.add(task)
            task.add_done_callback(self._unlinking.discard)

    async def _unlink(self, claim: str) -> None:
        with contextlib.suppress(RedisError):  # it expires
            await self._redis.unlink(claim)

    def sweep(self) -> None:
        """Lets go of messages in the shared folder whose owners died."""
        if self._shared:
            self._shared.sweep()
