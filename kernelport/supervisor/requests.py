"""What commands in other terminals ask of a running stack: by a file in its state folder, and another says what came of
it."""

import json
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path

from kernelport.errors import StackError
from kernelport.supervisor.running_file import Running, find_running
from kernelport.supervisor.state_folder import read_own, write_private

LOOK_INTERVAL_S = 0.1
# Not every stack is run by `kernelport up`: another process never takes up the request.
PATIENCE_S = 30.0


@dataclass(frozen=True)
class Outcome:
    """What came of a request.

    Attributes:
        began_s: when the stack took it up, by the steady clock, which all processes of a machine share until it is
            started anew.
        failed: what is not as it was asked for, and why.
        left_out: what was not asked for anew, and still cannot be, and why.
    """

    began_s: float
    failed: dict[str, str]
    left_out: dict[str, str] = field(default_factory=dict)


class Request:
    """One thing that is asked of the stack on a state folder.

    Args:
        verb: what it is.
    """

    def __init__(self, state_dir: Path, verb: str) -> None:
        self._state_dir = state_dir
        self._file = state_dir / verb
        self._outcome = state_dir / f"{verb}.json"
        self._taken_at = 0.0

    def is_made(self) -> bool:
        """Whether somebody asks."""
        return self._file.exists()

    def take_up(self) -> None:
        """The stack begins with it."""
        self._file.unlink(missing_ok=True)
        self._taken_at = time.monotonic()

    def answer(self, failed: dict[str, str], left_out: dict[str, str] | None = None) -> None:
        """The stack is done with it, except for what failed and what is still left out."""
        write_private(self._outcome, json.dumps(asdict(Outcome(self._taken_at, failed, left_out or {}))))

    def make(self, running: Running) -> Outcome:
        """Asks the stack, and waits until it is done.

        Raises:
            StackError: when the stack stops meanwhile, or its process takes no requests.
        """
        asked = time.monotonic()
        self._outcome.unlink(missing_ok=True)
        write_private(self._file, "")
        while (done := self._read()) is None or done.began_s < asked:
            if find_running(self._state_dir) != running:
                raise StackError(f"the stack on {self._state_dir} has stopped")
            if time.monotonic() > asked + PATIENCE_S and self._file.exists():
                self._file.unlink(missing_ok=True)
                raise StackError(
                    f"process {running.pid}, which runs the stack on {self._state_dir}, has not taken it up within "
                    f"{PATIENCE_S:g} s: it is still starting, or is no `kernelport up`"
                )
            time.sleep(LOOK_INTERVAL_S)
        return done

    def _read(self) -> Outcome | None:
        text = read_own(self._outcome)
        return Outcome(**json.loads(text)) if text else None
