"""The `kernelport` command."""

import io
import sys
from typing import Any

import click

from kernelport.cli import options
from kernelport.cli.autoscale import autoscale, lambda_cloud
from kernelport.cli.bench import bench
from kernelport.cli.demo import demo
from kernelport.cli.deployments import deployments
from kernelport.cli.dlq import dlq
from kernelport.cli.doctor import doctor
from kernelport.cli.flower import flower
from kernelport.cli.health import health
from kernelport.cli.infer import infer
from kernelport.cli.jobs import jobs
from kernelport.cli.jobs.watch import INTERRUPTED
from kernelport.cli.model_fetch import model_fetch
from kernelport.cli.say import say
from kernelport.cli.serve import serve
from kernelport.cli.up import up
from kernelport.cli.voices import voices
from kernelport.cli.worker import worker
from kernelport.client.item_files import ItemFileError
from kernelport.config.schema import ConfigError
from kernelport.config.settings import SettingsError
from kernelport.errors import InvalidArgumentError, KernelPortError, NotFoundError
from kernelport.supervisor import StackError
from kernelport.supervisor.flower import FlowerNotFoundError
from kernelport.supervisor.redis_server import RedisNotFoundError
from kernelport.supervisor.runnable import ModelFileError

# Mistakes in the command line, the environment or a file end a command with 2, as click's own do, and so do names that
# nothing has; what else keeps it from being done, with 1.
MISTAKES = (InvalidArgumentError, NotFoundError, ItemFileError, ModelFileError, ConfigError, SettingsError)
HINDRANCES = (KernelPortError, StackError, RedisNotFoundError, FlowerNotFoundError, OSError)


class _Commands(click.Group):
    """Commands that a Ctrl-C ends with 130, as shells expect; click by itself ends them with 1, like a failure."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            click.echo(err=True)  # behind what the terminal shows of the key
            sys.exit(INTERRUPTED)


@click.group(cls=_Commands, context_settings=options.CONTEXT)
@click.version_option(package_name="kernelport")
def cli() -> None:
    """Self-hosted, queue-driven inference and batch synthesis.

    Start with `kernelport up`, then `kernelport say "Good morning."`.
    """


COMMANDS = (
    up,
    serve,
    worker,
    infer,
    say,
    jobs,
    voices,
    deployments,
    dlq,
    model_fetch,
    doctor,
    health,
    flower,
    autoscale,
    lambda_cloud,
    bench,
    demo,
)
for _command in COMMANDS:
    cli.add_command(_command)
options.name_variables(cli)


def main() -> None:
    """Runs the command line; what a user can mend is one line on stderr, not a traceback."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # of names and texts that the terminal cannot show
    try:
        cli()
    except UnicodeEncodeError as error:
        click.echo(f"error: expected Unicode text, got {error.object!a}", err=True)
        sys.exit(2)
    except MISTAKES as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(2)
    except HINDRANCES as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(1)
