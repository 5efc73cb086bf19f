"""The commands of the command line, which are imported when they are named."""

from collections.abc import Iterator

import click

from kernelport.cli import cli


def below(group: click.Group) -> dict[str, click.Command]:
    """The commands of a group, by name."""
    context = click.Context(group)
    found = {name: group.get_command(context, name) for name in group.list_commands(context)}
    return {name: command for name, command in found.items() if command is not None}


def every_command(command: click.Command = cli, name: str = "kernelport") -> Iterator[tuple[str, click.Command]]:
    """Every command that is no group, by its full name."""
    if isinstance(command, click.Group):
        for each, inner in below(command).items():
            yield from every_command(inner, f"{name} {each}")
    else:
        yield name, command
