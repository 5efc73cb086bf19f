"""`kernelport model-fetch`: makes the files of a manifest present on this machine."""

from pathlib import Path

import click

from kernelport.config.deployments import load_deployments
from kernelport.config.hub import FetchError, fetch
from kernelport.config.manifests import Manifest, ModelFilesError, load_manifest
from kernelport.config.settings import Settings


@click.command("model-fetch")
@click.argument("manifest", required=False, envvar="MODEL_MANIFEST_PATH", type=click.Path(path_type=Path))
@click.option("--deployment", default=None, help="The deployment whose manifest it is, in place of MANIFEST.")
def model_fetch(manifest: Path | None, deployment: str | None) -> None:
    """Download the files that MANIFEST names, and verify that they are there.

    MANIFEST is the path of a manifest such as deployments/models/sample-manifest.yaml; without it, the variable
    MODEL_MANIFEST_PATH names it. A connection that breaks is taken up again within the command. Files in the cache
    are not fetched again, and are enough when the hub cannot be reached. The token is HF_TOKEN or
    HUGGINGFACE_HUB_TOKEN.
    """
    try:
        fetch(_of_deployment(deployment) if deployment else _of_file(manifest), click.echo)
    except (FetchError, ModelFilesError) as error:
        raise click.ClickException(str(error)) from error


def _of_file(path: Path | None) -> Manifest:
    if path is None:
        raise click.UsageError("name a manifest, or set MODEL_MANIFEST_PATH")
    return load_manifest(path)


def _of_deployment(name: str) -> Manifest:
    deployment = load_deployments(Settings.from_environment().deployments_file, [name]).get(name)
    if deployment is None or deployment.manifest is None:
        raise click.BadParameter(f"no deployment {name!r} has a manifest")
    return deployment.manifest
