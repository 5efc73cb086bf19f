"""The commands of single processes: their help says which variables they read beside their options."""

from collections.abc import Sequence
from typing import Any

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
