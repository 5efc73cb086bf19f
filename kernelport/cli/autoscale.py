"""`kernelport autoscale` and `kernelport lambda`: processes of the operations package, which nothing here imports."""

import os
import sys

import click

from kernelport.supervisor.processes import module_command

_PASS_ON = {"ignore_unknown_options": True, "help_option_names": []}


@click.command(context_settings=_PASS_ON, add_help_option=False)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def autoscale(arguments: tuple[str, ...]) -> None:
    """Give each deployment the workers it needs, and no more."""
    _become("kernelport_ops.autoscale", arguments)


@click.command("lambda", context_settings=_PASS_ON, add_help_option=False)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def lambda_cloud(arguments: tuple[str, ...]) -> None:
    """Machines on Lambda Cloud: launch, list, terminate, types, reap."""
    _become("kernelport_ops.autoscale.providers.lambda_cloud", arguments)


def _become(module: str, arguments: tuple[str, ...]) -> None:
    os.execv(sys.executable, module_command(module, *arguments))  # noqa: S606 - signals and all
