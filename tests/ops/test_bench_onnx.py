"""The models of `make bench-onnx`, and one short run of it."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest

from kernelport_ops.bench.onnx_models.zoo import MODELS, Model

REPOSITORY = Path(__file__).resolve().parents[2]
# Writing these takes seconds each.
LARGE = {"recommender", "matmul-stack", "large-encoder"}


def test_there_are_twenty_models() -> None:
    assert len({model.name for model in MODELS}) == len(MODELS) == 20


@pytest.mark.parametrize("model", [each for each in MODELS if each.name not in LARGE], ids=lambda model: model.name)
def test_a_model_runs_on_a_request_of_at_most_64_kib(model: Model, tmp_path: Path) -> None:
    model.write(tmp_path / "model.onnx")
    inputs = model.inputs()
    assert sum(array.nbytes for array in inputs.values()) <= 64 * 2**10
    outputs = ort.InferenceSession(tmp_path / "model.onnx").run(None, inputs)
    assert all(np.isfinite(output).all() for output in outputs)


@pytest.mark.thorough
def test_a_tiny_run_measures_the_loop_callers_and_a_job(tmp_path: Path) -> None:
    limits = ("--models", "linear-regression,quantised-perceptron", "--rounds", "2", "--seconds", "0.01")
    command = [sys.executable, "-m", "kernelport_ops.bench.onnx_models", "--out", str(tmp_path), "--workers", "1"]
    done = subprocess.run([*command, *limits], capture_output=True, text=True, timeout=100, cwd=REPOSITORY, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    document = json.loads((tmp_path / "onnx.json").read_text())
    assert document["complete"]
    assert [(model["model"], model["stacked"]) for model in document["models"]] == [
        ("linear-regression", True),
        ("quantised-perceptron", False),
    ]
    for model in document["models"]:
        assert all(len(figures) == 2 and min(figures) > 0 for figures in model["rounds"].values())
        assert model["calls_to_direct"] > 0
        assert model["job_to_direct"] > 0
        assert model["model"] in (tmp_path / "onnx.txt").read_text()
