"""Makes the child processes of a stack: what each is told, and where it writes its log."""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from kernelport.config.settings import OTHERS_VARIABLES, Settings
from kernelport.supervisor.own_file import own_file
from kernelport.supervisor.processes import Child
from kernelport.telemetry.log_files import put_aside_if_full


class Launcher:
    """Knows the state folder, which all of them share."""

    def __init__(self, state_dir: Path) -> None:
        self._state_dir = state_dir

    def told(self, settings: Settings) -> dict[str, str]:
        """The variables of a process. All read the deployments file of the state folder, which can be added to."""
        return replace(settings, deployments_file=own_file(self._state_dir)).to_environment()

    def child(
        self,
        name: str,
        command: Sequence[str],
        settings: Settings,
        *,
        on_exit: Callable[[], bool] = lambda: True,
        environment: Mapping[str, str] | None = None,
        umask: int = -1,
        deployment: str = "",
        log_name: str = "",
        at_first: Sequence[str] = (),
    ) -> Child:
        """A process that is still to be started; the other arguments are those of Child.

        Args:
            environment: variables beside those of the settings.
            log_name: of its log, when that is not the name of the process.
        """
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(OTHERS_VARIABLES)}
        log_file = (self._state_dir / "logs" / f"{log_name or name}.log").absolute()
        put_aside_if_full(log_file, settings.log_bytes)
        told = self.told(replace(settings, log_file=str(log_file)))
        variables = {**inherited, **told, **(environment or {}), "PYTHONUNBUFFERED": "1"}
        return Child(name, command, variables, log_file, on_exit, umask, deployment, at_first)
