"""What the extra `onnx` brings is enough to prove a model's rows apart and to stack its requests."""

import os
import subprocess
import sys
from pathlib import Path

import onnx
import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
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
    clean = tmp_path / "clean"
    run(sys.executable, "-m", "venv", str(clean))
    pip = [str(clean / "bin" / "python"), "-m", "pip", "--disable-pip-version-check"]
    run(*pip, "install", "-q", "-c", "constraints.txt", ".[onnx]", cwd=REPOSITORY)
    assert "torch" not in run(*pip, "list")
    kernelport = str(clean / "bin" / "kernelport")
    assert "proven" in run(kernelport, "deployments", "check", str(tmp_path / "plain.onnx"))
    assert run(str(clean / "bin" / "python"), "-c", LOAD, str(deployments)).startswith("True")


def run(*command: str, cwd: Path | None = None) -> str:
    """The output of a command that must succeed, without this environment's modules."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    finished = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stderr
    return finished.stdout
