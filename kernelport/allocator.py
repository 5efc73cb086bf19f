"""How a process that carries large messages keeps its memory."""

import contextlib
import ctypes

KEPT_BYTES = 64 * 2**20
"""Of freed memory, at most, at the end of what an allocator has."""
# glibc's mallopt. A block from the second on is mapped by itself; this is the most that it takes for it.
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
_MAPPED_FROM_BYTES = 32 * 2**20


def keep_freed_memory() -> None:
    """Keeps some memory that was freed, as the next message takes it again: glibc would give it back to the system, and
    new pages cost about as much as copying into them. Does nothing with another C library."""
    with contextlib.suppress(OSError, AttributeError):
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(_MMAP_THRESHOLD, _MAPPED_FROM_BYTES)
        mallopt(_TRIM_THRESHOLD, KEPT_BYTES)
