"""`kernelport usage`: what tenants have used, for whoever has to bill it."""

import click

from kernelport.cli import options
from kernelport.cli.tables import show
from kernelport.client import Client
from kernelport.shapes import plain, usage_csv


@click.command()
@click.option("--first-day", default="", help="Of UTC, such as 2026-01-31; 30 days before the last one when not given.")
@click.option("--last-day", default="", help="Today when not given.")
@click.option("--tenant", default="", help="All when not given.")
@click.option("--csv", "as_csv", is_flag=True, help="As CSV.")
@options.as_json
@options.target
def usage(first_day: str, last_day: str, tenant: str, as_csv: bool, as_json: bool, target: str) -> None:
    """Show what tenants have used, by day: calls, items of jobs, seconds of audio and of models, what these cost."""
    with Client(target) as client:
        found = client.access.usage(first_day=first_day, last_day=last_day, tenant=tenant)
    if as_csv:
        click.echo(usage_csv(found), nl=False)
        return
    if as_json:
        options.echo_json(map(plain, found))
        return
    rows = (
        (
            *(each.day, each.tenant, *map(str, (each.calls, each.items, each.characters, each.bytes))),
            *(f"{each.audio_s:.1f}", f"{each.model_s:.1f}", f"{each.dollars:.4f}"),
        )
        for each in found
    )
    columns = ("day", "tenant", "calls", "items", "characters", "bytes", "audio s", "model s", "dollars")
    show(columns, rows, "nothing has been used")
