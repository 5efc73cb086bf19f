"""`kernelport up`: the whole stack on this machine."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import click

from kernelport.certificates.files import CertificateFiles
from kernelport.cli import options
from kernelport.cli.foreground import run_until_stopped
from kernelport.config.code import load_to_run
from kernelport.config.settings import Settings
from kernelport.errors import StackError
from kernelport.supervisor.flower import DEFAULT_FLOWER_LISTEN, flower_environment
from kernelport.supervisor.ports import port_after
from kernelport.supervisor.reloading import Reloader
from kernelport.supervisor.restarting import Restarter
from kernelport.supervisor.runnable import problems_by_deployment
from kernelport.supervisor.running_file import take_state_folder
from kernelport.supervisor.stack import Stack
from kernelport.telemetry import metrics
from kernelport.telemetry.redis_watch import RedisWatch

MOST_WORKERS = 256
MOST_FRONT_DOORS = 64


@click.command()
@click.option(
    "--deployments",
    "chosen",
    multiple=True,
    metavar="NAME,NAME",
    help="Comma-separated deployments to start a worker for; by default all that can run here.",
)
@click.option(
    "--workers",
    "counts",
    multiple=True,
    metavar="NAME=COUNT",
    help="How many workers a deployment gets that is started; one unless told.",
)
@options.listen
@options.http_listen
@options.studio
@options.tls
@options.keys
@click.option(
    "--front-doors",
    type=click.IntRange(1, MOST_FRONT_DOORS),
    default=1,
    help="How many front doors share the ports: each is a process, which has one core at most.",
)
@options.state_dir
@options.redis_url
@options.custom_ops
@options.roll
@options.deployments_file
@options.metrics_listen
@click.option("--flower", is_flag=True, help="Start Flower, too, which shows workers and tasks in a browser.")
@click.option(
    "--flower-listen", type=options.ADDRESS, default=DEFAULT_FLOWER_LISTEN, help="host:port Flower listens on."
)
def up(
    chosen: tuple[str, ...],
    counts: tuple[str, ...],
    listen: str,
    http_listen: str,
    studio: bool,
    tls_cert: str,
    tls_key: str,
    tls_client_ca: str,
    insecure: bool,
    first_key_file: str,
    front_doors: int,
    state_dir: Path,
    redis_url: str | None,
    custom_ops: bool,
    roll: bool,
    deployments_file: Path | None,
    metrics_listen: str,
    flower: bool,
    flower_listen: str,
) -> None:
    """Start Redis, a front door and a worker for each deployment on this machine."""
    settings = Settings.from_environment()
    if deployments_file is not None:
        settings = replace(settings, deployments_file=deployments_file.absolute())
    table = load_to_run(settings.deployments_file)  # its findings are the user's to see as they are
    wanted = _wanted(chosen, sorted(table), settings.deployments_file)
    take_state_folder(state_dir).close()  # what keeps it from starting is told before what it would leave out
    settings = replace(
        settings,
        listen=listen,
        http_listen=options.unless_taken(http_listen),
        studio=studio,
        tls_cert=tls_cert,
        tls_key=tls_key,
        tls_client_ca=tls_client_ca,
        insecure=insecure,
        first_key_file=first_key_file,
        metrics_listen=metrics_listen,
        custom_ops=custom_ops,
        roll=roll,
    )
    if (tls := CertificateFiles.of(settings)) is not None:
        tls.read()
    names = _runnable(wanted, settings, is_asked_for=bool(chosen))
    workers = _counts(names, counts)
    watching = flower_environment(flower_listen, state_dir, click.echo) if flower else None
    repeated = [name for name in names for _ in range(workers.get(name, 1))]
    stack = Stack(settings, repeated, state_dir, redis_url, watching, front_doors)
    if metrics_listen:
        _show_metrics(port_after(metrics_listen, -1), stack)
    reloader = Reloader(stack, state_dir, table, wanted.__contains__, workers)
    run_until_stopped(stack, reloader, Restarter(stack, state_dir))


def _show_metrics(listen: str, stack: Stack) -> None:
    """Shows what this process knows beside what the others show: which of them died."""
    try:
        metrics.serve(listen)
    except OSError as error:
        raise StackError(f"cannot show metrics at {listen}: {error}; --metrics-listen names the next port") from error
    RedisWatch(stack.settings.redis_url).start()


def _counts(names: list[str], counts: Iterable[str]) -> dict[str, int]:
    """How many workers deployments get, of those for which it was told."""
    wanted: dict[str, int] = {}
    for name, count in map(options.parse_assignment, counts):
        if name not in names:
            raise click.BadParameter(f"--workers: {name!r} is not started; there are: {', '.join(names)}")
        if not count.isdecimal() or not 1 <= int(count) <= MOST_WORKERS:
            raise click.BadParameter(f"--workers: expected {name}=1 to {name}={MOST_WORKERS}, got {name}={count}")
        wanted[name] = int(count)
    return wanted


def _wanted(chosen: Sequence[str], known: list[str], file: Path) -> list[str]:
    """The deployments that are asked for, or else all."""
    told = [name.strip() for each in chosen for name in each.split(",")]
    names = list(dict.fromkeys(filter(None, told))) if chosen else known
    for name in names:
        if name not in known:
            raise click.BadParameter(f"no deployment is named {name!r}; there are: {', '.join(known)} (in {file})")
    return names


def _runnable(names: list[str], settings: Settings, *, is_asked_for: bool) -> list[str]:
    """Those of the deployments that can run here; why others cannot is told.

    Raises:
        StackError: when none that was asked for can.
    """
    file, problems = settings.deployments_file, problems_by_deployment(settings, names)
    runnable = [name for name in names if problems[name] is None]
    if is_asked_for and names and not runnable:
        raise StackError("\n".join(f"{name} of {file} cannot run here: {problems[name]}" for name in names))
    for name in names:
        if problems[name] is not None:
            click.echo(f"leaving out {name} of {file}: {problems[name]}", err=True)
    return runnable
