"""`kernelport tenants`: to whom jobs, voices and files belong, how they share workers, and what they may use."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import click

from kernelport.access.quotas import QuotaError, Quotas
from kernelport.cli import options, tables
from kernelport.client import Client
from kernelport.config.schema import ConfigError, read_yaml
from kernelport.errors import NotFoundError
from kernelport.shapes import plain
from kernelport.v1.access_pb2 import Tenant

_FIELDS = {"weight", "quotas"}


@click.group()
def tenants() -> None:
    """Look at tenants, and say how they share workers and what they may use. Keys are made for one (`kernelport keys
    create --tenant`)."""


@tenants.command("set")
@click.argument("name")
@click.option("--weight", type=float, help="Its share of a deployment's workers beside those of others; 1 unless told.")
@options.quotas
@options.target
def set_tenant(name: str, weight: float | None, quotas: dict[str, str], target: str) -> None:
    """Make the tenant NAME, or change it: what is not told stays as it is, and a quota without a value goes."""
    with Client(target) as client:
        try:
            there = client.access.tenant(name)
        except NotFoundError:
            there = Tenant(weight=1.0)
        limits = options.changed_quotas(there.quotas, quotas)
        _show([client.access.set_tenant(name, weight=there.weight if weight is None else weight, quotas=limits)])


@tenants.command()
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@options.target
def apply(file: Path, target: str) -> None:
    """Make or change the tenants in FILE, for those who keep settings in git: YAML with weight and quotas by the names
    of tenants. What is not there is not limited; tenants that are not in it stay as they are."""
    wanted = _read(file)
    with Client(target) as client:
        made = [client.access.set_tenant(name, weight=weight, quotas=limits) for name, weight, limits in wanted]
    _show(made)


@tenants.command("list")
@options.as_json
@options.target
def list_tenants(as_json: bool, target: str) -> None:
    """Every tenant, by name."""
    with Client(target) as client:
        found = client.access.list_tenants()
    if as_json:
        options.echo_json(map(plain, found))
    else:
        _show(found)


@tenants.command()
@click.argument("name")
@options.as_json
@options.target
def show(name: str, as_json: bool, target: str) -> None:
    """What is known of the tenant NAME."""
    with Client(target) as client:
        tenant = client.access.tenant(name)
    if as_json:
        options.echo_json([plain(tenant)])
    else:
        _show([tenant])


def _read(file: Path) -> list[tuple[str, float, dict[str, float]]]:
    """Names, weights and quotas.

    Raises:
        ConfigError: when it is no such file.
    """
    found = read_yaml(file)
    if not isinstance(found, dict):
        raise ConfigError([f"{file}: expected the names of tenants, with weight and quotas below each"])
    return [_tenant(file, name, told) for name, told in found.items()]


def _tenant(file: Path, name: str, told: Any) -> tuple[str, float, dict[str, float]]:
    told = {} if told is None else told
    if not isinstance(told, dict) or not told.keys() <= _FIELDS or not isinstance(told.get("quotas") or {}, dict):
        raise ConfigError([f"{file}: {name}: expected weight and quotas"])
    weight = told.get("weight", 1.0)
    if isinstance(weight, bool) or not isinstance(weight, (int, float)):
        raise ConfigError([f"{file}: {name}.weight: expected a number, got {weight!r}"])
    try:
        return name, float(weight), Quotas.of(told.get("quotas") or {}).given()
    except QuotaError as error:
        raise ConfigError([f"{file}: {name}.quotas: {error}"]) from error


def _show(found: Iterable[Tenant]) -> None:
    rows = ((tenant.name, f"{tenant.weight:g}", tables.quotas(tenant.quotas)) for tenant in found)
    tables.show(("name", "weight", "quotas"), rows)
