"""What would have cores of its own on other machines takes only what the measured processes leave here."""

import contextlib
import os
from pathlib import Path

LOWEST = 19


def stand_aside(pid: int) -> None:
    """Gives every thread of a process the lowest priority; threads that it starts later have that of their starter.

    Where Linux shares the cores among sessions first (autogroups), the whole session of the process gets it, too:
    priorities count only within one.
    """
    for thread in Path(f"/proc/{pid}/task").glob("*"):
        os.setpriority(os.PRIO_PROCESS, int(thread.name), LOWEST)
    with contextlib.suppress(FileNotFoundError):
        Path(f"/proc/{pid}/autogroup").write_text(str(LOWEST))
