"""Whether processes see the same storage: outputs that a worker leaves elsewhere would be nowhere to be found.

The storage holds a file with an id, made by whoever comes first. The front door that started last says in Redis which
id the storage of jobs' outputs has. Any other process that sees another one keeps away from jobs, and says why.
"""

import logging
from typing import Any

from redis import Redis

from kernelport.broker import keys, stored
from kernelport.jobs.artifacts import Artifacts, storage_errors

log: logging.Logger = logging.getLogger(__name__)

_MAX_URL_BYTES = 4096


class SharedStorage:
    """One process's view of the storage; `compare` keeps it fresh, from whatever thread has the time.

    Attributes:
        refusal: why this process takes no part in jobs; empty while it does.
    """

    def __init__(self, redis: Redis, artifacts: Artifacts, *, decides: bool = False) -> None:
        """
        Args:
            decides: whether this process, by its start, says which storage it is: it is a front door.
        """
        self.refusal: str = ""
        self._redis = redis
        self._artifacts = artifacts
        self._decides = decides
        self._decided = False
        self._id = ""
        self._failure = ""

    def compare(self) -> None:
        """Compares the storage with the front door's.

        Raises:
            RedisError: it cannot be asked which that is.
        """
        if not self._read_id():
            return
        known: Any = self._redis.hgetall(keys.JOB_STORAGE)
        if self._decides and not (known and self._decided):
            self._decide(known)
        refusal = different(known, self._id, self._artifacts.url(""))
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

    def _decide(self, known: dict[bytes, bytes]) -> None:
        if known and known.get(b"id") != self._id.encode():
            log.warning("jobs' outputs are at %s from now on, another storage than before", self._artifacts.url(""))
        known |= {b"id": self._id.encode(), b"url": self._artifacts.url("").encode()}
        self._redis.hset(keys.JOB_STORAGE, mapping=known)  # type: ignore[arg-type]
        self._decided = True


def different(known: dict[bytes, bytes], own_id: str, own_url: str) -> str:
    """Why a storage is not the one that the front door uses, for people; empty when it is, or none is known yet.

    Args:
        known: the fields of keys.JOB_STORAGE.
    """
    if not known or known.get(b"id") == own_id.encode():
        return ""
    url = stored.text(known.get(b"url"), keys.JOB_STORAGE, _MAX_URL_BYTES)
    return (
        f"its storage at {own_url} is not the front door's at {url}: outputs would be missing; "
        "KERNELPORT_ARTIFACTS must lead to the same directory or bucket on every machine"
    )
