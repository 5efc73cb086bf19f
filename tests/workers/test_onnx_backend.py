"""The ONNX backend gives what ONNX Runtime gives, alone and in batches."""

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

from kernelport.errors import CancelledError, InternalError, InvalidArgumentError, KernelPortError
from kernelport.signature import describe
from kernelport.tensors import NUMPY_DTYPES, Array, from_array
from kernelport_workers.backends.base import LoadError, Outputs, Request
from kernelport_workers.backends.onnx import OnnxBackend
from kernelport_workers.execution.results import ResultCheck
from tests.models.onnx_zoo import ZooModel, run_directly, zoo
from tests.workers.onnx_models import deployment, parse

ZOO = {entry.name: entry for entry in zoo()}
RNG = np.random.default_rng(0)


def load(folder: Path, model: onnx.ModelProto) -> OnnxBackend:
    onnx.save(model, folder / "model.onnx")
    return OnnxBackend.load(deployment(folder))


def ask(backend: OnnxBackend, *inputs: dict[str, Array]) -> list[Outputs | KernelPortError]:
    return backend.run([Request(item) for item in inputs])


def wire(outputs: object) -> list[tuple[str, bytes]]:
    """Outputs as they travel: equal when they are the same bytes, of the same dtype and shape."""
    assert isinstance(outputs, dict), outputs
    return [(name, from_array(name, array).SerializeToString()) for name, array in outputs.items()]


@pytest.mark.parametrize("entry", ZOO.values(), ids=ZOO)
def test_same_bytes_as_onnx_runtime(entry: ZooModel, tmp_path: Path) -> None:
    backend = load(tmp_path, entry.model)
    for inputs in entry.requests:
        for array in inputs.values():
            array.flags.writeable = False
        (outputs,) = ask(backend, inputs)
        assert wire(outputs) == wire(run_directly(entry.model, inputs))


def test_the_zoo_has_every_dtype_as_input_and_as_output() -> None:
    for values in ("input", "output"):
        found = {
            onnx.helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type)
            for entry in ZOO.values()
            for value in getattr(entry.model.graph, values)
        }
        assert found == set(NUMPY_DTYPES.values())


@pytest.mark.parametrize("entry", ZOO.values(), ids=ZOO)
def test_a_batch_gives_each_request_its_own_answer(entry: ZooModel, tmp_path: Path) -> None:
    backend = load(tmp_path, entry.model)
    alone = [ask(backend, inputs)[0] for inputs in entry.requests]
    for outputs, expected in zip(ask(backend, *entry.requests), alone, strict=True):
        assert isinstance(outputs, dict)
        assert isinstance(expected, dict)
        for name, array in expected.items():
            if array.dtype.hasobject:
                assert outputs[name].tolist() == array.tolist()
            else:
                np.testing.assert_allclose(
                    outputs[name].astype(np.float64), array.astype(np.float64), rtol=1e-5, atol=1e-6
                )


def test_signature_is_the_models_own(tmp_path: Path) -> None:
    signature = load(tmp_path, ZOO["default_input"].model).signature
    assert [(s.name, describe(s), s.optional) for s in signature.inputs] == [
        ("x", "F32[N]", False),
        ("gain", "F32[1]", True),
    ]
    assert [describe(s) for s in signature.outputs] == ["F32[N]"]
    assert describe(load(tmp_path, ZOO["scalar"].model).signature.inputs[0]) == "F32[...]"
    assert describe(load(tmp_path, ZOO["zero_size"].model).signature.inputs[0]) == "F32[0, 3]"


@pytest.mark.parametrize(
    ("name", "batchable"),
    [
        ("elementwise", True),
        ("identity_bfloat16", True),
        ("string_concat", True),
        ("gemm", True),
        ("softmax", True),
        ("default_input", True),
        ("softmax_over_rows", False),  # the shapes allow it, the values do not
        ("dynamic_quantize", False),
        ("trigonometry", False),  # a fixed first dimension
        ("matmul", False),  # an input without the rows
        ("unique", False),
    ],
)
def test_only_independent_rows_are_stacked(name: str, batchable: bool, tmp_path: Path) -> None:
    assert load(tmp_path, ZOO[name].model).signature.batchable is batchable


def test_a_model_that_refuses_all_that_is_tried_is_stacked_by_its_proof(tmp_path: Path) -> None:
    model = parse("g (float[N, W] x) => (float[N, V] y)<float[1, 5] w = {1, 2, 3, 4, 5}> { y = Mul(x, w) }")
    backend = load(tmp_path, model)
    assert backend.signature.batchable
    first, second = ask(backend, {"x": np.ones((1, 5), np.float32)}, {"x": np.ones((2, 6), np.float32)})
    assert isinstance(first, dict)
    assert first["y"].tolist() == [[1, 2, 3, 4, 5]]
    assert isinstance(second, InternalError)


def test_rows_that_mix_within_declared_shapes_are_not_stacked(tmp_path: Path) -> None:
    model = parse("g (float[N, 2] x) => (float[N, 2] y) <int64 axis = {0}> { y = CumSum(x, axis) }")
    backend = load(tmp_path, model)
    assert not backend.signature.batchable
    first, second = np.ones((2, 2), np.float32), np.ones((1, 2), np.float32)
    for inputs, outputs in zip([first, second], ask(backend, {"x": first}, {"x": second}), strict=True):
        assert isinstance(outputs, dict)
        np.testing.assert_array_equal(outputs["y"], np.cumsum(inputs, axis=0))


def test_requests_of_different_sizes_share_a_batch(tmp_path: Path) -> None:
    backend = load(tmp_path, parse("g (float[N, W] x) => (float[N, W] y) { y = Neg(x) }"))
    inputs = [{"x": RNG.normal(size=shape).astype(np.float32)} for shape in [(1, 3), (4, 3), (2, 5), (0, 3), (3, 5)]]
    for request, outputs in zip(inputs, ask(backend, *inputs), strict=True):
        assert isinstance(outputs, dict)
        np.testing.assert_array_equal(outputs["y"], -request["x"])


def test_a_bad_request_fails_alone(tmp_path: Path) -> None:
    backend = load(
        tmp_path, parse("g (int64[N, 1] i) => (float[N, 1] y) <float[3] t = {5, 6, 7}> { y = Gather(t, i) }")
    )
    assert backend.signature.batchable
    good, bad = np.array([[2]]), np.array([[9]])
    first, second, third = ask(backend, {"i": good}, {"i": bad}, {"i": good})
    assert isinstance(second, InvalidArgumentError)
    assert "out of data bounds" in second.message
    for outputs in (first, third):
        assert isinstance(outputs, dict)
        assert outputs["y"].tolist() == [[7]]


def test_a_model_that_fails_is_an_internal_error(tmp_path: Path) -> None:
    backend = load(tmp_path, ZOO["matmul"].model)
    (error,) = ask(backend, {"a": np.ones((1, 2), np.float32), "b": np.ones((3, 1), np.float32)})
    assert isinstance(error, InternalError)
    assert "dimension mismatch" in error.message


def test_a_string_that_is_not_utf8_names_its_tensor(tmp_path: Path) -> None:
    backend = load(tmp_path, ZOO["identity_string"].model)
    (error,) = ask(backend, {"x": np.array([[b"fine", b"\xff"]], object)})
    assert isinstance(error, InvalidArgumentError)
    assert error.violations[0].field == 'inputs["x"]'


def test_an_answer_travels_though_the_file_declares_another_shape(tmp_path: Path) -> None:
    backend = load(tmp_path, parse("g (float[2] x, int64[R] shape) => (float[7, 7] y) { y = Reshape(x, shape) }"))
    assert describe(backend.signature.outputs[0]) == "F32[7, 7]"
    given = ask(backend, {"x": np.ones(2, np.float32), "shape": np.array([2, 1], np.int64)})
    (outputs,) = ResultCheck(backend).checked(given, 1)
    assert isinstance(outputs, dict)
    assert outputs["y"].tolist() == [[1], [1]]


def test_a_request_that_is_given_up_is_not_run(tmp_path: Path) -> None:
    def given_up() -> None:
        raise CancelledError("the caller has gone")

    backend = load(tmp_path, ZOO["trigonometry"].model)
    gone, kept = backend.run(
        [Request({"x": np.zeros((2, 3), np.float32)}, check) for check in (given_up, lambda: None)]
    )
    assert isinstance(gone, CancelledError)
    assert isinstance(kept, dict)


def save_with_external_data(folder: Path) -> None:
    """A model that multiplies by 3 and 4, which are in the file `weights.bin` beside it."""
    model = parse("g (float[N, 2] x) => (float[N, 2] y) <float[2] w = {3, 4}> { y = Mul(x, w) }")
    model.graph.initializer[0].CopyFrom(onnx.numpy_helper.from_array(np.array([3, 4], np.float32), "w"))
    onnx.save(model, folder / "model.onnx", save_as_external_data=True, location="weights.bin", size_threshold=0)
    assert (folder / "weights.bin").exists()


def test_external_data_beside_the_model_is_found(tmp_path: Path) -> None:
    save_with_external_data(tmp_path)
    (outputs,) = ask(OnnxBackend.load(deployment(tmp_path)), {"x": np.ones((1, 2), np.float32)})
    assert isinstance(outputs, dict)
    assert outputs["y"].tolist() == [[3, 4]]


def test_model_and_external_data_may_be_links_as_in_the_hubs_cache(tmp_path: Path) -> None:
    blobs, snapshot = tmp_path / "blobs", tmp_path / "snapshots" / "0f0f"
    blobs.mkdir()
    snapshot.mkdir(parents=True)
    save_with_external_data(blobs)
    for name, blob in (("model.onnx", "1a"), ("weights.bin", "2b")):
        (blobs / name).rename(blobs / blob)
        (snapshot / name).symlink_to(f"../../blobs/{blob}")
    (outputs,) = ask(OnnxBackend.load(deployment(snapshot)), {"x": np.ones((1, 2), np.float32)})
    assert isinstance(outputs, dict)
    assert outputs["y"].tolist() == [[3, 4]]


@pytest.mark.parametrize("device", ["cuda", "cuda:1"])
def test_cuda_is_refused_where_it_is_absent(device: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("onnxruntime.get_available_providers", lambda: ["CPUExecutionProvider"])
    onnx.save(ZOO["gemm"].model, tmp_path / "model.onnx")
    with pytest.raises(
        LoadError, match=rf"device {device}: CUDA.*onnx-gpu.*available providers are CPUExecutionProvider"
    ):
        OnnxBackend.load(deployment(tmp_path, device))
    assert OnnxBackend.load(deployment(tmp_path, "auto")).device == "cpu"


def test_cuda_that_does_not_start_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """ONNX Runtime itself would go on with the CPU."""
    onnx.save(ZOO["gemm"].model, tmp_path / "model.onnx")
    if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        pytest.skip("this machine has the CUDA provider")
    monkeypatch.setattr("onnxruntime.get_available_providers", lambda: ["CUDAExecutionProvider"])
    monkeypatch.setattr("onnxruntime.preload_dlls", lambda: None)
    with pytest.warns(UserWarning, match="CUDAExecutionProvider"), pytest.raises(LoadError, match="device cuda:0"):
        OnnxBackend.load(deployment(tmp_path, "cuda:0"))


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (b"not a model", "ONNX Runtime cannot load"),
        (
            parse("g (float[N] x) => (seq(float[N]) y) { y = SequenceConstruct(x) }").SerializeToString(),
            "cannot travel",
        ),
        (
            parse("g (string[N] x) => (bfloat16[N] y) { y = Cast<to = 16>(x) }").SerializeToString(),
            "STRING inputs and BF16 outputs",
        ),
    ],
    ids=["damaged", "sequence", "string to bfloat16"],
)
def test_what_cannot_be_served_is_refused_at_load(model: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(model)
    with pytest.raises(LoadError, match=message):
        OnnxBackend.load(deployment(tmp_path))


def test_a_missing_file_is_refused_at_load(tmp_path: Path) -> None:
    with pytest.raises(LoadError, match=r"model\.onnx"):
        OnnxBackend.load(deployment(tmp_path))
