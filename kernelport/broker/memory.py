"""Who may still write when the memory of Redis runs short.

At its limit Redis refuses every write, heartbeats and answers included. So bulk stops first: jobs, and the large
requests and kept results of calls. Calls stop next. What is left then is for what processes tell each other.
"""

import math
from collections.abc import Mapping
from typing import Any

# Of the limit: up to where bulk may fill it, and up to where calls may.
BULK_SHARE, CALLS_SHARE = 0.9, 0.96


def full(memory: Mapping[str, Any]) -> str:
    """Why no calls are taken; empty when they are.

    Args:
        memory: as INFO tells it.
    """
    if left(memory, CALLS_SHARE) >= 0:
        return ""
    used, limit = (int(memory[name]) for name in ("used_memory", "maxmemory"))
    return f"it is full: it holds {used:,} of {limit:,} bytes, and calls may fill {CALLS_SHARE:.0%}"


def left(memory: Mapping[str, Any], share: float) -> float:
    """Bytes until Redis holds a share of its limit, below 0 beyond it; infinite where it has none, or evicts instead.

    Args:
        memory: as INFO tells it.
    """
    limit = int(memory.get("maxmemory", 0))
    if not limit or memory.get("maxmemory_policy") != "noeviction":
        return math.inf
    return share * limit - int(memory["used_memory"])
