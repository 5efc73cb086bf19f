"""What a user can mend, and the code with which it ends a command, also one that does something with several things."""

from collections.abc import Callable, Iterable
from pathlib import Path

import click

from kernelport.client.item_files import ItemFileError
from kernelport.config.schema import ConfigError
from kernelport.config.settings import SettingsError
from kernelport.errors import HostError, InvalidArgumentError, KernelPortError, NotFoundError, PlaceError


class Mistake(Exception):
    """What is wrong with the files that a command was given: told in one line, without the command's usage."""


# All that is told in one line. Mistakes in the command line, the environment or a file end a command with 2,
# as click's own do, and so do names that nothing has; what else keeps it from being done, with 1.
MISTAKES = (Mistake, InvalidArgumentError, NotFoundError, ItemFileError, ConfigError, SettingsError, PlaceError)
TOLD = (*MISTAKES, KernelPortError, HostError, OSError)
# The exit code of a command that Ctrl-C has ended, as shells expect it.
INTERRUPTED = 130


def exit_code(error: Exception) -> int:
    """The code of a command that an error of TOLD ends."""
    return 2 if isinstance(error, MISTAKES) else 1


def of_each(names: Iterable[str], act: Callable[[str], object]) -> tuple[list[str], int]:
    """Calls `act` with each name, and goes on behind what fails: it is named on stderr, with the reason.

    Returns:
        The names for which `act` raised no KernelPortError, and the code that the command is to end with: 0, or the
        highest of those that the others would end it with alone.
    """
    done, code = [], 0
    for name in names:
        try:
            act(name)
        except KernelPortError as error:
            click.echo(f"{name}: {error}", err=True)
            code = max(code, exit_code(error))
        else:
            done.append(name)
    return done, code


def check_new(out: Path, overwrite: bool) -> None:
    """Refuses to replace a file that nobody asked to replace.

    Raises:
        Mistake: when it is there already.
    """
    if out.exists() and not overwrite:
        raise Mistake(f"--out: {out} is there already: choose another name, or --overwrite")
