"""What a manifest says under `onnx` is how ONNX Runtime runs the model, or the reason why it is not loaded."""

import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest

from kernelport import npz
from kernelport.config.settings import Settings
from kernelport_workers.backends.base import LoadError
from kernelport_workers.backends.onnx import OnnxBackend, read_warm_up
from tests.workers.onnx_models import deployment, parse

Level = ort.GraphOptimizationLevel
CPU = "CPUExecutionProvider"


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A folder with a model of two required inputs."""
    graph = "g (float[N, 2] x, int64[N] i) => (float[N, 2] y, int64[N] j) { y = Neg(x) j = Abs(i) }"
    onnx.save(parse(graph), tmp_path / "model.onnx")
    return tmp_path


def load(folder: Path, device: str = "cpu", **settings: Any) -> OnnxBackend:
    return OnnxBackend.load(deployment(folder, device, onnx=settings))


def session_of(backend: OnnxBackend) -> Any:
    """ONNX Runtime's own session, which tells what it was told."""
    return backend._session._session


def test_the_graph_is_optimized_as_far_as_the_manifest_says(model: Path) -> None:
    levels = {
        "disabled": Level.ORT_DISABLE_ALL,
        "basic": Level.ORT_ENABLE_BASIC,
        "extended": Level.ORT_ENABLE_EXTENDED,
        "all": Level.ORT_ENABLE_ALL,
    }
    for name, level in levels.items():
        options = session_of(load(model, optimization=name)).get_session_options()
        assert options.graph_optimization_level == level
    assert session_of(load(model)).get_session_options().graph_optimization_level == Level.ORT_ENABLE_ALL


def test_threads_are_the_manifests_then_the_environments(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    options = session_of(load(model, intra_op_threads=2, inter_op_threads=2)).get_session_options()
    assert (options.intra_op_num_threads, options.inter_op_num_threads) == (2, 2)
    assert options.execution_mode == ort.ExecutionMode.ORT_PARALLEL
    options = session_of(load(model, inter_op_threads=1)).get_session_options()
    assert (options.intra_op_num_threads, options.execution_mode) == (3, ort.ExecutionMode.ORT_SEQUENTIAL)


def test_providers_get_their_options_in_the_order_of_the_manifest(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []
    real = ort.InferenceSession

    def session(*arguments: Any, providers: Any, **options: Any) -> Any:
        asked.append(providers)
        return real(*arguments, providers=providers, **options)

    monkeypatch.setattr("onnxruntime.InferenceSession", session)
    backend = load(model, "auto", providers=[{"name": CPU, "options": {"a": 1, "b": True, "c": "x"}}])
    assert asked == [[(CPU, {"a": "1", "b": "True", "c": "x"})]]
    assert backend.device == "cpu"


@pytest.mark.parametrize(
    ("device", "providers", "message"),
    [
        ("auto", ["NoSuchExecutionProvider", CPU], "NoSuchExecutionProvider is not available: available providers are"),
        ("auto", [CPU, "TensorrtExecutionProvider"], "TensorrtExecutionProvider is not available"),
        ("cpu", [CPU], r"device cpu: expected auto, as onnx\.providers in the manifest says where it runs"),
    ],
)
def test_providers_that_cannot_be_used_are_named(device: str, providers: list[str], message: str, model: Path) -> None:
    with pytest.raises(LoadError, match=message):
        load(model, device, providers=[{"name": name} for name in providers])


def test_custom_operators_are_loaded_only_where_the_operator_allows_it(
    model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("there is no C compiler")
    mark = model / "loaded"
    (model / "ops.c").write_text(
        "#include <stdio.h>\n"
        "void *RegisterCustomOps(void *options, const void *api) {\n"
        f'  FILE *file = fopen("{mark}", "w"); if (file) fclose(file); return 0; }}\n'
    )
    subprocess.run([compiler, "-shared", "-fPIC", "-o", model / "ops.so", model / "ops.c"], check=True)
    with pytest.raises(LoadError, match=r"runs its code; .* --custom-ops or KERNELPORT_CUSTOM_OPS=1"):
        load(model, custom_op_libraries=["ops.so"])
    assert not mark.exists()
    for name, value in Settings(custom_ops=True).to_environment().items():
        monkeypatch.setenv(name, value)
    load(model, custom_op_libraries=["ops.so"])
    assert mark.exists()


def test_a_library_that_is_none_or_missing_is_named(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KERNELPORT_CUSTOM_OPS", "1")
    (model / "ops.so").write_text("no library")
    with pytest.raises(LoadError, match=r"cannot load the custom operators in .*ops\.so"):
        load(model, custom_op_libraries=["ops.so"])
    with pytest.raises(LoadError, match=r"missing in .*: gone\.so"):
        load(model, custom_op_libraries=["gone.so"])


def test_warm_up_inputs_are_lists_filled_shapes_or_from_files(model: Path) -> None:
    npz.write(model / "inputs.npz", {"x": np.ones((3, 2)), "i": np.arange(3)})
    manifest = deployment(
        model,
        onnx={
            "warm_up": [
                {"x": [[1, 0.5]], "i": [7]},
                {"x": {"shape": [0, 2], "fill": 0}, "i": {"shape": [4], "fill": -1}},
                {"x": {"file": "inputs.npz"}, "i": {"file": "inputs.npz"}},
            ]
        },
    ).manifest
    assert manifest is not None
    inputs = load(model).signature.inputs
    read = read_warm_up(manifest.onnx, manifest.locate({file: file for file in manifest.onnx.files}), inputs)
    shown = [{name: (array.dtype.str, array.tolist()) for name, array in each.items()} for each in read]
    assert shown == [
        {"x": ("<f4", [[1, 0.5]]), "i": ("<i8", [7])},
        {"x": ("<f4", []), "i": ("<i8", [-1] * 4)},
        {"x": ("<f4", [[1, 1]] * 3), "i": ("<i8", [0, 1, 2])},
    ]


def test_the_model_runs_on_its_warm_up_inputs_at_load(tmp_path: Path) -> None:
    table = "g (int64[N, 1] i) => (float[N, 1] y) <float[3] t = {5, 6, 7}> { y = Gather(t, i) }"
    onnx.save(parse(table), tmp_path / "model.onnx")
    load(tmp_path, warm_up=[{"i": [[2]]}])
    with pytest.raises(LoadError, match=r"onnx\.warm_up\.1: .*out of data bounds"):
        load(tmp_path, warm_up=[{"i": [[2]]}, {"i": [[3]]}])


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ({"x": [[1, 2]]}, 'input "i" is missing; expected I64[N]'),
        ({"x": [[1, 2]], "i": [1], "z": 1}, 'the model has no input "z"'),
        ({"x": [[1, 2]], "i": [0.5]}, 'inputs["i"]: expected integers'),
        ({"x": [[1, 2, 3]], "i": [1]}, 'tensor "x": expected 2 as in F32[N, 2], got 3'),
        ({"x": {"shape": [2], "fill": 0}, "i": [1]}, 'tensor "x": expected rank 2 as in F32[N, 2], got rank 1'),
        ({"x": {"shape": [2**62, 2], "fill": 0}, "i": [1]}, "onnx.warm_up.0: "),
        ({"x": {"file": "other.npz"}, "i": [1]}, "x: expected one of i, the arrays in other.npz"),
        ({"x": {"file": "gone.npz"}, "i": [1]}, "gone.npz"),
        ({"x": {"file": "model.npz"}, "i": [1]}, "expected an .npz file of arrays"),
    ],
)
def test_warm_up_inputs_that_the_model_does_not_take(inputs: dict[str, Any], message: str, model: Path) -> None:
    npz.write(model / "other.npz", {"i": np.arange(3)})
    (model / "model.npz").write_bytes(b"noise")
    with pytest.raises(LoadError) as refused:
        load(model, warm_up=[inputs])
    assert message in str(refused.value)
