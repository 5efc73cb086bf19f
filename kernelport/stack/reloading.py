"""Has a running stack go by its deployments file again. Whoever asks finds in the state folder what came of it."""

import json
import os
import signal
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from kernelport.deployments import DeploymentTable, load_deployments
from kernelport.runnable import problems_by_deployment
from kernelport.schema import ConfigError
from kernelport.stack.own_file import own_file
from kernelport.stack.running_file import Running, find_running
from kernelport.stack.stack import Stack, StackError
from kernelport.stack.state_folder import read_own, write_private

# Not SIGHUP, which is what a terminal that is closed sends.
SIGNAL = signal.SIGUSR1
LOOK_INTERVAL_S = 0.1
_NAME = "reloaded.json"


@dataclass(frozen=True)
class Reloaded:
    """What came of a reload.

    Attributes:
        began_unix_s: when the stack took it up.
        failed: why deployments are not as the file says, by name; under the name "" what is wrong with the file.
    """

    began_unix_s: float
    failed: dict[str, str]


class Reloader:
    """Reloads a stack, in the process that runs it.

    Args:
        table: what the stack was started with.
        is_chosen: whether a deployment of that table gets workers, where it can run. One that is new does.
        counts: how many, of those that get more than one.
    """

    def __init__(
        self,
        stack: Stack,
        state_dir: Path,
        table: DeploymentTable,
        is_chosen: Callable[[str], bool],
        counts: Mapping[str, int],
    ) -> None:
        self._stack = stack
        self._state_dir = state_dir
        self._first = set(table)
        self._table = table
        self._is_chosen = is_chosen
        self._counts = counts

    def reload(self, stopped: Callable[[], bool]) -> dict[str, str]:
        """Reads the file, has the stack go by it, and writes down what came of it, which it returns."""
        began, file = time.time(), own_file(self._state_dir)
        try:
            failed = self._go_by(load_deployments(file), file, stopped)
        except (ConfigError, OSError, StackError) as error:
            failed = {"": str(error)}
        write_private(self._state_dir / _NAME, json.dumps(asdict(Reloaded(began, failed))))
        return failed

    def _go_by(self, table: DeploymentTable, file: Path, stopped: Callable[[], bool]) -> dict[str, str]:
        before, self._table = self._table, table
        problems = problems_by_deployment(replace(self._stack.settings, deployments_file=file))
        wanted = [name for name in table if name not in self._first or self._is_chosen(name)]
        failed = {name: why_not for name in wanted if (why_not := problems[name]) and before.get(name) != table[name]}
        runnable = [name for name in wanted if problems[name] is None]
        repeated = [name for name in runnable for _ in range(self._counts.get(name, 1))]
        return failed | self._stack.reload(before, table, repeated, stopped)


def ask_to_reload(state_dir: Path, running: Running) -> dict[str, str]:
    """Has the stack on a state folder go by its deployments file, and waits until it does.

    Returns:
        why deployments are not as the file says, by name; under the name "" what is wrong with the file.

    Raises:
        StackError: when the stack stops meanwhile.
    """
    asked = time.time()
    os.kill(running.pid, SIGNAL)
    while (done := _read(state_dir)) is None or done.began_unix_s < asked:
        if find_running(state_dir) is None:
            raise StackError(f"the stack on {state_dir} has stopped")
        time.sleep(LOOK_INTERVAL_S)
    return done.failed


def _read(state_dir: Path) -> Reloaded | None:
    text = read_own(state_dir / _NAME)
    return Reloaded(**json.loads(text)) if text else None
