"""The steps, and how one is run: as a process of its own, until its time is over."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

_UNTUNED = {"HELION_AUTOTUNE_EFFORT": "none"}
_BRIEFLY_TUNED = {"HELION_AUTOTUNE_EFFORT": "quick", "HELION_AUTOTUNE_BUDGET_SECONDS": "20"}


@dataclass(frozen=True)
class Step:
    """One step.

    Attributes:
        function: `module:function` in this package, from a Setting to records.
        limit_s: it is stopped then.
        environment: that it runs in, beside this process's own.
    """

    function: str
    limit_s: float
    environment: Mapping[str, str] = field(default_factory=lambda: _UNTUNED)


# What matters most comes first: the last ones get what time is left. Tuning alone could take all of it.
STEPS = {
    "machine": Step("machine:machine", 40),
    "checkpoints": Step("machine:checkpoints", 60),
    "correctness": Step("correctness:correctness", 110),
    "real-time-factor": Step("speed:real_time_factor", 180),
    "backlog": Step("speed:backlog", 130),
    "first-audio": Step("speed:first_audio", 45),
    "kernels": Step("kernels:kernels", 60),
    "profile": Step("profiling:profiled", 45),
    "onnx": Step("onnx_graphs:onnx_graphs", 60),
    "tuned-kernels": Step("kernels:tuned_kernels", 150, _BRIEFLY_TUNED),
}


def run_step(name: str, work: Path, limit_s: float, *, dry: bool) -> dict[str, Any]:
    """Runs a step in a process of its own.

    Args:
        name: of the step.
        work: where it keeps its records and its log, and finds the checkpoints.
        limit_s: it is stopped then; what it has recorded is kept.
        dry: on the CPU, at tiny size.

    Returns:
        `seconds`, `records`, and `failure` when it did not end well.
    """
    records, log = work / f"{name}.jsonl", work / f"{name}.log"
    work.mkdir(parents=True, exist_ok=True)
    records.unlink(missing_ok=True)
    arguments = [STEPS[name].function, str(work), str(records), *(["--dry"] if dry else [])]
    command = [sys.executable, "-m", "kernelport_ops.bench.gpu.child", *arguments]
    environment = {**STEPS[name].environment, **os.environ, "PYTHONUNBUFFERED": "1"}
    began = time.monotonic()
    with log.open("w") as output:
        child = subprocess.Popen(
            command, stdout=output, stderr=subprocess.STDOUT, env=environment, start_new_session=True
        )
        try:
            code = child.wait(limit_s)
            failure = f"ended with {code}: {_last_line(log)}" if code else ""
        except subprocess.TimeoutExpired:
            failure = f"stopped after {limit_s:.0f} s"
        finally:
            _end(child)
    result: dict[str, Any] = {"seconds": time.monotonic() - began, "records": list(_read(records))}
    return result | ({"failure": failure} if failure else {})


def _end(child: subprocess.Popen[bytes]) -> None:
    """Whatever of it still runs: a compiler that it has started may outlive it."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGKILL)
    child.wait()


def _last_line(log: Path) -> str:
    lines = log.read_text(errors="replace").strip().splitlines()
    return lines[-1][:300] if lines else "no output"


def _read(records: Path) -> Iterator[dict[str, Any]]:
    """What a step has recorded; the last line may be cut off."""
    if records.exists():
        for line in records.read_text().splitlines(keepends=True):
            if line.endswith("\n"):
                yield json.loads(line)
