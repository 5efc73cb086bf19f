"""`kernelport flower`: Flower for a stack that runs elsewhere."""

import os
from pathlib import Path

import click

from kernelport.cli import options
from kernelport.settings import OTHERS_VARIABLES, PREFIX, drop_variables
from kernelport.stack.flower import DEFAULT_FLOWER_LISTEN, FLOWER_COMMAND, flower_environment
from kernelport.stack.running_file import joined_environment


@click.command()
@click.option(
    "--listen",
    type=options.ADDRESS,
    default=DEFAULT_FLOWER_LISTEN,
    envvar=f"{PREFIX}FLOWER_LISTEN",
    help="host:port Flower listens on.",
)
@options.state_dir
@options.redis_url
def flower(listen: str, state_dir: Path, redis_url: str | None) -> None:
    """Run Flower, which shows workers and tasks in a browser, in the foreground.

    KERNELPORT_FLOWER_PASSWORD is the password of its user `kernelport`; without it, the first start makes one and
    keeps it in the state directory.
    """
    drop_variables(*OTHERS_VARIABLES)
    os.environ |= joined_environment(state_dir, redis_url)
    os.umask(0o077)
    os.environ.update(flower_environment(listen, state_dir, click.echo))
    os.execv(FLOWER_COMMAND[0], FLOWER_COMMAND)  # noqa: S606 - this process becomes Flower, signals and all
