"""The `kernelport` command."""

import importlib
import importlib.util
import io
import sys
from collections.abc import Mapping
from typing import Any, NamedTuple

import click

from kernelport.cli import mistakes, options
from kernelport.errors import HostError, install_hint


class Where(NamedTuple):
    """Where a command is, and what it needs beside a plain install.

    Attributes:
        extra: of the package; empty for a command that a client has.
    """

    module: str
    attribute: str
    extra: str = ""


COMMANDS: Mapping[str, Where] = {
    "up": Where("up", "up", "local"),
    "serve": Where("serve", "serve", "local"),
    "front-door": Where("front_door", "front_door", "server"),
    "worker": Where("worker", "worker", "local"),
    "restart": Where("restart", "restart", "local"),
    "infer": Where("infer", "infer"),
    "say": Where("say", "say"),
    "jobs": Where("jobs", "jobs"),
    "voices": Where("voices", "voices"),
    "deployments": Where("deployments", "deployments"),
    "dlq": Where("dlq", "dlq"),
    "model-fetch": Where("model_fetch", "model_fetch", "local"),
    "doctor": Where("doctor", "doctor", "server"),
    "backup": Where("backup", "backup", "server"),
    "restore": Where("backup", "restore", "server"),
    "trace": Where("trace", "trace"),
    "health": Where("health", "health", "server"),
    "keys": Where("keys", "keys"),
    "tenants": Where("tenants", "tenants"),
    "usage": Where("usage", "usage"),
    "certs": Where("certs", "certs", "server"),
    "flower": Where("flower", "flower", "flower"),
    "autoscale": Where("autoscale", "autoscale", "server"),
    "lambda": Where("autoscale", "lambda_cloud", "server"),
    "bench": Where("bench", "bench", "local"),
    "demo": Where("demo", "demo", "local"),
}


# What people try that is called otherwise.
_MEANT: Mapping[str, str] = {
    "stop": "Ctrl-C or SIGTERM to `kernelport up` stops it",
    "down": "Ctrl-C or SIGTERM to `kernelport up` stops it",
    "start": "`kernelport up` starts a stack",
    "run": "`kernelport up` starts a stack",
    "status": "`kernelport health` and `kernelport deployments list` tell it",
    "speak": "`kernelport say` speaks",
    "tts": "`kernelport say` speaks",
}


class Commands(click.Group):
    """The commands, each imported when it is named: most need libraries that a client does without."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except (KeyboardInterrupt, click.Abort) as error:
            # click by itself ends with 1 then, like a failure. At a question it makes an Abort of both, no and Ctrl-C.
            if not isinstance(error, KeyboardInterrupt) and not isinstance(error.__context__, KeyboardInterrupt):
                raise
            click.echo(err=True)  # behind what the terminal shows of the key
            sys.exit(mistakes.INTERRUPTED)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if hint := _MEANT.get(args[0]):
            ctx.fail(f"No such command {args[0]!r}: {hint}")
        return super().resolve_command(ctx, args)

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        where = COMMANDS.get(cmd_name)
        if where is None:
            return None
        if where.extra and importlib.util.find_spec("redis") is None:
            return _missing(cmd_name, where.extra)
        command: click.Command = getattr(importlib.import_module(f"{__name__}.{where.module}"), where.attribute)
        options.name_variables(command)
        return command


def _missing(name: str, extra: str) -> click.Command:
    """A command that cannot run here, and says what to install."""

    def tell() -> None:
        raise HostError(f"kernelport {name} needs the extra `{extra}`: {install_hint(extra)}")

    lenient = {"ignore_unknown_options": True, "allow_extra_args": True}
    told = f"Needs the extra `{extra}`, which is not installed."
    return click.Command(name, lenient, tell, short_help=told, add_help_option=False)


@click.command(cls=Commands, context_settings=options.CONTEXT)
@click.version_option(package_name="kernelport")
def cli() -> None:
    """Self-hosted, queue-driven inference and batch synthesis.

    Start with `kernelport up`, then `kernelport say "Good morning."`.
    """


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
    except mistakes.TOLD as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(mistakes.exit_code(error))
