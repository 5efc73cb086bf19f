"""Child processes that are kept running, and that die with their parent."""

import ctypes
import logging
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

log = logging.getLogger(__name__)

FIRST_BACKOFF_S = 0.5
LONGEST_BACKOFF_S = 10.0
# A child that ran this long before it ended starts again without delay.
STEADY_AFTER_S = 10.0
_PR_SET_PDEATHSIG = 1


class Child:
    """One child process, started again when it ends.

    A thread of its own starts the process and waits for it, so that its death is known at once. The process writes to
    a log file, and on Linux the kernel kills it should its parent die without a word.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        environment: Mapping[str, str],
        log_file: Path,
        on_exit: Callable[[], None] = lambda: None,
    ) -> None:
        """
        Args:
            on_exit: called each time the process has ended without being asked to.
        """
        self.name = name
        self.log_file = log_file
        self.restarts = 0
        self._command = list(command)
        self._environment = dict(environment)
        self._on_exit = on_exit
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
        """Starts the process; returns once it runs.

        Raises:
            OSError: when the command cannot be run.
        """
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
        if not self.log_file.exists():
            return ""
        return "\n".join(self.log_file.read_text(errors="replace").splitlines()[-lines:])

    def _supervise(self) -> None:
        backoff_s = FIRST_BACKOFF_S
        while not self._stopping.is_set():
            started_at = time.monotonic()
            with self.log_file.open("ab") as output:
                self._process = subprocess.Popen(
                    self._command,
                    env=self._environment,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    preexec_fn=_die_with_parent if sys.platform == "linux" else None,
                    start_new_session=True,  # Ctrl-C is the parent's to handle, in order
                )
            self._started.set()
            code = self._process.wait()
            if self._stopping.is_set():
                return
            self.restarts += 1
            self._on_exit()
            if time.monotonic() - started_at > STEADY_AFTER_S:
                backoff_s = FIRST_BACKOFF_S
            log.warning("%s ended with code %d; starting it again in %g s", self.name, code, backoff_s)
            self._stopping.wait(backoff_s)
            backoff_s = min(LONGEST_BACKOFF_S, 2 * backoff_s)


def module_command(module: str, *arguments: str) -> list[str]:
    """The command that runs a module of ours, whatever files lie in the current folder."""
    return [sys.executable, "-P", "-m", module, *arguments]


def _die_with_parent() -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
