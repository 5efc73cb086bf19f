"""`kernelport keys`: who may call the front door, and what they may do."""

import sys
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

import click

from kernelport.access.quotas import Quotas
from kernelport.cli import options, tables
from kernelport.cli.mistakes import of_each
from kernelport.client import Client
from kernelport.config.values import parse_duration
from kernelport.errors import NotFoundError
from kernelport.shapes import plain
from kernelport.v1.access_pb2 import Key


class _Duration(click.ParamType[timedelta]):
    name = "duration"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> timedelta:
        """The time that a text such as 90d stands for."""
        try:
            return timedelta(seconds=parse_duration(str(value)))
        except ValueError as error:
            self.fail(str(error), param, ctx)


@click.group()
def keys() -> None:
    """Make, look at, change and end keys. As long as there is none, a front door on loopback asks for none."""


@keys.command()
@click.argument("name")
@click.option(
    "--scope", "scopes", multiple=True, required=True, help="Of infer, jobs, voices and admin, with commas between."
)
@click.option("--tenant", default="", help="To whom belongs what its bearer makes; `default` when not given.")
@click.option("--deployments", multiple=True, metavar="NAME,NAME", help="Those that it may use; all when not given.")
@click.option("--expires", type=_Duration(), help="After how long it ends, such as 90d; never when not given.")
@click.option("--certificate", default="", help="Over gRPC, who shows a certificate of this name needs no secret.")
@options.quotas
@options.as_json
@options.target
def create(
    name: str,
    scopes: tuple[str, ...],
    tenant: str,
    deployments: tuple[str, ...],
    expires: timedelta | None,
    certificate: str,
    quotas: dict[str, str],
    as_json: bool,
    target: str,
) -> None:
    """Make the key NAME, and show it this once."""
    ends = None if expires is None else datetime.now(UTC) + expires
    if deployments and not _parts(deployments):  # none would be all
        raise click.BadParameter("--deployments: expected names of deployments, got none")
    with Client(target) as client:
        key, token = client.access.create_key(
            name,
            scopes=_parts(scopes),
            tenant=tenant,
            deployments=_parts(deployments),
            expires=ends,
            certificate=certificate,
            quotas=Quotas.of(quotas).given(),
        )
    _show(key, token, as_json)


@keys.command("list")
@options.as_json
@options.target
def list_keys(as_json: bool, target: str) -> None:
    """Every key, in the order in which they were made."""
    with Client(target) as client:
        found = client.access.list_keys()
    if as_json:
        options.echo_json(map(plain, found))
        return
    rows = (
        (
            *(key.id, key.name, key.tenant, ",".join(key.scopes), ",".join(key.deployments) or "all"),
            *(_time(each) for each in (key.created_unix_us, key.expires_unix_us, key.last_used_unix_us)),
            tables.quotas(key.quotas),
        )
        for key in found
    )
    columns = ("id", "name", "tenant", "scopes", "deployments", "created", "expires", "last used", "quotas")
    tables.show(columns, rows, "there are no keys; `kernelport keys create` makes one")


@keys.command("set")
@click.argument("name", metavar="KEY")
@options.quotas
@options.as_json
@options.target
def set_key(name: str, quotas: dict[str, str], as_json: bool, target: str) -> None:
    """Change what the bearer of KEY, a name or an id, may use: a quota that is not told stays as it is, and one without
    a value goes."""
    with Client(target) as client:
        there = next((key for key in client.access.list_keys() if name in (key.id, key.name)), None)
        if there is None:
            raise _no_key(name)
        changed = client.access.set_key(there.id, quotas=options.changed_quotas(there.quotas, quotas))
    if as_json:
        options.echo_json([plain(changed)])
        return
    tables.show(("name", "tenant", "quotas"), [(changed.name, changed.tenant, tables.quotas(changed.quotas))])


@keys.command()
@click.argument("names", metavar="KEY...", nargs=-1, required=True)
@options.target
def revoke(names: tuple[str, ...], target: str) -> None:
    """End keys, by their names or ids: within a second no front door takes them any more."""
    with Client(target) as client:

        def revoke_one(name: str) -> None:
            if not client.access.revoke_key(name):
                raise _no_key(name)

        revoked, code = of_each(names, revoke_one)
    click.echo(f"{len(revoked)} revoked")
    sys.exit(code)


@keys.command()
@click.argument("name", metavar="KEY")
@click.option("--grace", type=_Duration(), help="How long what it was before stays valid, such as 10m. [default: 1h]")
@options.as_json
@options.target
def rotate(name: str, grace: timedelta | None, as_json: bool, target: str) -> None:
    """Give KEY, a name or an id, a new secret, and show it this once."""
    with Client(target) as client:
        key, token = client.access.rotate_key(name, grace_s=grace.total_seconds() if grace is not None else None)
    _show(key, token, as_json)


def _no_key(name: str) -> NotFoundError:
    return NotFoundError(f"there is no key {name[:64]!r}; `kernelport keys list` shows those there are")


def _show(key: Key, token: str, as_json: bool) -> None:
    if as_json:
        options.echo_json([plain(key) | {"token": token}])
        return
    click.echo(token)
    options.note(f"this is shown once; it is the key {key.name} ({key.id}) of the tenant {key.tenant}")


def _parts(given: Iterable[str]) -> list[str]:
    return [part.strip() for each in given for part in each.split(",") if part.strip()]


def _time(unix_us: int) -> str:
    return datetime.fromtimestamp(unix_us / 1e6, UTC).strftime("%Y-%m-%d %H:%M:%S") if unix_us else "never"
