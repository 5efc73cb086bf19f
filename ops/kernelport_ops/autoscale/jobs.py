"""The backlog of bulk jobs."""

import importlib
import importlib.util
from typing import Any

from redis import Redis

_MODULE = "kernelport.jobs.backlog"


def job_backlog(redis: Redis, deployment: str) -> tuple[int, int]:
    """The items of a deployment's jobs that wait, and those that workers hold."""
    if importlib.util.find_spec("kernelport.jobs") is None:
        return 0, 0
    backlog: Any = importlib.import_module(_MODULE).Backlog.read(redis, deployment)
    return backlog.items, backlog.running
