"""`kernelport bench`: benchmarks of what a deployment runs on this machine."""

import subprocess
import sys

import click

from kernelport.supervisor.processes import module_command


@click.group()
def bench() -> None:
    """Measure what this machine makes of a model."""


@bench.command(add_help_option=False, context_settings={"ignore_unknown_options": True})
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def luxtts(arguments: tuple[str, ...]) -> None:
    """Time every path of LuxTTS; `kernelport bench luxtts --help` shows the options."""
    command = module_command("kernelport_workers.luxtts.bench", *arguments)
    sys.exit(subprocess.run(command, check=False).returncode)
