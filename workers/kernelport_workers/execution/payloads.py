"""Large requests and responses: they travel beside the queue, in the shared folder or under keys of their own."""

from collections.abc import Sequence
from functools import partial

from redis import Redis

from kernelport.broker import keys, large
from kernelport.broker.connections import until_done
from kernelport.broker.shared_folder import SharedFolder
from kernelport.errors import ResourceExhaustedError, to_status
from kernelport.internal.v1.queue_pb2 import Batch, Completion
from kernelport_workers.execution.execution import Answer


class Payloads:
    """What a worker does with large messages. Waits for Redis while it is away.

    Args:
        shared: the folder that this worker sees, if any.
        worker_id: becomes part of the names of responses.
        claim_bytes: responses from this size on travel beside the queue.
    """

    def __init__(self, redis: Redis, shared: SharedFolder | None, worker_id: str, claim_bytes: int) -> None:
        self._redis = redis
        self._shared = shared
        self._worker_id = worker_id
        self._claim_bytes = claim_bytes

    def are_in_reach(self, batch: Batch) -> bool:
        """Whether this worker can get at the requests of a batch."""
        return self._folder(batch) is not None or not any(item.request_file for item in batch.items)

    def requests(self, batch: Batch) -> list[bytes | None]:
        """The serialized requests of a batch; None for one that is gone."""
        folder = self._folder(batch)
        requests: list[bytes | None] = []
        claimed: dict[str, int] = {}
        for index, item in enumerate(batch.items):
            if item.request_claim:
                claimed[item.request_claim] = index
            from_folder = folder.get(item.request_file) if folder and item.request_file else None
            requests.append(from_folder if item.request_claim or item.request_file else item.request)
        values = until_done(lambda: large.read_all(self._redis, list(claimed)))
        for index, value in zip(claimed.values(), values, strict=True):
            requests[index] = value
        return requests

    def put_away(self, batch: Batch, answers: Sequence[Answer]) -> list[Completion]:
        """Puts responses into their completions, and large ones beside the queue; gives the completions."""
        folder, beside = self._folder(batch), 0
        # A listener may take its time.
        ttl_s = keys.FRAME_TTL_S if any(item.stream for item in batch.items) else keys.REPLIES_TTL_S
        for completion, response in answers:
            if not response:
                continue
            size = sum(map(len, response))
            if size < self._claim_bytes:
                completion.response = b"".join(response)
                continue
            name = f"{self._worker_id}:{batch.id}:{beside}.{completion.sequence}"
            beside += 1
            file = folder.put(name, response, ttl_s) if folder else None
            if file is not None:
                completion.response_file = file
                continue
            if size > keys.LARGEST_VALUE_BYTES:
                limit = f"{keys.LARGEST_VALUE_BYTES:,} bytes, which is all that Redis takes"
                error = ResourceExhaustedError(f"outputs: expected an answer of at most {limit}; got {size:,}")
                completion.error = to_status(error).SerializeToString()
                continue
            key = keys.claim(name)
            until_done(partial(large.write, self._redis, key, b"".join(response), ttl_s))
            completion.response_claim = key
        return [completion for completion, _ in answers]

    def release(self, batch: Batch) -> None:
        """Lets go of a batch's requests."""
        folder = self._folder(batch)
        for item in batch.items:
            if folder and item.request_file:
                folder.discard(item.request_file)
        consumed = [item.request_claim for item in batch.items if item.request_claim]
        if consumed:
            until_done(lambda: self._redis.delete(*consumed))

    def _folder(self, batch: Batch) -> SharedFolder | None:
        """The shared folder, when the front door that asked sees it, too."""
        return self._shared if self._shared and self._shared.id == batch.shared_folder else None
