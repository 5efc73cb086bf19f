"""Commands that do something with several things, one after the other."""

from collections.abc import Callable, Iterable

import click

from kernelport.cli import options
from kernelport.errors import KernelPortError


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
            code = max(code, options.exit_code(error))
        else:
            done.append(name)
    return done, code
