"""Records a message that was waited for as unacknowledged, while it is made ready to run."""

import contextlib
import time
from functools import partial

from redis.exceptions import RedisError

from kernelport.broker import scripts
from kernelport.broker.connections import until_done
from kernelport.broker.dedicated import DedicatedClient
from kernelport.broker.scripts import DeliveryState
from kernelport.v1.dead_letter_pb2 import Attempt


class UnackedRecord:
    """The record of one message: sent at once, its answer read when it is needed.

    A lone request waits for every round trip, and this one goes on beside. Should the record get lost before the worker
    dies, the front door finds out that the batch is nowhere, as after a death just before the record.

    Args:
        client: nobody else uses it until the record is written.
        key: the list that the message was popped off.
        entry: the message as it was there.

    Attributes:
        sent_at: seconds of the monotonic clock.
        more_wait: there were more messages on the list then; known once the record is written.
    """

    def __init__(self, client: DedicatedClient, key: str, entry: bytes, attempt: Attempt) -> None:
        self._client = client
        self._write = partial(scripts.record_unacked, client, key, entry, attempt)
        self._is_sent = self._is_written = False
        self._state: DeliveryState | None = None
        self.sent_at = time.monotonic()
        self.more_wait = False
        with contextlib.suppress(RedisError):  # then `wait` writes it
            self._client.send(*scripts.unacked_command(client, key, entry, attempt))
            self._is_sent = True

    def wait(self) -> DeliveryState | None:
        """Waits until the record is written; what was counted if the message is a batch."""
        if not self._is_written:
            self._state, self.more_wait = self._answer()
            self._is_written = True
        return self._state

    def _answer(self) -> tuple[DeliveryState | None, bool]:
        if self._is_sent:
            try:
                return scripts.read_unacked(self._client.receive())
            except RedisError:  # among others: Redis does not know the script
                pass
        return until_done(self._write)
