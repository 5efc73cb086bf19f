"""The commands of single processes: their help says which variables they read beside their options."""

import os
import signal
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

import click

from kernelport.config import described


class ProcessCommand(click.Command):
    """A command whose help ends with settings that have no option of it.

    Args:
        settings: names of the settings that the process reads.
    """

    def __init__(self, *arguments: Any, settings: Sequence[str], **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._settings = settings

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Writes the section."""
        options = {parameter.envvar for parameter in self.params}
        names = [name for name in self._settings if described.variable(name) not in options]
        with formatter.section("Variables"):
            formatter.write_dl(list(described.explained(names).items()))


def become(command: Sequence[str], environment: Mapping[str, str]) -> NoReturn:
    """Has this process go on as another program, signals and all: a SIGHUP, which tells of another deployments file,
    waits until that is ready for it."""
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGHUP])
    os.execve(command[0], list(command), environment)  # noqa: S606 - a command of ours
