"""Options that several commands share, and what all options have in common."""

import contextlib
import json
import math
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeAlias

import click
from click.core import ParameterSource

from kernelport import npz
from kernelport.access.quotas import QuotaError, Quotas
from kernelport.client.calling.address import TLS_SCHEME
from kernelport.coercion import from_texts
from kernelport.config.settings import (
    DEFAULT_HTTP_LISTEN,
    DEFAULT_LISTEN,
    PREFIX,
    default_state_dir,
    state_folder,
)
from kernelport.config.values import parse_address, parse_redis_url
from kernelport.errors import StackError
from kernelport.signature import Signature
from kernelport.supervisor.ports import check_free
from kernelport.supervisor.running_file import find_running, last_running

_GRPC_NAME = re.compile(r"(unix|unix-abstract|ipv4|ipv6|dns|xds):")

API_KEY = f"{PREFIX}API_KEY"
_SHORT_FIRST = re.compile(r"^(-\w), (--[a-z-]+)")
_NO_BREAK = "\N{NO-BREAK SPACE}"
Option: TypeAlias = Callable[[Callable[..., Any]], Callable[..., Any]]
# Of the root commands: how the help of all commands looks.
CONTEXT: dict[str, Any] = {"help_option_names": ["-h", "--help"], "max_content_width": 110, "show_default": True}


class _Formatter(click.HelpFormatter):
    """Help that has the long names of options, after which their variables are called, first, and keeps what it says of
    a variable in one line."""

    def write_dl(self, rows: Iterable[tuple[str, str]], col_max: int = 30, col_spacing: int = 2) -> None:
        shown = [
            (_SHORT_FIRST.sub(r"\2, \1", term), text.replace("env var: ", f"env{_NO_BREAK}var:{_NO_BREAK}"))
            for term, text in rows
        ]
        super().write_dl(shown, col_max, col_spacing)

    def getvalue(self) -> str:
        return super().getvalue().replace(_NO_BREAK, " ")


class _Context(click.Context):
    formatter_class = _Formatter


def name_variables(command: click.Command) -> None:
    """Makes every option of a command, and of the commands below it, an environment variable, too: KERNELPORT_ and the
    option's long name. Its help shows it."""
    command.context_class = _Context
    for parameter in command.params:
        if isinstance(parameter, click.Option) and not parameter.is_eager:
            long_name = next(name for name in parameter.opts if name.startswith("--"))
            parameter.envvar = parameter.envvar or PREFIX + long_name.removeprefix("--").replace("-", "_").upper()
            parameter.show_envvar = True
            if parameter.default == "":  # it stands for none
                parameter.show_default = False
    for each in command.commands.values() if isinstance(command, click.Group) else ():
        name_variables(each)


def _parse_target(text: str) -> str:
    """An address, or what gRPC knows beside that, such as `unix:/run/kernelport` and `dns:///host:port`; for TLS behind
    `grpcs://`."""
    address = text.removeprefix(TLS_SCHEME)
    if not _GRPC_NAME.match(address):
        parse_address(address)
    return text


class Parsed(click.ParamType[str]):
    """A text that a function accepts, or refuses with a ValueError; an empty one stands for none.

    Args:
        name: what it is, as the help shows it.
    """

    def __init__(self, name: str, parse: Callable[[str], str]) -> None:
        self.name = name
        self._parse = parse

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """The text, as it is."""
        try:
            return self._parse(value) if value else ""
        except ValueError as error:
            self.fail(str(error), param, ctx)


ADDRESS = Parsed("host:port", parse_address)
FILE = Parsed("path", lambda text: str(Path(text).absolute()))
REDIS_URL = Parsed("url", parse_redis_url)


class Seconds(click.ParamType[float]):
    """A number of seconds above 0."""

    name = "seconds"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """The seconds of a text."""
        with contextlib.suppress(ValueError):
            if 0 < (seconds := float(value)) < math.inf:
                return seconds
        self.fail(f"expected a number of seconds above 0, got {value!r}", param, ctx)


class Encoding(click.ParamType[str]):
    """The name of a text encoding, such as windows-1252."""

    name = "encoding"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """The name, when Python knows it."""
        try:
            "".encode(value)
        except (LookupError, UnicodeError):
            self.fail(f"expected a text encoding such as windows-1252, got {value!r}", param, ctx)
        return str(value)


class _MayBeEmpty(click.Option):
    """An option whose variable may hold an empty value, which is one."""

    def resolve_envvar_value(self, ctx: click.Context) -> str | None:
        """What the variable holds; None when it is not set."""
        return os.environ.get(str(self.envvar))


def default_target() -> str:
    """The front door of the stack on this machine, or the usual address where there never was one, or it was stopped.

    Raises:
        click.UsageError: when the stack is gone that is meant: at the usual address there may be a stranger's.
    """
    if running := find_running():
        return running.target
    if gone := last_running(state_folder()):
        raise click.UsageError(
            f"the stack of {state_folder()}, at {gone.target}, no longer runs; `kernelport up` starts it, or name "
            "another one with --target"
        )
    if named := os.environ.get(f"{PREFIX}STATE_DIR"):
        raise click.UsageError(f"no stack runs on {named}, which {PREFIX}STATE_DIR names; --target names a front door")
    return DEFAULT_LISTEN


def _target(default: str | Callable[[], str]) -> Option:
    return click.option(
        "--target",
        type=Parsed("host:port", _parse_target),
        default=default,
        show_default=f"that of `kernelport up` on this machine, or {DEFAULT_LISTEN}",
        help="host:port of the front door; grpcs://host:port of one that speaks TLS.",
    )


def _show_key(context: click.Context, parameter: click.Parameter, value: str) -> None:
    """Has the clients of this process show a key."""
    if value:
        os.environ[API_KEY] = value


_api_key: Option = click.option(
    "--api-key",
    default="",
    expose_value=False,
    callback=_show_key,
    help="The key to show, where the front door asks for one. Better in the variable, which others cannot see.",
)


def target(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options of a command that calls a front door."""
    return _target(default_target)(_api_key(command))


def target_if_any(command: Callable[..., Any]) -> Callable[..., Any]:
    """The same for one that can do without: where none is named it gets an empty one, for `default_target`."""
    return _target("")(_api_key(command))


listen: Option = click.option(
    "--listen",
    type=ADDRESS,
    default=DEFAULT_LISTEN,
    help="host:port the front door listens on; port 0 takes a free one.",
)
as_json: Option = click.option("--json", "as_json", is_flag=True, help="As JSON, an object a line.")
http_listen: Option = click.option(
    "--http-listen",
    cls=_MayBeEmpty,
    type=ADDRESS,
    default=DEFAULT_HTTP_LISTEN,
    help="host:port the front door listens on for HTTP; port 0 takes a free one, an empty value none. There is no HTTP "
    "where the default one is taken.",
)
studio: Option = click.option(
    "--studio",
    type=click.BOOL,
    metavar="on|off",
    default=True,
    show_default="on",
    help="Whether the front door's HTTP address shows the studio, a page to speak, listen and watch.",
)


def unless_taken(http_listen: str) -> str:
    """The address for HTTP. Where nobody asked for one and the usual one is taken, none, which is said."""
    if click.get_current_context().get_parameter_source("http_listen") is ParameterSource.DEFAULT:
        try:
            check_free({"--http-listen": http_listen})
        except StackError as error:
            click.echo(f"without HTTP: {error}", err=True)
            return ""
    return http_listen


state_dir: Option = click.option(
    "--state-dir",
    type=click.Path(path_type=Path, file_okay=False),
    default=default_state_dir,
    show_default="kernelport in $XDG_STATE_HOME, or in ~/.local/state",
    help="Where a stack keeps its data and logs, and where others find it.",
)
redis_url: Option = click.option(
    "--redis-url",
    type=REDIS_URL,
    default=None,
    help="An existing Redis to use instead of the embedded one.",
)
metrics_listen: Option = click.option(
    "--metrics-listen",
    type=ADDRESS,
    default="",
    help="host:port of the front door's Prometheus endpoint; the workers take the ports after it. None by default.",
)
deployments_file: Option = click.option(
    "--deployments-file",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    default=None,
    help="The deployments file; ./deployments/deployments.yaml or the bundled one by default.",
)
custom_ops: Option = click.option(
    "--custom-ops",
    is_flag=True,
    help="Load the libraries of custom ONNX operators that manifests name: this runs their code.",
)
roll: Option = click.option(
    "--roll",
    is_flag=True,
    help="Serve beside live workers of another revision of the same deployment, until these are stopped.",
)


def keys(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options of a front door whose callers show keys."""
    command = click.option(
        "--first-key-file",
        type=FILE,
        default="",
        help="The file with the first key, where there is none yet. One that is not there is made, with a new key.",
    )(command)
    return click.option(
        "--insecure", is_flag=True, help="Let in whoever reaches this front door, as long as there are no keys."
    )(command)


class _Quota(click.ParamType[tuple[str, str]]):
    name = "name=value"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, str]:
        """The name and the value of a quota; an empty one stands for none."""
        name, _, text = str(value).partition("=")
        try:
            Quotas.of({name: text or 0})
        except QuotaError as error:
            self.fail(str(error), param, ctx)
        return name, text


quotas: Option = click.option(
    "--quota",
    "quotas",
    type=_Quota(),
    multiple=True,
    callback=lambda _context, _parameter, given: dict(given),
    help="What may be used: calls_a_second, calls (at a time), characters_a_day, bytes_a_day, items_waiting, "
    "stored_bytes or voices, such as calls=20.",
)


def changed_quotas(there: Mapping[str, float], told: Mapping[str, str]) -> dict[str, float]:
    """Quotas as `--quota` changes them: what is not told stays, and what is told without a value goes."""
    wanted: dict[str, object] = {**there, **told}
    return Quotas.of({name: value for name, value in wanted.items() if value != ""}).given()


def tls(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options of a front door that speaks TLS."""
    for name, held in (
        ("client-ca", "the authorities of clients: who has no certificate of theirs is refused."),
        ("key", "the key of the certificate, without a password."),
        ("cert", "the certificate chain to show: with it, gRPC and HTTP speak TLS."),
    ):
        command = click.option(f"--tls-{name}", type=FILE, default="", help=f"PEM file of {held}")(command)
    return command


timeout: Option = click.option(
    "--timeout",
    type=Seconds(),
    default=None,
    help="Seconds a call may take; timeouts.request_s of the deployment holds as well.",
)


def echo_json(found: Iterable[dict[str, Any]]) -> None:
    """Prints objects, one a line."""
    for each in found:
        click.echo(json.dumps(each, ensure_ascii=False))


def among(texts: Iterable[str]) -> Iterator[str]:
    """Those arguments of the command that runs which look like an option of its own: they stood behind `--`."""
    context = click.get_current_context()
    own = {name for each in context.command.get_params(context) if isinstance(each, click.Option) for name in each.opts}
    return (text for text in texts if text.partition("=")[0] in own)


def note(text: str) -> None:
    """Tells the user something beside the command's output."""
    click.echo(f"note: {text}", err=True)


def parse_assignment(text: str) -> tuple[str, str]:
    """Splits `name=value`.

    Raises:
        click.BadParameter: when there is no name or no `=`.
    """
    name, sign, value = text.partition("=")
    if not name or not sign:
        raise click.BadParameter(f"expected name=value, got {text!r}")
    return name, value


def read_assignments(assignments: Iterable[str], signature: Signature) -> dict[str, Any]:
    """Inputs that are given as `name=value`: what the text stands for, or with `@path` what a file holds.

    Raises:
        click.BadParameter: when it is not of this form, or a file cannot be read.
        InvalidArgumentError: when a text stands for no value of its input.
    """
    given = {name: file_or_text(value) for name, value in map(parse_assignment, assignments)}
    return from_texts(given, signature)


def file_or_text(value: str) -> Any:
    """What `@path` names: the array in an .npy file, the bytes of any other; a value without `@` as it is.

    Raises:
        click.BadParameter: when the file cannot be read.
    """
    if not value.startswith("@"):
        return value
    path = Path(value[1:])
    try:
        return npz.read_npy(path) if path.suffix == ".npy" else path.read_bytes()
    except (OSError, ValueError) as error:
        raise click.BadParameter(f"{value}: {error}") from error
