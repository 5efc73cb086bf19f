"""Notes a message that was waited for as delivered, while it is read."""

import contextlib
from collections.abc import Callable
from typing import Any

from redis import Redis
from redis.exceptions import RedisError

from kernelport import scripts
from kernelport.scripts import Taken
from kernelport.v1.dead_letter_pb2 import Attempt
from kernelport_workers.outages import PASSING, until_done


class DeliveryNote:
    """The note of one message at a time: sent at once, its answer read when the message has been.

    A lone request waits for every round trip, and a part of this one goes on beside. Should the note get lost before
    the worker dies, the front door finds out that the batch is nowhere, as after a death just before the note.
    """

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._connection: Any = None
        self._write: Callable[[], Taken | None] | None = None

    def send(self, key: str, entry: bytes, attempt: Attempt) -> None:
        """Sends the note for an entry that was popped off the list `key`."""
        self._write = lambda: scripts.note_delivery(self._redis, key, entry, attempt)
        with contextlib.suppress(*PASSING):  # then `settle` writes it
            self._connection = self._redis.connection_pool.get_connection()
            self._connection.send_command(*scripts.delivery_note(self._redis, key, entry, attempt))

    def settle(self) -> Taken | None:
        """Waits until the note is written, if there is one; gives what was counted.

        It must not come after the acknowledgement.
        """
        if self._write is None:
            return None
        connection, write = self._connection, self._write
        self._connection = self._write = None
        try:
            if connection is None:
                raise RedisError("not sent")
            found = connection.read_response()
            return None if found is None else Taken.of(found)
        except RedisError:
            return until_done(write)
        finally:
            if connection is not None:
                self._redis.connection_pool.release(connection)
