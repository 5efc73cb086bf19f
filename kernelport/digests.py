"""The running digest of a job's items: what tells one submission from another, in whatever messages its items come."""

import hashlib
from collections.abc import Iterable

from kernelport.v1.job_pb2 import NewItem

NO_ITEMS = b""


def running_digests(before: bytes, items: Iterable[NewItem | bytes]) -> list[bytes]:
    """The digest after each of some items: SHA-256 of the digest before it and the serialized item.

    Args:
        before: the digest of all items before these; NO_ITEMS at the beginning.
        items: in the order of submission, as messages or serialized.
    """
    digests = []
    for item in items:
        serialized = item if isinstance(item, bytes) else item.SerializeToString()
        before = hashlib.sha256(before + serialized).digest()
        digests.append(before)
    return digests
