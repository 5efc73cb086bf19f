"""`kernelport model-fetch`: makes the files of a manifest present on this machine."""

from pathlib import Path

import click

from kernelport.hub import FetchError, fetch
from kernelport.manifests import ModelFilesError, load_manifest
from kernelport.schema import ConfigError


@click.command("model-fetch")
@click.argument("manifest", required=False, envvar="MODEL_MANIFEST_PATH", type=click.Path(path_type=Path))
def model_fetch(manifest: Path | None) -> None:
    """Download the files that MANIFEST names, and verify that they are there.

    MANIFEST is the path of a manifest such as deployments/models/sample-manifest.yaml; without it, the variable
    MODEL_MANIFEST_PATH names it. A connection that breaks is taken up again within the command. Files in the cache
    are not fetched again, and are enough when the hub cannot be reached. The token is HF_TOKEN or
    HUGGINGFACE_HUB_TOKEN.
    """
    if manifest is None:
        raise click.UsageError("name a manifest, or set MODEL_MANIFEST_PATH")
    try:
        fetch(load_manifest(manifest), click.echo)
    except (ConfigError, FetchError, ModelFilesError) as error:
        raise click.ClickException(str(error)) from error
