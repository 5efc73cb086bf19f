"""`kernelport serve`: one model file, no deployments file."""

import re
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn

import click
import yaml

from kernelport.cli import options
from kernelport.cli.running import run_until_stopped
from kernelport.manifests import load_manifest
from kernelport.settings import PREFIX, Settings
from kernelport.stack import Stack, StackError
from kernelport.stack.running_file import Running, find_running
from kernelport.stack.state_folder import make_state_folder

_COUNT = click.IntRange(1, 2**31 - 1)


@click.command()
@click.option("--backend", type=click.Choice(["onnx"]), default="onnx", help="What runs the model.")
@click.option("--model-path", type=click.Path(path_type=Path, exists=True, dir_okay=False), help="An ONNX file.")
@click.option(
    "--manifest",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="A manifest to serve instead of a model file.",
)
@click.option("--name", default=None, help="The deployment's name; the file's stem, or the manifest's id, by default.")
@click.option("--device", default="auto", help="cpu, cuda, cuda:N or auto.")
@click.option(
    "--batch-axes",
    type=click.Choice(["auto", "declared", "off"]),
    default="auto",
    help="Stack requests where it is proven or declared that rows are independent, only where declared, or never.",
)
@click.option("--max-batch", type=_COUNT, default=32, help="The most requests of a batch.")
@click.option("--max-rows", type=_COUNT, default=8192, help="The most rows of requests that are stacked.")
@options.listen
@options.state_dir
@options.redis_url
@options.custom_ops
@options.roll
def serve(
    backend: str,
    model_path: Path | None,
    manifest: Path | None,
    name: str | None,
    device: str,
    batch_axes: str,
    max_batch: int,
    max_rows: int,
    listen: str,
    state_dir: Path,
    redis_url: str | None,
    custom_ops: bool,
    roll: bool,
) -> None:
    """Serve one model file, or one manifest, without a deployments file.

    While `kernelport up` runs on the state directory, this says how to serve the model together with what runs there.
    """
    if (model_path is None) == (manifest is None):
        raise click.UsageError("expected either --model-path or --manifest")
    if manifest is not None:
        loaded = load_manifest(manifest)
        name, backend = name or loaded.id, loaded.backend
    name = _deployment_name(name or (model_path or Path()).stem)
    folder = state_dir.absolute() / "served" / name
    make_state_folder(state_dir)
    folder.mkdir(parents=True, exist_ok=True)
    if model_path is not None:
        manifest = _write_manifest(folder, model_path.absolute(), backend)
    entry = {
        "manifest": str((manifest or Path()).absolute()),
        "backend": backend,
        "device": device,
        "batching": {"max_batch": max_batch, "max_rows": max_rows, "axes": batch_axes},
    }
    table = folder / "deployments.yaml"
    if running := find_running(state_dir):
        _add_to(running, name, table, entry)
    table.write_text(yaml.safe_dump({"deployments": {name: entry}}))
    settings = replace(
        Settings.from_environment(), listen=listen, deployments_file=table, custom_ops=custom_ops, roll=roll
    )
    click.echo(f"serving {name}")
    run_until_stopped(Stack(settings, [name], state_dir, redis_url))


def _add_to(running: Running, name: str, table: Path, entry: dict[str, Any]) -> NoReturn:
    """Writes a deployments file with what a running stack serves and this model, and says how to start with it."""
    served = running.environment[f"{PREFIX}DEPLOYMENTS_FILE"]
    if served == str(table):
        raise StackError(f"{name} is served already, at {running.target}")
    table.write_text(yaml.safe_dump({"include": served, "deployments": {name: entry}}))
    raise StackError(
        f"a stack runs already, at {running.target}. To serve {name} with what it serves, stop it and start: "
        f"kernelport up --deployments-file {table}"
    )


def _write_manifest(folder: Path, model: Path, backend: str) -> Path:
    path = folder / "manifest.yaml"
    content = {
        "id": _deployment_name(model.stem).lower(),
        "source": {"kind": "local", "path": str(model.parent)},
        "format": "onnx",
        "backend": backend,
        "files": {"model": model.name},
    }
    path.write_text(yaml.safe_dump(content))
    return path


def _deployment_name(text: str) -> str:
    """`text` itself when a deployment may have that name, else the closest there is."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", text).strip("._-") or "model"
