"""What a job that is over keeps in Redis: all that it had, in less room.

Its pages are compressed. What leads from an item's id to its page was a hash, at some 70 bytes an item; it becomes
buckets that are searched through, at 9: of each id in them four bytes of its digest, and the page. Another id's digest
may have the same four, so more than one page may have to be looked into.
"""

import struct
import zlib
from collections.abc import Iterable, Iterator

from kernelport.internal.v1.job_store_pb2 import Page
from kernelport.jobs.pages import id_digest

IDS_IN_BUCKET = 64
_ENTRY = struct.Struct(">4sI")


def compressed(page: Page) -> bytes:
    """A page as it is kept, serialized."""
    plain = page.SerializeToString()
    small = Page(compressed=zlib.compress(plain)).SerializeToString()
    return min(plain, small, key=len)


def decompressed(page: Page, most_bytes: int) -> bytes:
    """The serialized page in a compressed one.

    Raises:
        ValueError: there is none of at most so many bytes.
    """
    reader = zlib.decompressobj()
    try:
        plain = reader.decompress(page.compressed, most_bytes)
    except zlib.error as error:
        raise ValueError(str(error)) from None
    if not reader.eof:
        raise ValueError(f"cut off, or of more than {most_bytes:,} bytes")
    return plain


class Places:
    """The pages of a job's items by their ids, in buckets.

    Args:
        items: that the job has.
    """

    def __init__(self, items: int) -> None:
        self._buckets = [bytearray() for _ in range(items // IDS_IN_BUCKET + 1)]

    def __len__(self) -> int:
        return len(self._buckets)

    def add(self, ids: Iterable[str], page: int) -> None:
        """Takes in the items of a page."""
        for item_id in ids:
            digest = id_digest(item_id)
            self._buckets[bucket_of(digest, len(self))] += _ENTRY.pack(digest[-4:], page)

    def __iter__(self) -> Iterator[bytes]:
        return map(bytes, self._buckets)


def bucket_of(digest: bytes, buckets: int) -> int:
    """The number of the bucket, of so many, that an item is in."""
    return int.from_bytes(digest[:4]) % buckets


def pages_in(bucket: bytes, digest: bytes) -> list[int]:
    """The pages that may have an item.

    Raises:
        ValueError: it is no bucket.
    """
    try:
        return [page for known, page in _ENTRY.iter_unpack(bucket) if known == digest[-4:]]
    except struct.error as error:
        raise ValueError(str(error)) from None
