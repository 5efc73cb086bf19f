"""`kernelport serve`: one model file, no deployments file."""

import re
import tempfile
from dataclasses import replace
from pathlib import Path

import click
import yaml

from kernelport.cli import options
from kernelport.cli.running import run_until_stopped
from kernelport.manifests import load_manifest
from kernelport.settings import Settings
from kernelport.stack import Stack

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
) -> None:
    """Serve one model file, or one manifest, without a deployments file."""
    with tempfile.TemporaryDirectory(prefix="kernelport-") as scratch:
        if model_path is not None and manifest is None:
            manifest = _write_manifest(Path(scratch), model_path.absolute(), backend)
            name = name or model_path.stem
        elif manifest is not None and model_path is None:
            loaded = load_manifest(manifest)
            name, backend = name or loaded.id, loaded.backend
        else:
            raise click.UsageError("expected either --model-path or --manifest")
        name = _deployment_name(name)
        table = Path(scratch) / "deployments.yaml"
        entry = {
            "manifest": str(manifest.absolute()),
            "backend": backend,
            "image": "local",
            "device": device,
            "batching": {"max_batch": max_batch, "max_rows": max_rows, "axes": batch_axes},
        }
        table.write_text(yaml.safe_dump({"deployments": {name: entry}}))
        settings = replace(Settings.from_environment(), listen=listen, deployments_file=table, custom_ops=custom_ops)
        click.echo(f"serving {name}")
        run_until_stopped(Stack(settings, [name], state_dir, redis_url))


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
