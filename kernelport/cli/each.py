"""Commands that do something with several things, one after the other."""

from collections.abc import Callable, Iterable

import click

from kernelport.errors import KernelPortError


def of_each(names: Iterable[str], act: Callable[[str], object]) -> list[str]:
    """Calls `act` with each name, and goes on behind what fails: it is named on stderr, with the reason.

    Returns:
        The names for which `act` raised no KernelPortError.
    """
    done = []
    for name in names:
        try:
            act(name)
        except KernelPortError as error:
            click.echo(f"{name}: {error}", err=True)
        else:
            done.append(name)
    return done
