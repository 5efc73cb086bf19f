"""Resident memory and progress over time, sampled from outside the processes."""

import statistics
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from kernelport.supervisor.processes import Child

INTERVAL_S = 1.0
_PAGE = 1024


@dataclass
class Samples:
    """Of one process, as long as it lived.

    Attributes:
        at: Unix seconds; `rss` has the resident bytes then, `progress` how far the run was.
    """

    at: list[float] = field(default_factory=list)
    rss: list[int] = field(default_factory=list)
    progress: list[float] = field(default_factory=list)


class Sampler:
    """Samples processes once a second from `start` until `stop`.

    Args:
        progress: how far the run is, in any unit: growth is measured by it.
    """

    def __init__(self, children: Callable[[], Mapping[str, Child]], progress: Callable[[], float] = time.time) -> None:
        self.samples: dict[tuple[str, int], Samples] = {}
        self._children = children
        self._progress = progress
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="sampler", daemon=True)

    def start(self) -> None:
        """Samples from now on."""
        self._thread.start()

    def stop(self) -> None:
        """Samples no more."""
        self._stopped.set()
        self._thread.join()

    def longest(self) -> dict[str, Samples]:
        """By name, the samples of its process that lived longest."""
        best: dict[str, Samples] = {}
        for (name, _), samples in self.samples.items():
            if name not in best or len(samples.at) > len(best[name].at):
                best[name] = samples
        return best

    def _run(self) -> None:
        while not self._stopped.wait(INTERVAL_S):
            now, progress = time.time(), self._progress()
            for name, child in self._children().items():
                pid = child.pid
                rss = resident_bytes(pid) if pid is not None else 0
                if pid is not None and rss:
                    samples = self.samples.setdefault((name, pid), Samples())
                    samples.at.append(now)
                    samples.rss.append(rss)
                    samples.progress.append(progress)


def resident_bytes(pid: int) -> int:
    """What a process holds in memory; 0 when it is gone."""
    try:
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) * _PAGE
    except (FileNotFoundError, ProcessLookupError):
        if Path("/proc/self").exists():
            return 0
        told = subprocess.run(["ps", "-o", "rss=", "-p", str(pid)], capture_output=True, text=True, check=False)
        return int(told.stdout or 0) * _PAGE
    return 0  # a zombie


def growth(samples: Samples, warm_up: float, window: float) -> float | None:
    """How much memory grew after the warm-up, as a share of what it was then; None when there is too little to tell.

    Args:
        warm_up: the share of the run's progress that is left out.
        window: the shares after the warm-up, and at the end, whose medians are compared.
    """
    first, last = samples.progress[0], samples.progress[-1]

    def median(lowest: float, highest: float) -> float | None:
        lowest, highest = (first + share * (last - first) for share in (lowest, highest))
        chosen = [rss for rss, at in zip(samples.rss, samples.progress, strict=True) if lowest <= at <= highest]
        return statistics.median(chosen) if chosen else None

    before, after = median(warm_up, warm_up + window), median(1 - window, 1)
    return after / before - 1 if before and after else None


def per_second(times: Sequence[float], first: float, last: float) -> list[int]:
    """How many of `times` fall into each second from `first` to `last`."""
    counts = [0] * (int(last - first) + 1)
    for at in times:
        if first <= at <= last:
            counts[int(at - first)] += 1
    return counts
