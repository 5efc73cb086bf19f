"""`kernelport infer`: tensors from files through a deployment into a file."""

import json
from pathlib import Path
from typing import Any

import click
import numpy as np

from kernelport import npz
from kernelport.cli import mistakes, options
from kernelport.client import Client
from kernelport.client.item_files.opening import open_bytes
from kernelport.tensors import Array


@click.command()
@click.argument("model")
@click.argument("source", type=click.Path(path_type=Path, exists=True, dir_okay=False, allow_dash=True), required=False)
@click.option(
    "--input",
    "assignments",
    multiple=True,
    metavar="NAME=VALUE",
    help="One input: a value, or @file (an .npy array, or bytes).",
)
@click.option(
    "--output", "outputs", multiple=True, metavar="NAME", help="An output that is wanted; all usual ones by default."
)
@click.option("-o", "--out", type=click.Path(path_type=Path), help="An .npz or .json file; JSON on stdout by default.")
@click.option("--overwrite", is_flag=True, help="Replace a file that is there already.")
@options.target
@options.timeout
def infer(
    model: str,
    source: Path | None,
    assignments: tuple[str, ...],
    outputs: tuple[str, ...],
    out: Path | None,
    overwrite: bool,
    target: str,
    timeout: float | None,
) -> None:
    """Run MODEL on the tensors in SOURCE: an .npz file, a JSON file (or - for stdin) of the form {"x": [[1, 2]]}, or
    an .npy file for a model with one input. In JSON that is printed, what is no number is "NaN", "Infinity" or
    "-Infinity"."""
    if out is not None:
        if out.suffix not in (".npz", ".json"):
            raise click.UsageError(f"--out: expected a name that ends in .npz or .json, got {out}")
        mistakes.check_new(out, overwrite)
    with Client(target, timeout_s=timeout) as client:
        signature = client.deployment(model).signature
        inputs = _read(source, [spec.name for spec in signature.inputs])
        inputs |= options.read_assignments(assignments, signature)
        result = client.infer(model, inputs, outputs=outputs)
    for warning in result.warnings:
        click.echo(f"warning: {warning}", err=True)
    _write(result.outputs, out)
    timings = f"queued {result.queued_us} us, batched {result.batched_us} us, backend {result.backend_us} us"
    click.echo(timings, err=True)


def _read(source: Path | None, names: list[str]) -> dict[str, Any]:
    if source is None:
        return {}
    if source.suffix == ".npy" and len(names) != 1:
        raise click.UsageError(f"an .npy file fits a model with one input; this one has {', '.join(names)}")
    try:
        if source.suffix == ".npz":
            return npz.read(source)
        if source.suffix == ".npy":
            return {names[0]: npz.read_npy(source)}
        with open_bytes(source) as file:
            values = json.loads(file.read())
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        expected = 'expected an .npz or .npy file, or JSON such as {"x": [[1, 2]]}'
        raise mistakes.Mistake(f"{source}: {expected}, got what is no JSON: {error}") from error
    except (OSError, ValueError, RecursionError) as error:
        raise mistakes.Mistake(f"{source}: {error}") from error
    if not isinstance(values, dict):
        raise mistakes.Mistake(f'{source}: expected an object of inputs, such as {{"x": [[1, 2]]}}')
    return values


def _write(outputs: dict[str, Any], out: Path | None) -> None:
    if out is not None and out.suffix == ".npz":
        npz.write(out, outputs)
        return
    text = json.dumps({name: _values(array) for name, array in outputs.items()}, default=_text, allow_nan=False)
    if out is None:
        click.echo(text)
    else:
        out.write_text(text + "\n")


def _values(array: Array) -> Any:
    """The elements as lists. JSON has no NaN and no infinity: they are texts, as protobuf writes them."""
    if array.dtype.kind not in "fV" or np.isfinite(array).all():
        return array.tolist()
    elements = array.astype(np.float64).astype(object)
    elements[np.isnan(array)] = "NaN"
    elements[np.isposinf(array)] = "Infinity"
    elements[np.isneginf(array)] = "-Infinity"
    return elements.tolist()


def _text(value: object) -> str:
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    raise TypeError(f"no JSON for {type(value).__name__}")
