"""What the extra `onnx` brings is enough to prove a model's rows apart and to stack its requests."""

from pathlib import Path

import onnx
import pytest

from tests.install.environments import Clean

# In the clean environment: loads the model as a worker does.
LOAD = """
import sys
from pathlib import Path
from kernelport.config.deployments import load_deployments
from kernelport_workers import backends
signature = backends.load(load_deployments(Path(sys.argv[1]))["plain"]).signature
print(signature.batchable, signature.reason)
"""


@pytest.mark.timeout(300)
def test_a_plain_model_is_proven_in_a_clean_environment(tmp_path: Path) -> None:
    model = onnx.parser.parse_model(
        '<ir_version: 10, opset_import: ["" : 21]> g (float[N, 4] x) => (float[N, 4] y) { y = Relu(x) }'
    )
    onnx.save(model, tmp_path / "plain.onnx")
    (tmp_path / "plain.yaml").write_text(
        "{id: plain, source: {kind: local, path: .}, format: onnx, backend: onnx, files: {model: plain.onnx}}"
    )
    deployments = tmp_path / "deployments.yaml"
    deployments.write_text("deployments: {plain: {manifest: plain.yaml, backend: onnx, image: none, device: cpu}}")
    clean = Clean(tmp_path / "clean", "onnx")
    assert "torch" not in clean.packages()
    assert "proven" in clean.run("kernelport", "deployments", "check", str(tmp_path / "plain.onnx"))
    assert clean.run("python", "-c", LOAD, str(deployments)).startswith("True")
