"""How a process of ours keeps its memory, lets others go first, and ends."""

import atexit
import contextlib
import ctypes
import logging
import os
import sys
import time
from pathlib import Path
from typing import NoReturn

KEPT_BYTES = 64 * 2**20
"""Of freed memory, at most, at the end of what an allocator has."""
# glibc's mallopt. A block from the second on is mapped by itself; this is the most that it takes for it.
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
_MAPPED_FROM_BYTES = 32 * 2**20
_AUTOGROUP_TRIES, _AUTOGROUP_PAUSE_S = 20, 0.1
_LOWEST = 19


def keep_freed_memory() -> None:
    """Keeps some memory that was freed, as the next message takes it again: glibc would give it back to the system, and
    new pages cost about as much as copying into them. Does nothing with another C library."""
    with contextlib.suppress(OSError, AttributeError):
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(_MMAP_THRESHOLD, _MAPPED_FROM_BYTES)
        mallopt(_TRIM_THRESHOLD, KEPT_BYTES)


def stand_back(niceness: int, pid: int | None = None) -> None:
    """Has others go first: gives every thread of a process a lower priority, which threads have, too, that these start.
    What has a lower one already keeps it. Where the system does not allow it, nothing changes.

    Where Linux shares the cores among sessions (autogroups), priorities count only within each: so a session that the
    process has begun gets it as well.

    Args:
        niceness: 0 (as others) to 19 (only what they leave).
        pid: of another process; None for this one.
    """
    pid = os.getpid() if pid is None else pid
    process = Path(f"/proc/{pid}")
    threads = [int(each.name) for each in process.glob("task/*")]
    for thread in threads or [pid]:  # without Linux's /proc, the process as a whole
        with contextlib.suppress(OSError):  # it has ended, or is another user's
            os.setpriority(os.PRIO_PROCESS, thread, max(niceness, os.getpriority(os.PRIO_PROCESS, thread)))
    with contextlib.suppress(OSError):  # there are no autogroups
        if os.getsid(pid) == pid:
            _stand_back_as_session(process / "autogroup", niceness)


def run_where_idle(pid: int) -> None:
    """Has every thread of a process run only where a core would idle, with those that these start; where the system
    does not allow that, with the lowest priority. The process has to be the first of its session.

    A low priority alone would not do: to Linux a core is taken while anything else runs on it, and others wait for
    another core.
    """
    stand_back(_LOWEST, pid)
    for thread in Path(f"/proc/{pid}/task").glob("*"):
        with contextlib.suppress(OSError):  # it has ended, or a container does not allow it
            os.sched_setscheduler(int(thread.name), os.SCHED_IDLE, os.sched_param(0))


def _stand_back_as_session(autogroup: Path, niceness: int) -> None:
    """Of whoever is not root, Linux takes ten such changes a second, from all together."""
    *_, current = autogroup.read_text().split()  # as `/autogroup-25 nice 0`
    for _ in range(_AUTOGROUP_TRIES):
        try:
            autogroup.write_text(str(max(niceness, int(current))))
            return
        except BlockingIOError:
            time.sleep(_AUTOGROUP_PAUSE_S)


def end_process(code: int = 0) -> NoReturn:
    """Ends this process, once what is registered with `atexit` has been done and everything said has been written.

    Its objects are not taken apart before, which nobody needs: it takes a while, the longer the busier the machine, and
    gRPC has been seen to hang in it.
    """
    atexit._run_exitfuncs()
    logging.shutdown()
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            stream.flush()
    os._exit(code)
