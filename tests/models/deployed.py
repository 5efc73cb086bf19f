"""ONNX models as deployments, each through a manifest of its own."""

from collections.abc import Mapping
from pathlib import Path

import onnx
import yaml


def deploy(models: Mapping[str, onnx.ModelProto], folder: Path) -> Path:
    """A deployments file of models by name, in their order, with them and their manifests beside it."""
    deployments = {}
    for name, model in models.items():
        onnx.save(model, folder / f"{name}.onnx")
        manifest = {
            "id": name,
            "source": {"kind": "local", "path": str(folder)},
            "format": "onnx",
            "backend": "onnx",
            "files": {"model": f"{name}.onnx"},
        }
        (folder / f"{name}.yaml").write_text(yaml.safe_dump(manifest))
        deployments[name] = {"manifest": f"{name}.yaml", "backend": "onnx", "image": "test", "device": "cpu"}
    deployments_file = folder / "deployments.yaml"
    deployments_file.write_text(yaml.safe_dump({"deployments": deployments}, sort_keys=False))
    return deployments_file
