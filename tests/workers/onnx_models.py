"""ONNX models in ONNX's text syntax, and deployments of them."""

from pathlib import Path
from typing import Any

import onnx
import yaml

from kernelport.config.deployments import Deployment
from kernelport.config.manifests import load_manifest


def parse(text: str) -> onnx.ModelProto:
    """The model of a graph in ONNX's text syntax."""
    return onnx.parser.parse_model('<ir_version: 10, opset_import: ["" : 21]>' + text)


def deployment(folder: Path, device: str = "cpu", **manifest: Any) -> Deployment:
    """A deployment of the `model.onnx` in a folder; further arguments are keys of its manifest."""
    content = {
        "id": "test",
        "source": {"kind": "local", "path": "."},
        "format": "onnx",
        "backend": "onnx",
        "files": {"model": "model.onnx"},
        **manifest,
    }
    path = folder / "manifest.yaml"
    path.write_text(yaml.safe_dump(content))
    return Deployment(name="test", backend="onnx", image="none", manifest=load_manifest(path), device=device)
