"""Carries out a plan: signals to real processes and a Redis that refuses, and when what was hit was back at work."""

import contextlib
import os
import signal
import threading
import time
from collections.abc import Callable, Sequence

from kernelport_ops.chaos.plan import OF_FRONT_DOOR, OF_REDIS, PAUSES, REFUSALS, Kind, Step
from kernelport_ops.chaos.records import Event
from kernelport_ops.chaos.system import FRONT_DOOR, REDIS, System, wait_until

# What does not serve again this long after it was hit has not recovered.
RECOVERY_LIMIT_S = 60.0
BUSY_CALLERS, SLOW_CALLERS = "callers", "slow-callers"
_SIGNALS = {
    Kind.KILL_WORKER: signal.SIGKILL,
    Kind.KILL_FRONT_DOOR: signal.SIGKILL,
    Kind.KILL_REDIS: signal.SIGKILL,
    Kind.RESTART_REDIS: signal.SIGTERM,
    Kind.DRAIN_WORKER: signal.SIGTERM,
    Kind.FULL_QUEUE: signal.SIGUSR1,
}


class FaultInjector:
    """The disturbances of one run, in order of their beginning."""

    def __init__(self, system: System) -> None:
        self.events: list[Event] = []
        self.skipped = 0
        self._system = system
        self._calm = threading.Event()
        self._watchers: list[threading.Thread] = []

    def inject(self, steps: Sequence[Step], tell: Callable[[], None]) -> None:
        """Carries out the plan; returns when everything that was hit is back, or has had its time.

        Args:
            tell: called several times a second.
        """
        started = time.monotonic()
        for step in steps:
            while (left := step.at_s - (time.monotonic() - started)) > 0:
                time.sleep(min(0.25, left))
                tell()
            self._begin(step)
        while any(watcher.is_alive() for watcher in self._watchers):
            time.sleep(0.1)
            tell()

    def abort(self) -> None:
        """Lets every paused process go on."""
        self._calm.set()
        for watcher in self._watchers:
            watcher.join()

    def _begin(self, step: Step) -> None:
        name = self._target(step)
        child = self._system.served.get(name) or self._system.callers[name]
        pid = child.pid
        busy = {event.target for event in self.events if event.until is None}
        if pid is None or name in busy:
            self.skipped += 1
            return
        event = Event(step.kind, name, pid, time.time())
        self.events.append(event)
        if step.kind in REFUSALS:
            self._system.refusals.begin(step.kind)
        else:
            number = signal.SIGSTOP if step.kind in PAUSES else _SIGNALS[step.kind]
            with contextlib.suppress(ProcessLookupError):  # it died this very moment, and starts again
                os.kill(pid, number)
        watcher = threading.Thread(target=self._watch, args=(event, step.pause_s), daemon=True)
        self._watchers.append(watcher)
        watcher.start()

    def _target(self, step: Step) -> str:
        if step.kind in OF_REDIS:
            return REDIS
        if step.kind in OF_FRONT_DOOR:
            return FRONT_DOOR
        if step.kind is Kind.PAUSE_CALLERS:
            return SLOW_CALLERS
        if step.kind is Kind.FULL_QUEUE:
            return BUSY_CALLERS
        return self._system.workers[step.worker]

    def _watch(self, event: Event, pause_s: float) -> None:
        if event.kind in REFUSALS:
            self._calm.wait(pause_s)
            self._system.refusals.end(event.kind)
            event.until = time.time()
            return
        if event.kind in PAUSES:
            self._calm.wait(pause_s)
            with contextlib.suppress(ProcessLookupError):
                os.kill(event.pid, signal.SIGCONT)
        if event.target in self._system.callers:
            event.until = time.time()
            return
        if wait_until(lambda: self._calm.is_set() or self._is_over(event), RECOVERY_LIMIT_S):
            event.until = time.time()

    def _is_over(self, event: Event) -> bool:
        if event.kind not in PAUSES and self._system.served[event.target].pid == event.pid:
            return False  # it has not died yet
        return self._system.is_back(event.target)
