"""Child processes that are kept running, and that die with their parent."""

import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from kernelport.errors import REFUSED
from kernelport.supervisor.state_folder import open_private
from kernelport.telemetry import metrics
from kernelport.telemetry.metrics import labelled

log: logging.Logger = logging.getLogger(__name__)

FIRST_BACKOFF_S = 0.5
LONGEST_BACKOFF_S = 10.0
# A child that ran this long before it ended starts again without delay.
STEADY_AFTER_S = 10.0
# One that never got to work is started so many times: what keeps a model from loading seldom passes.
MOST_STARTS = 3
_TAIL_BYTES = 64 * 1024
# How a worker begins the line that says why it ends.
OWN_WORDS = "kernelport worker: "
# Its arguments: the parent, which may be dead by now, and the command. 1 is PR_SET_PDEATHSIG. A SIGHUP, which tells of
# another deployments file, waits until the command is ready for it.
_DIE_WITH_PARENT = """
import ctypes, os, signal, sys
ctypes.CDLL(None).prctl(1, signal.SIGKILL)
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGHUP])
if os.getppid() != int(sys.argv[1]):
    sys.exit("the parent process has died")
try:
    os.execvp(sys.argv[2], sys.argv[2:])
except OSError as error:
    sys.exit(f"cannot run {sys.argv[2]}: {error.strerror}")
"""


class Child:
    """One child process, started again when it ends, unless it has ended some times without ever getting to work.

    A thread of its own starts the process and waits for it, so that its death is known at once. The process writes to
    a log file, and on Linux the kernel kills it should its parent die without a word.

    Attributes:
        restarts: how often it was started again, or is about to be.
        has_failed: it is not started again.
        was_refused: that is because it ended with REFUSED, and to start it again is of no use.
        reason: how it ended last, with what it said of it; empty while it never has.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        environment: Mapping[str, str],
        log_file: Path,
        on_exit: Callable[[], bool] = lambda: True,
        umask: int = -1,
        deployment: str = "",
        at_first: Sequence[str] = (),
    ) -> None:
        """
        Args:
            on_exit: called each time the process has ended without being asked to; says whether it had got to work.
            umask: of the process; this one's own when negative.
            deployment: of a worker.
            at_first: arguments that it has when it is started for the first time, and not again.
        """
        labels = ("worker", deployment) if deployment else (name, "")
        self._deaths, self._restarts = (
            labelled(counter, *labels) for counter in (metrics.PROCESS_DEATHS, metrics.PROCESS_RESTARTS)
        )
        self.name = name
        self.log_file = log_file
        self.restarts: int = 0
        self.has_failed: bool = False
        self.was_refused: bool = False
        self.reason: str = ""
        self._command = list(command)
        self._at_first = list(at_first)
        self._environment = dict(environment)
        self._on_exit = on_exit
        self._umask = umask
        self._process: subprocess.Popen[bytes] | None = None
        self._stopping = threading.Event()
        self._started = threading.Event()
        self._thread = threading.Thread(target=self._supervise, name=f"supervise-{name}", daemon=True)

    @property
    def pid(self) -> int | None:
        """The id of the running process; None while there is none."""
        process = self._process
        return process.pid if process is not None and process.poll() is None else None

    def start(self) -> None:
        """Starts the process; returns once it runs."""
        self._thread.start()
        self._started.wait()

    def terminate(self) -> None:
        """Asks the process to stop; it is not started again."""
        self._stopping.set()
        if self._process is not None:
            self._process.terminate()  # which minds that it may end by itself this very moment

    def join(self, timeout_s: float) -> None:
        """Waits for a terminated process to end, and kills it when it has not by then."""
        self._thread.join(timeout_s)
        if self._thread.is_alive() and self._process is not None:
            log.warning("%s did not stop within %g s: killed", self.name, timeout_s)
            self._process.kill()
            self._thread.join()

    def log_tail(self, lines: int = 12) -> str:
        """The last lines of the process's log."""
        return "\n".join(self._log_since(0)[-lines:])

    def _log_since(self, position: int) -> list[str]:
        """The lines from a position in the log on, as far as they are among its last; all that are there, when it has
        begun anew since."""
        if not self.log_file.exists():
            return []
        with self.log_file.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(position if position <= size else 0, size - _TAIL_BYTES))
            return file.read().decode(errors="replace").splitlines()

    def _supervise(self) -> None:
        backoff_s, has_worked = FIRST_BACKOFF_S, False
        while not self._stopping.is_set():
            started_at = time.monotonic()
            with open(self.log_file, "ab", opener=open_private) as output:
                log_begins = output.tell()
                self._process = subprocess.Popen(
                    [*dying_with_parent(), *self._command, *([] if self.restarts else self._at_first)],
                    env=self._environment,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    umask=self._umask,
                    start_new_session=True,  # Ctrl-C is the parent's to handle, in order
                )
            self._started.set()
            code = self._process.wait()
            if self._stopping.is_set():
                return
            self._deaths.inc()
            has_worked |= self._on_exit() or code == 0
            self.reason = f"{_how(code)}: {_last_words(self._log_since(log_begins), code)}".removesuffix(": ")
            if code == REFUSED:
                self.was_refused = self.has_failed = True
                log.error("%s %s", self.name, self.reason)
                return
            if not has_worked and self.restarts + 1 >= MOST_STARTS:
                self.has_failed = True
                log.error("%s %s; given up after %d starts", self.name, self.reason, MOST_STARTS)
                return
            self.restarts += 1
            self._restarts.inc()
            if time.monotonic() - started_at > STEADY_AFTER_S:
                backoff_s = FIRST_BACKOFF_S
            log.warning("%s %s; starting it again in %g s", self.name, self.reason, backoff_s)
            self._stopping.wait(backoff_s)
            backoff_s = min(LONGEST_BACKOFF_S, 2 * backoff_s)


def _how(code: int) -> str:
    return f"ended with code {code}" if code >= 0 else f"was ended by signal {-code} ({signal.strsignal(-code)})"


def _last_words(lines: Sequence[str], code: int) -> str:
    """What a process said of its end: by itself, else as Python does; what it logged before it was killed is none."""
    own = [line for line in lines if line.startswith(OWN_WORDS) or '"CRITICAL"' in line]
    return " ".join(own[-1:] or (lines[-1:] if code >= 0 else []))


def module_command(module: str, *arguments: str) -> list[str]:
    """The command that runs a module of ours, whatever files lie in the current folder."""
    return [sys.executable, "-P", "-m", module, *arguments]


def dying_with_parent() -> list[str]:
    """What stands before a command so that it is killed when this process dies.

    It is a process's own first step, and none between fork and exec: gRPC, whose calls this process makes, aborts now
    and then in a fork.
    """
    return [sys.executable, "-I", "-S", "-c", _DIE_WITH_PARENT, str(os.getpid())] if sys.platform == "linux" else []
