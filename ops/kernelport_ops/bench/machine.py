"""What the figures were measured on."""

import importlib.metadata
import os
import platform
import re
from collections.abc import Sequence
from pathlib import Path

from kernelport.supervisor.redis_server import find_redis_server, redis_version

PACKAGES = (
    "grpcio",
    "protobuf",
    "celery",
    "kombu",
    "redis",
    "hiredis",
    "onnxruntime",
    "numpy",
    "aiohttp",
    "hibari-tts",
)


def describe_machine() -> dict[str, str | float | dict[str, str]]:
    """Of a machine that runs the whole stack: what :func:`describe_host` says, and the version of Redis."""
    return {**describe_host(PACKAGES), "redis_server": ".".join(map(str, redis_version(find_redis_server())))}


def describe_host(packages: Sequence[str]) -> dict[str, str | float | dict[str, str]]:
    """Processor, memory, system and versions; nothing that names the machine or its user."""
    return {
        "processor": _first(Path("/proc/cpuinfo"), r"model name\s*:\s*(.+)") or platform.processor(),
        "cores": os.cpu_count() or 0,
        "memory_kib": int(_first(Path("/proc/meminfo"), r"MemTotal:\s*(\d+)") or 0),
        # Other work on the machine: figures taken beside it are worth little.
        "load_average_before": round(os.getloadavg()[0], 2),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "python": platform.python_version(),
        "packages": {name: version for name in packages if (version := _version(name))},
    }


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return ""


def _first(path: Path, pattern: str) -> str:
    match = re.search(pattern, path.read_text()) if path.exists() else None
    return match[1].strip() if match else ""
