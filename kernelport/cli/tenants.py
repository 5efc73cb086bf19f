"""`kernelport tenants`: to whom jobs, voices and files belong, and how they share workers."""

from collections.abc import Iterable

import click
from rich.console import Console
from rich.table import Table

from kernelport.cli import options
from kernelport.client import Client
from kernelport.shapes import plain
from kernelport.v1.access_pb2 import Tenant


@click.group()
def tenants() -> None:
    """Look at tenants, and say how they share workers. Keys are made for one (`kernelport keys create --tenant`)."""


@tenants.command("set")
@click.argument("name")
@click.option("--weight", type=float, default=1.0, help="Its share of a deployment's workers beside those of others.")
@options.target
def set_tenant(name: str, weight: float, target: str) -> None:
    """Make the tenant NAME, or change it."""
    with Client(target) as client:
        _show([client.access.set_tenant(name, weight=weight)])


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


def _show(found: Iterable[Tenant]) -> None:
    table = Table("name", "weight")
    for tenant in found:
        table.add_row(tenant.name, f"{tenant.weight:g}")
    Console().print(table)
