"""`kernelport serve`: one model file, no deployments file."""

from dataclasses import replace
from pathlib import Path

import click

from kernelport.cli import options
from kernelport.cli.adding import add_to, entry_of, name_of
from kernelport.cli.foreground import run_until_stopped
from kernelport.config.deployments import load_deployments
from kernelport.config.schema import as_yaml
from kernelport.config.settings import Settings
from kernelport.supervisor.reloading import Reloader
from kernelport.supervisor.restarting import Restarter
from kernelport.supervisor.running_file import find_running
from kernelport.supervisor.stack import Stack
from kernelport.supervisor.state_folder import make_state_folder, private_folder

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
@options.http_listen
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
    http_listen: str,
    state_dir: Path,
    redis_url: str | None,
    custom_ops: bool,
    roll: bool,
) -> None:
    """Serve one model file, or one manifest, without a deployments file.

    While a stack runs on the state directory, the model is added to it, as by `kernelport deployments add`; addresses,
    --custom-ops and --roll are that stack's then.
    """
    file = model_path or manifest
    if file is None or (model_path and manifest):
        raise click.UsageError("expected either --model-path or --manifest")
    name = name_of(file, name)
    make_state_folder(state_dir)
    entry = entry_of(file, name, state_dir, backend) | {
        "device": device,
        "batching": {"max_batch": max_batch, "max_rows": max_rows, "axes": batch_axes},
    }
    if running := find_running(state_dir):
        add_to(running, state_dir, name, entry, "--name")
        return
    table_file = private_folder(state_dir.absolute() / "served") / name / "deployments.yaml"
    table_file.parent.mkdir(exist_ok=True)
    table_file.write_text(as_yaml({"deployments": {name: entry}}))
    settings = replace(
        Settings.from_environment(),
        listen=listen,
        http_listen=options.unless_taken(http_listen),
        deployments_file=table_file,
        custom_ops=custom_ops,
        roll=roll,
    )
    table = load_deployments(table_file)
    click.echo(f"serving {name}")
    stack = Stack(settings, [name], state_dir, redis_url)
    run_until_stopped(stack, Reloader(stack, state_dir, table, lambda _: True, {}), Restarter(stack, state_dir))
