"""`kernelport jobs export`: items of a job with their inputs, as a file that `jobs resume --with` takes back."""

import csv
import hashlib
import io
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click
import numpy as np

from kernelport.cli import mistakes, options
from kernelport.cli.jobs import formatting
from kernelport.client import Client
from kernelport.client.jobs.fetching import whole
from kernelport.counting import counted
from kernelport.enums import ItemState
from kernelport.tensors import plain, to_array
from kernelport.v1.inference_pb2 import U8, Tensor

KINDS = (".csv", ".jsonl")
REASON = "reason"
# Elements that a cell shows; of more a file is made.
MOST_ELEMENTS = 64


@click.command()
@click.argument("job_id", metavar="JOB")
@formatting.in_states(ItemState)
@click.option(
    "-o", "--out", type=click.Path(path_type=Path, dir_okay=False), required=True, help="A .csv or .jsonl file."
)
@click.option("--overwrite", is_flag=True, help="Replace a file that is there already.")
@options.target
def export(job_id: str, states: tuple[str, ...], out: Path, overwrite: bool, target: str) -> None:
    """Write items of JOB with all their inputs, and why they failed, into a file to mend and run again with:

    \b
      kernelport jobs export JOB --state failed -o failed.csv
      kernelport jobs resume JOB --with failed.csv

    Inputs that a cell cannot show become .npy files in the folder OUT.files, for `resume --files`.
    """
    if out.suffix.lower() not in KINDS:
        raise click.UsageError(f"--out: expected a name that ends in {' or '.join(KINDS)}, got {out}")
    mistakes.check_new(out, overwrite)
    folder = out.with_name(f"{out.name}.files")
    with Client(target) as client:
        if next(client.jobs.items(job_id, states), None) is None:
            click.echo("nothing to export; no file was written", err=True)
            return

        def rows() -> Iterator[dict[str, Any]]:
            for item in client.jobs.items(job_id, states, inputs=True):
                shown = {tensor.name: _shown(tensor, folder) for tensor in item.inputs}
                yield {"id": item.id, **shown, REASON: item.reason}

        count = _WRITERS[out.suffix.lower()](rows, out)
    click.echo(f"{counted(count, 'item')}: {out}")
    if folder.exists():
        click.echo(f"read them with --files {folder}", err=True)


def _write_jsonl(rows: Callable[[], Iterator[dict[str, Any]]], out: Path) -> int:
    count = 0
    with whole(out) as file:
        for row in rows():
            file.write((json.dumps(row, ensure_ascii=False) + "\n").encode())
            count += 1
    return count


def _write_csv(rows: Callable[[], Iterator[dict[str, Any]]], out: Path) -> int:
    """Reads the items twice: the first line names the inputs of all of them."""
    names = dict.fromkeys(name for row in rows() for name in row if name != REASON)
    count = 0
    with whole(out) as file:
        text = io.TextIOWrapper(file, "utf-8", newline="")
        table = csv.DictWriter(text, [*names, REASON])
        table.writeheader()
        for row in rows():
            cells = {name: cell if isinstance(cell, str) else json.dumps(cell) for name, cell in row.items()}
            if name := next((name for name, cell in cells.items() if set(cell) & set("\r\0\ufeff")), None):
                raise mistakes.Mistake(f"item {row['id']}: {name} holds what CSV cannot: choose a name in .jsonl")
            table.writerow(cells)
            count += 1
        text.detach()
    return count


_WRITERS = {".csv": _write_csv, ".jsonl": _write_jsonl}


def _shown(tensor: Tensor, folder: Path) -> Any:
    """A value that files of items have for a tensor: a text, a number, a list, or the name of a file."""
    array = to_array(tensor)
    if tensor.dtype == U8 and array.ndim == 1:
        text = tensor.data.decode(errors="replace")
        if "\ufffd" not in text and (tensor.name == "text" or (text.isprintable() and not text.startswith("@"))):
            return text
    elif array.dtype.kind in "biuf" and array.size <= MOST_ELEMENTS and np.isfinite(array).all():
        return plain(array) if array.size > 1 or array.ndim > 1 else plain(array.ravel())[0]
    elif array.dtype.kind == "O" and array.size <= MOST_ELEMENTS:
        texts = [element.decode(errors="replace") for element in array.ravel().tolist()]
        if not any("\ufffd" in text or text.startswith("@") for text in texts):
            return (
                texts[0]
                if array.size == 1 and array.ndim <= 1
                else np.array(texts, object).reshape(array.shape).tolist()
            )
    folder.mkdir(parents=True, exist_ok=True)
    name = f"{hashlib.sha256(tensor.data).hexdigest()[:32]}.npy"
    np.save(folder / name, array, allow_pickle=False)
    return f"@{name}"
