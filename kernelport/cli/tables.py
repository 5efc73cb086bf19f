"""Listings: a table where a person looks, plain columns where a program reads."""

import sys
import textwrap
from collections.abc import Iterable, Mapping, Sequence

import click
from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

# Of a cell of a table. Columns have all of it.
MOST_SHOWN = 120
Cell = str | Text


def show(columns: Iterable[str | Column], rows: Iterable[Sequence[Cell]], nothing: str = "") -> None:
    """Prints rows. On a terminal they are a table, which cuts long cells; else a line each, without the columns' names,
    and with a tab between cells, which are whole.

    Args:
        nothing: said on a terminal when there are no rows.
    """
    rows = list(rows)
    if not sys.stdout.isatty():
        for row in rows:
            click.echo("\t".join(" ".join(str(cell).split()) for cell in row))
    elif rows or not nothing:
        table = Table(*columns)
        for row in rows:
            table.add_row(*map(_shortened, row))
        Console().print(table)
    else:
        click.echo(nothing)


def quotas(given: Mapping[str, float]) -> str:
    """Quotas in a cell."""
    return ", ".join(f"{name}={given[name]:.15g}" for name in sorted(given)) or "none"


def _shortened(cell: Cell) -> Text:
    return cell if isinstance(cell, Text) else Text(textwrap.shorten(cell, MOST_SHOWN, placeholder=" ..."))
