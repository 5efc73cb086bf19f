"""Runs that callers share, seen from outside: in the worker's metric."""

import re
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import yaml

from kernelport import Client
from kernelport.supervisor.ports import free_port
from kernelport.supervisor.stack import Stack
from kernelport.tensors import Array
from tests.conftest import START_TIMEOUT_S, stack_settings
from tests.e2e.conftest import shared_worker
from tests.stack.models import write_deployments

CALLERS = 16
# Rows along axis 1: along axis 0 each step needs the ones before.
SUMS = "g (float[T, N] x) => (float[T, N] y) <int64 time = {0}> { y = CumSum(x, time) }"
MASKED = """g (int64[N, T] tokens, float[N, T] mask) => (float[N, T] logits)
<float[3] table = {1, 10, 100}> { embedded = Gather(table, tokens) logits = Mul(embedded, mask) }"""
PADS = {
    "inputs": {"tokens": {"axis": 1, "value": 2}, "mask": {"axis": 1}},
    "outputs": {"logits": {"axis": 1, "as": "tokens"}},
}


def onnx_deployment(folder: Path, name: str, text: str, **fields: object) -> dict[str, str]:
    """The entry of a model in ONNX's text syntax, which lies beside the deployments file."""
    onnx.save(onnx.parser.parse_model('<ir_version: 10, opset_import: ["" : 21]>' + text), folder / f"{name}.onnx")
    manifest = {"id": name, "source": {"kind": "local", "path": "."}, "format": "onnx", "backend": "onnx"}
    (folder / f"{name}.yaml").write_text(yaml.safe_dump({**manifest, "files": {"model": f"{name}.onnx"}, **fields}))
    return {"manifest": f"{name}.yaml", "backend": "onnx", "image": "test", "device": "cpu"}


def requests_a_run(metrics: str, deployment: str) -> float:
    """The mean number of requests of a run of the model."""
    with urllib.request.urlopen(f"http://{metrics}/metrics", timeout=5) as response:
        text: str = response.read().decode()
    total, count = (
        float(re.findall(rf'kernelport_run_requests_{part}{{deployment="{deployment}"}} (\S+)', text)[0])
        for part in ("sum", "count")
    )
    return total / count


@pytest.mark.timeout(180)
def test_requests_share_runs_along_axis_1_at_several_lengths_and_when_no_worker_had_ever_run(tmp_path: Path) -> None:
    file = write_deployments(
        tmp_path,
        sums=onnx_deployment(tmp_path, "sums", SUMS),
        masked=onnx_deployment(tmp_path, "masked", MASKED, pad=PADS),
        late=onnx_deployment(tmp_path, "late", SUMS),
    )
    rng = np.random.default_rng(0)
    series = [rng.normal(size=(3, 1 + caller % 3)).astype(np.float32) for caller in range(CALLERS)]
    metrics = f"127.0.0.1:{free_port()}"
    with Stack(stack_settings(file), [], tmp_path / "state") as stack, Client(stack.target, timeout_s=60) as client:
        stack.wait_ready(START_TIMEOUT_S)
        job = client.jobs.submit("late", [(str(number), {"x": x}) for number, x in enumerate(series)])
        stack.settings = replace(stack.settings, metrics_listen=metrics)
        with shared_worker(stack, ["sums", "masked", "late"], tmp_path), ThreadPoolExecutor(CALLERS) as callers:

            def summed(x: Array) -> bool:
                return np.allclose(client.infer("sums", {"x": x})["y"], np.cumsum(x, 0), atol=1e-5)

            def masked(length: int) -> bool:
                tokens = np.full((1, 1 + length % 5), length % 3, np.int64)
                mask = np.ones(tokens.shape, np.float32)
                logits = client.infer("masked", {"tokens": tokens, "mask": mask})["logits"]
                return np.array_equal(logits, np.full(tokens.shape, 10.0 ** (length % 3), np.float32))

            assert all(callers.map(summed, series * 8))
            assert all(callers.map(masked, range(CALLERS * 8)))
            assert client.jobs.wait(job.id).progress.succeeded == CALLERS
            assert {name: requests_a_run(metrics, name) > 1 for name in ("sums", "masked", "late")} == {
                "sums": True,
                "masked": True,
                "late": True,
            }
