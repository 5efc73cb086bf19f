"""Whether processes see the same storage: outputs that a worker leaves elsewhere would be nowhere to be found.

The storage holds a file with an id, made by whoever comes first. Redis has the id of the storage of jobs' outputs, and
which front doors hold it: those that live and see this storage. A front door that sees another one makes that the
storage of jobs when it starts and nobody holds the one before. Any other process that sees another one keeps away from
jobs, and says why.
"""

import logging
import socket
import threading
from typing import Any

from redis import Redis
from redis.asyncio import Redis as AsyncRedis

from kernelport.broker import keys, stored
from kernelport.broker.scripts import script
from kernelport.jobs.artifacts import Artifacts, storage_errors
from kernelport.jobs.background import Background

log: logging.Logger = logging.getLogger(__name__)

# How long a front door that has died, or cannot reach Redis, still holds the storage.
HOLD_S = 30.0

_MAX_URL_BYTES = 4096
_MAX_HOLD_BYTES = 1024


class OtherStorageError(Exception):
    """Live front doors keep the outputs of jobs in another storage; the message says where, and what to do."""


class SharedStorage(Background):
    """One process's view of the storage, compared with what Redis says of it from `start` until `stop`.

    Attributes:
        refusal: why this process takes no part in jobs; empty while it does.
    """

    def __init__(self, redis: Redis, artifacts: Artifacts, front_door: str = "") -> None:
        """
        Args:
            front_door: the name of the front door whose view it is; empty for any other process, which holds nothing.
        """
        super().__init__("shared-storage")
        self.refusal: str = ""
        self._redis = redis
        self._artifacts = artifacts
        self._front_door = front_door
        self._host = socket.gethostname()
        self._may_decide = bool(front_door)
        self._has_told = False
        self._looked = threading.Event()
        self._id = ""
        self._failure = ""

    def first_refusal(self, patience_s: float) -> str:
        """What `refusal` is after the first comparison, or after `patience_s` seconds where that takes longer."""
        self._looked.wait(patience_s)
        return self.refusal

    async def leave(self, redis: AsyncRedis) -> None:
        """Holds the storage no longer: once nobody does, another one may become that of jobs.

        Raises:
            RedisError: Redis cannot be told; the hold ends by itself.
        """
        async with redis.pipeline(transaction=False) as pipeline:
            pipeline.hdel(keys.JOB_STORAGE_HOLDS, self._front_door)
            await pipeline.execute()

    def _work(self) -> None:
        try:
            self.compare()
        finally:
            self._looked.set()

    def compare(self) -> None:
        """Compares the storage with that of jobs.

        Raises:
            RedisError: it cannot be asked which that is.
        """
        if not self._read_id():
            return
        known: Any = self._redis.hgetall(keys.JOB_STORAGE)
        refusal = self._hold(known) if self._front_door else different(known, self._id, self._artifacts.url(""))
        if refusal and refusal != self.refusal:
            log.error("takes no part in jobs: %s", refusal)
        elif self.refusal and not refusal:
            log.info("takes part in jobs again")
        self.refusal = refusal

    def _read_id(self) -> bool:
        """Whether the id of the storage is known. It stays what it is."""
        if not self._id:
            try:
                self._id = self._artifacts.identity()
            except storage_errors() as error:
                if str(error) != self._failure:
                    log.warning("cannot tell which storage is at %s: %s", self._artifacts.url(""), error)
                self._failure = str(error)
        return bool(self._id)

    def _hold(self, known: dict[bytes, bytes]) -> str:
        """Holds the storage on behalf of this front door, unless another one is held; gives the refusal then.

        One that was refused does not become the storage of jobs later, when those that hold it are merely replaced.
        """
        own_url, agrees = self._artifacts.url(""), known.get(b"id") == self._id.encode()
        if not (self._may_decide or agrees or not known):
            return different(known, self._id, own_url)
        if self._stopped:  # it has left, or is about to
            return self.refusal
        lasts = (round(HOLD_S * 1000), keys.INDEX_TTL_S)
        # What workers' revisions are held by serves here, too.
        found: Any = script(self._redis, "hold_revisions")(
            keys=[keys.JOB_STORAGE_HOLDS], args=[self._front_door, self._host, *lasts, 0, self._id]
        )
        self._may_decide = found is None
        if found is not None:
            held = stored.text(found[2], keys.JOB_STORAGE_HOLDS, _MAX_HOLD_BYTES)
            return _belongs(known, held.split(" ", 2)[-1], own_url)
        if not agrees or not self._has_told:
            if known and not agrees:
                log.warning("jobs' outputs are at %s from now on, another storage than before", own_url)
            self._redis.hset(keys.JOB_STORAGE, mapping={"id": self._id, "url": own_url})
            self._has_told = True
        return ""


def different(known: dict[bytes, bytes], own_id: str, own_url: str) -> str:
    """Why a storage is not the one that front doors use, for people; empty when it is, or none is known yet.

    Args:
        known: the fields of keys.JOB_STORAGE.
    """
    if not known or known.get(b"id") == own_id.encode():
        return ""
    return (
        f"its storage at {own_url} is not the front door's at {_url(known)}: outputs would be missing; "
        "KERNELPORT_ARTIFACTS must lead to the same directory or bucket on every machine"
    )


def _belongs(known: dict[bytes, bytes], host: str, own_url: str) -> str:
    """Why a front door may not make its storage that of jobs, for people."""
    url = _url(known) or "another place"
    return (
        f"its storage at {own_url} is not that of the jobs on this Redis, whose files are at {url}: a front "
        f"door on {host} keeps them there. Have KERNELPORT_ARTIFACTS lead to the same directory or bucket, use another "
        f"Redis or another database in it, or stop that front door first; one that was killed counts for {HOLD_S:g} s"
    )


def _url(known: dict[bytes, bytes]) -> str:
    return stored.text(known.get(b"url"), keys.JOB_STORAGE, _MAX_URL_BYTES)
