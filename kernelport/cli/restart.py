"""`kernelport restart`: new front doors for the stack that runs on this machine."""

from pathlib import Path

import click

from kernelport.cli import options
from kernelport.errors import PlaceError
from kernelport.supervisor.restarting import ask_to_restart
from kernelport.supervisor.running_file import find_running


@click.command()
@options.state_dir
def restart(state_dir: Path) -> None:
    """Replace the front door of the stack that runs on this machine, or all of several, one after the other.

    The new one listens beside the old one, which answers what it has and goes. No connection is refused, and no call
    cut off; who calls the old one while it goes is told UNAVAILABLE once, and clients of KernelPort try again by
    themselves. Workers are replaced by `kernelport deployments reload`, where their models have changed.
    """
    running = find_running(state_dir)
    if running is None:
        raise PlaceError(f"no stack runs on {state_dir}: `kernelport up` starts one")
    options.note("a new front door starts in the place of each, and the old one finishes what it has")
    for name, reason in ask_to_restart(state_dir, running).items():
        raise click.ClickException(f"{name}: {reason}")
    click.echo(f"new front doors take calls at {running.target}")
