"""What would run on other machines: here it takes only what the processes that are measured leave of the cores."""

import contextlib
import os
from pathlib import Path

from kernelport.process import stand_back

LOWEST = 19


def run_as_elsewhere(pid: int | None = None) -> None:
    """Has every thread of a process run only where a core would idle, with those that these start.

    A low priority would not do: to Linux a core is taken while anything but such a thread runs on it, and then it has
    what is measured wait for another core.
    """
    pid = os.getpid() if pid is None else pid
    stand_back(LOWEST, pid)
    for thread in Path(f"/proc/{pid}/task").glob("*"):
        with contextlib.suppress(ProcessLookupError):  # it has ended
            os.sched_setscheduler(int(thread.name), os.SCHED_IDLE, os.sched_param(0))
