"""`kernelport flower`: Flower for a stack that runs elsewhere."""

import os
import sys
from pathlib import Path

import click

from kernelport.cli import options
from kernelport.cli.process_command import ProcessCommand
from kernelport.config import described
from kernelport.config.settings import OTHERS_VARIABLES, drop_variables
from kernelport.supervisor.flower import DEFAULT_FLOWER_LISTEN, FLOWER_COMMAND, flower_environment
from kernelport.supervisor.joining import run_beside

# A Flower that waits for Redis does not end by itself.
STOP_S = 5.0


@click.command(cls=ProcessCommand, settings=described.FLOWER)
@click.option(
    "--flower-listen",
    "--listen",  # as it was called before
    type=options.ADDRESS,
    default=DEFAULT_FLOWER_LISTEN,
    help="host:port Flower listens on.",
)
@options.state_dir
@options.redis_url
def flower(flower_listen: str, state_dir: Path, redis_url: str | None) -> None:
    """Run Flower, which shows workers and tasks in a browser, in the foreground.

    It watches the stack that `kernelport up` runs on the state directory, also when that is started again; unless
    another Redis is named.

    KERNELPORT_FLOWER_PASSWORD is the password of its user `kernelport`; without it, the first start makes one and
    keeps it in the state directory.
    """
    drop_variables(*OTHERS_VARIABLES)
    os.umask(0o077)
    environment = flower_environment(flower_listen, state_dir, click.echo)
    sys.exit(run_beside(FLOWER_COMMAND, state_dir, redis_url, STOP_S, options.note, environment))
