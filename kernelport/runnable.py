"""Which deployments could run on this machine, and why the others could not.

The worker package knows; it is asked through a process of its own, since nothing here imports it.
"""

import json
import os
import subprocess
import sys

from kernelport.settings import Settings
from kernelport.stack import StackError


def problems_by_deployment(settings: Settings) -> dict[str, str | None]:
    """For each deployment in the deployments file what keeps it from running here; None when nothing does.

    Raises:
        StackError: when the worker package cannot be asked.
    """
    finished = subprocess.run(
        [sys.executable, "-m", "kernelport_workers.check"],
        env={**os.environ, **settings.to_environment()},
        capture_output=True,
        text=True,
        check=False,
    )
    if finished.returncode != 0:
        raise StackError(f"cannot ask the worker package what runs here: {finished.stderr.strip()}")
    problems: dict[str, str | None] = json.loads(finished.stdout)
    return problems
