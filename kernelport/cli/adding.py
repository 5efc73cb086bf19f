"""Deployments of one model file or manifest: what `kernelport serve` and `deployments add` make of it."""

import importlib.util
import re
import sys
from pathlib import Path
from typing import Any

import click

from kernelport.cli import options
from kernelport.config.deployments import NAME, NAME_EXPECTED, load_deployments
from kernelport.config.manifests import load_manifest
from kernelport.supervisor import own_file
from kernelport.supervisor.requests import Outcome
from kernelport.supervisor.runnable import rows_of_model
from kernelport.supervisor.running_file import Running

_MANIFESTS = (".yaml", ".yml")


def name_of(file: Path, name: str | None) -> str:
    """What the deployment of a model or manifest is called: what was asked for; else the manifest's id or the model's
    stem, or the closest to it that a deployment may be called.

    Raises:
        click.UsageError: when no deployment may be called what was asked for.
    """
    if name:
        if re.fullmatch(NAME, name) is None:
            raise click.UsageError(f"expected {NAME_EXPECTED}, got {name!r}")
        return name
    text = load_manifest(file).id if file.suffix in _MANIFESTS else file.stem
    return re.sub(r"[^A-Za-z0-9._-]+", "-", text).strip("._-") or "model"


def entry_of(file: Path, name: str, state_dir: Path, backend: str = "onnx") -> dict[str, Any]:
    """The entry of a model or manifest for a deployments file.

    Raises:
        ConfigError: when the manifest is not as expected.
        ModelFileError: when the file is no model; as far as that can be told without a worker.
    """
    if file.suffix in _MANIFESTS:
        return {"manifest": str(file.absolute()), "backend": load_manifest(file).backend}
    if importlib.util.find_spec("onnx") is not None:
        rows_of_model(file)
    return {"manifest": str(own_file.write_manifest(state_dir, name, file, backend)), "backend": backend}


def add_to(running: Running, state_dir: Path, name: str, entry: dict[str, Any], naming: str) -> None:
    """Adds a deployment to a running stack, and says where it is; what cannot be served is taken out again.

    Args:
        naming: how the command line gives the model another name.
    """
    before = own_file.added(state_dir).get(name)
    if before is None and (deployed := load_deployments(own_file.own_file(state_dir)).get(name)):
        raise click.UsageError(f"{name} is deployed already, by {deployed.file}; {naming} gives the model another name")
    own_file.add(state_dir, name, entry)
    if reason := reload(running, state_dir).failed.get(name):
        if before is None:
            own_file.remove(state_dir, name)
        else:
            own_file.add(state_dir, name, before)
        _ask_to_reload(state_dir, running)
        raise click.ClickException(f"{name}: {reason}")
    click.echo(f"{name} is served at {running.target}")


def reload(running: Running, state_dir: Path) -> Outcome:
    """Has a running stack go by its deployments file, and waits until it does. What is wrong with the file itself ends
    the command."""
    options.note("the stack goes by its deployments file again: workers load, and finish what they have")
    outcome = _ask_to_reload(state_dir, running)
    if reason := outcome.failed.get(""):
        click.echo(f"error: {reason}", err=True)
        sys.exit(2)
    return outcome


def _ask_to_reload(state_dir: Path, running: Running) -> Outcome:
    from kernelport.supervisor.reloading import ask_to_reload  # here, because a client alone has no library for Redis

    return ask_to_reload(state_dir, running)
