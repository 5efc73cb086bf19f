"""Bodies of calls, within bounds of size and time."""

import asyncio
import contextlib
import logging
import re
import zlib
from collections.abc import AsyncGenerator, Mapping

from starlette.datastructures import FormData, Headers
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.types import Receive

from kernelport_api.aside import SMALL_BYTES
from kernelport_api.doors.http.errors import Refusal

# A body has to come at this rate at least, after some seconds: whoever is slower holds a connection for its own sake.
PATIENCE_S, SLOWEST_BYTES_S = 20.0, 16 * 2**10
MOST_FIELDS, MOST_FILES = 64, 4
# zlib's word for gzip or zlib, whichever it is; and for deflate without a header, as some clients send it.
_GZIP_OR_ZLIB, _BARE = 32 + zlib.MAX_WBITS, -zlib.MAX_WBITS
# So close to the end that no other half can follow.
_HALF_A_PAIR = re.compile(rb'(?<!\\)(?:\\\\)*\\u[dD][89abAB][0-9a-fA-F]{2}[^\\]{0,4}"[^\\]{0,4}\Z')
# What it says of a form is said to who sent it.
logging.getLogger("python_multipart").setLevel(logging.ERROR)


def why_no_json(error: Exception, body: bytes) -> str:
    """What keeps a body from being read as JSON. The decoder takes half a surrogate pair close to the end for an end
    that is missing."""
    if "truncated" in str(error) and _HALF_A_PAIR.search(body[-64:]):
        return "half a surrogate pair, such as \\ud800, without its other half"
    return str(error)


async def read_body(headers: Mapping[bytes, bytes], receive: Receive, most_bytes: int) -> bytes:
    """The whole body of a call, unpacked.

    Raises:
        Refusal: it is too large, packed or not, comes too slowly, or is packed in a way that is not known.
    """
    parts = [part async for part in _parts(headers, receive, most_bytes)]
    body = parts[0] if len(parts) == 1 else b"".join(parts)
    encoding = headers.get(b"content-encoding", b"identity").lower()
    if encoding == b"identity":
        return body
    if encoding not in (b"gzip", b"deflate"):
        raise Refusal(415, f"Content-Encoding: expected gzip or deflate, got {encoding.decode('latin-1')!r}")
    is_small = max(len(body), most_bytes) <= SMALL_BYTES
    return unpacked(body, most_bytes) if is_small else await asyncio.to_thread(unpacked, body, most_bytes)


async def pass_over(headers: Mapping[bytes, bytes], receive: Receive) -> None:
    """Takes a small body that nobody reads: where a connection is closed before it has come, its caller is cut off, and
    may not even see the answer."""
    with contextlib.suppress(Refusal):
        async for _ in _parts(headers, receive, SMALL_BYTES):
            pass


async def read_form(headers: Mapping[bytes, bytes], receive: Receive, most_bytes: int) -> FormData:
    """A form of type multipart/form-data; large files in it are kept on the disk.

    Raises:
        Refusal: it is none, is too large, or comes too slowly.
    """
    told = Headers(raw=list(headers.items()))
    parts = _parts(headers, receive, most_bytes)
    try:
        return await MultiPartParser(told, parts, max_files=MOST_FILES, max_fields=MOST_FIELDS).parse()
    except (MultiPartException, KeyError) as error:  # a KeyError: there is no boundary
        raise Refusal(400, f"body: expected multipart/form-data: {error}") from error


def unpacked(packed: bytes, most_bytes: int) -> bytes:
    """What gzip or deflate has packed.

    Raises:
        Refusal: it is none of both, is cut off, or unpacks to more than `most_bytes`.
    """
    for window_bits in (_GZIP_OR_ZLIB, _BARE):
        unpacker = zlib.decompressobj(window_bits)
        try:
            body = unpacker.decompress(packed, most_bytes + 1)
        except zlib.error:
            continue
        if len(body) > most_bytes:
            raise _too_large(most_bytes)
        if unpacker.eof and not unpacker.unused_data:
            return body
        break
    raise Refusal(400, "body: expected one whole gzip or deflate stream, as Content-Encoding says")


async def _parts(headers: Mapping[bytes, bytes], receive: Receive, most_bytes: int) -> AsyncGenerator[bytes, None]:
    """A body as it comes.

    Raises:
        Refusal: it is too large, comes too slowly, or its caller hangs up.
    """
    told = headers.get(b"content-length", b"")
    if told.isdigit() and int(told) > most_bytes:
        raise _too_large(most_bytes)
    size = 0
    began = asyncio.get_running_loop().time()
    while True:
        try:
            async with asyncio.timeout_at(began + PATIENCE_S + size / SLOWEST_BYTES_S):
                message = await receive()
        except TimeoutError:
            raise Refusal(408, f"expected {SLOWEST_BYTES_S} bytes of the body a second", connection="close") from None
        if message["type"] == "http.disconnect":
            raise Refusal(400, "the body is cut off")
        part: bytes = message.get("body", b"")
        size += len(part)
        if size > most_bytes:
            raise _too_large(most_bytes)
        yield part
        if not message.get("more_body", False):
            return


def _too_large(most_bytes: int) -> Refusal:
    return Refusal(413, f"body: expected at most {most_bytes:,} bytes")
