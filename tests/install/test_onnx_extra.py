"""What the extra `onnx` brings is enough to prove a model's rows apart and to stack its requests."""

from pathlib import Path

import onnx
import pytest

from tests.install.environments import Environment, Installed, Linked

# In the clean environment: loads the model as a worker does.
LOAD = """
import sys
from pathlib import Path
from kernelport.config.deployments import load_deployments
from kernelport_workers.backends import loading
signature = loading.load(load_deployments(Path(sys.argv[1]))["plain"]).signature
print(signature.batchable, signature.reason)
"""


@pytest.fixture
def deployments(tmp_path: Path) -> Path:
    """A deployments file of a plain model, which lies beside it."""
    model = onnx.parser.parse_model(
        '<ir_version: 10, opset_import: ["" : 21]> g (float[N, 4] x) => (float[N, 4] y) { y = Relu(x) }'
    )
    onnx.save(model, tmp_path / "plain.onnx")
    (tmp_path / "plain.yaml").write_text(
        "{id: plain, source: {kind: local, path: .}, format: onnx, backend: onnx, files: {model: plain.onnx}}"
    )
    file = tmp_path / "deployments.yaml"
    file.write_text("deployments: {plain: {manifest: plain.yaml, backend: onnx, image: none, device: cpu}}")
    return file


def test_a_plain_model_is_proven_with_what_the_extra_asks_for(deployments: Path, tmp_path: Path) -> None:
    linked = Linked(tmp_path / "linked", "onnx")
    assert "onnxruntime" in linked.packages
    assert "No module named 'torch'" in linked.refusal("python", "-c", "import torch")
    proves(linked, deployments)


@pytest.mark.thorough
@pytest.mark.timeout(300)
def test_a_plain_model_is_proven_where_the_extra_is_installed(deployments: Path, tmp_path: Path) -> None:
    installed = Installed(tmp_path / "installed", "onnx")
    assert "torch" not in installed.packages()
    proves(installed, deployments)


def proves(environment: Environment, deployments: Path) -> None:
    """The model is proven there, by the command and by a worker."""
    check = ("-m", "kernelport.cli", "deployments", "check", str(deployments.with_name("plain.onnx")))
    assert "proven" in environment.run("python", *check)
    assert environment.run("python", "-c", LOAD, str(deployments)).startswith("True")
