"""Whether a model that may be stacked is: not where that is slower."""

import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
import pytest

from kernelport.config.deployments import load_deployments
from kernelport.errors import InvalidArgumentError
from kernelport.v1 import deployment_pb2 as pb
from kernelport_workers.backends import stacking_gain
from kernelport_workers.backends.base import Outputs
from kernelport_workers.backends.loading import load
from kernelport_workers.backends.stacking import Inputs

REQUEST = {"x": np.zeros((1, 4), np.float32)}


def busy(milliseconds: float) -> Outputs:
    ends_at = time.thread_time() + milliseconds / 1000
    while time.thread_time() < ends_at:
        pass
    return {}


def together(milliseconds_a_row: float, requests: Sequence[Inputs]) -> list[Outputs]:
    return [busy(milliseconds_a_row) for _ in requests]


@pytest.mark.parametrize(
    ("alone_ms", "stacked_ms", "loses"),
    [(6.0, 9.0, True), (6.0, 1.0, False), (6.0, 6.0, False), (0.2, 5.0, False), (60.0, 1.0, False)],
    ids=["slower", "faster", "the same", "short", "long"],
)
def test_a_row_that_takes_longer_in_company_is_a_loss(alone_ms: float, stacked_ms: float, loses: bool) -> None:
    lost = stacking_gain.loss(REQUEST, lambda _: busy(alone_ms), lambda requests: together(stacked_ms, requests))
    assert bool(lost) is loses
    assert not loses or lost.startswith("a request takes 9.0 ms in runs of 8 and 6.0 ms alone")


def test_a_request_that_the_model_refuses_tells_nothing() -> None:
    def refuses(_: Inputs) -> Outputs:
        raise InvalidArgumentError("no")

    with pytest.raises(InvalidArgumentError):
        stacking_gain.loss(REQUEST, refuses, lambda requests: together(1.0, requests))


def test_a_model_that_loses_runs_one_by_one_unless_its_manifest_says_otherwise(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stacking_gain, "_SHORTEST_S", 0.0)
    monkeypatch.setattr(stacking_gain, "_LOSES_BY", 0.0)  # now every model does
    model = onnx.parser.parse_model(
        '<ir_version: 10, opset_import: ["" : 21]> g (float[N, 4] x) => (float[N, 4] y) { y = Relu(x) }'
    )
    onnx.save(model, tmp_path / "relu.onnx")
    entry = "{{manifest: {0}.yaml, backend: onnx, image: none, device: cpu}}"
    (tmp_path / "deployments.yaml").write_text(
        f"deployments: {{proven: {entry.format('proven')}, declared: {entry.format('declared')}}}"
    )
    for name, more in (("proven", ""), ("declared", "batch_axes: {inputs: {x: 0}, outputs: {y: 0}}, ")):
        (tmp_path / f"{name}.yaml").write_text(
            f"{{id: {name}, {more}source: {{kind: local, path: .}}, format: onnx, backend: onnx, "
            "files: {model: relu.onnx}}"
        )
    table = load_deployments(tmp_path / "deployments.yaml")
    proven, declared = (load(table[name]).signature for name in ("proven", "declared"))
    assert not proven.batchable
    assert proven.row_independence == pb.ROW_INDEPENDENCE_PROVEN
    assert "proven, but slower: a request takes" in proven.reason
    assert declared.batchable
