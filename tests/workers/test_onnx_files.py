"""A file that is no model, or a model that cannot be served, is refused at load with the reason and what to do."""

from pathlib import Path

import onnx
import pytest

from kernelport_workers.backends.base import LoadError
from kernelport_workers.backends.onnx import OnnxBackend
from tests.workers.onnx_models import deployment, parse

SOUND = parse("g (float[N, 2] x) => (float[N, 2] y) <float[2] w = {3, 4}> { y = Mul(x, w) }").SerializeToString()


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "the file is empty"),
        (SOUND[: len(SOUND) // 2], "cut off, damaged, or not an ONNX model"),
        (SOUND[:-1], "cut off, damaged, or not an ONNX model"),
        (b"\0\xff" * 100, "cut off, damaged, or not an ONNX model"),
        (b"<html>\n  <body>Not found</body>\n", "the file is text, not a model: it begins with '<html>'"),
        (
            b"version https://git-lfs.github.com/spec/v1\nsize 12\n",
            "Git LFS pointer, not the model: run `git lfs pull`",
        ),
    ],
    ids=["empty", "half", "a byte short", "noise", "text", "Git LFS pointer"],
)
def test_a_file_that_is_no_model(content: bytes, reason: str, tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(content)
    with pytest.raises(LoadError) as refused:
        OnnxBackend.load(deployment(tmp_path))
    assert str(refused.value).startswith(f"ONNX Runtime cannot load {tmp_path / 'model.onnx'}: ")
    assert reason in str(refused.value)


def test_a_directory_in_the_models_place(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").mkdir()
    with pytest.raises(LoadError, match=r"missing in .*: model\.onnx \(a directory\)"):
        OnnxBackend.load(deployment(tmp_path))


def test_external_data_that_is_cut_off_or_missing(tmp_path: Path) -> None:
    model = onnx.load_from_string(SOUND)
    (weights,) = model.graph.initializer
    weights.CopyFrom(onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(weights), weights.name))
    onnx.save(model, tmp_path / "model.onnx", save_as_external_data=True, location="weights.bin", size_threshold=0)
    (tmp_path / "weights.bin").write_bytes(b"\0")
    with pytest.raises(LoadError, match=r"cannot load .*: w offset: 0 size to read: 8 given file_length: 1"):
        OnnxBackend.load(deployment(tmp_path))
    (tmp_path / "weights.bin").unlink()
    with pytest.raises(LoadError, match=r"cannot load .*weights\.bin"):
        OnnxBackend.load(deployment(tmp_path))


def zip_map() -> onnx.ModelProto:
    """What scikit-learn's converter makes of a classifier by default: probabilities as a sequence of maps."""
    probabilities = onnx.helper.make_map_type_proto(
        onnx.TensorProto.INT64, onnx.helper.make_tensor_type_proto(onnx.TensorProto.FLOAT, [])
    )
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("ZipMap", ["x"], ["p"], domain="ai.onnx.ml", classlabels_int64s=[0, 1])],
        "classifier",
        [onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, ["N", 2])],
        [onnx.helper.make_value_info("p", onnx.helper.make_sequence_type_proto(probabilities))],
    )
    opsets = [onnx.helper.make_opsetid("ai.onnx.ml", 1), onnx.helper.make_opsetid("", 17)]
    return onnx.helper.make_model(graph, opset_imports=opsets, ir_version=8)


@pytest.mark.parametrize(
    ("model", "tensor", "advice"),
    [
        (zip_map(), "p", "zipmap=False"),
        (parse("g (float[N] x) => (seq(float[N]) y) { y = SequenceConstruct(x) }"), "y", "tensors in the sequence's"),
        (parse("g (optional(float[N]) x) => (bool y) { y = OptionalHasElement(x) }"), "x", "a plain tensor"),
        (parse("g (float[N] x) => (float8e4m3fn[N] y) { y = Cast<to = 17>(x) }"), "y", "cast it inside the model"),
        (parse("g (float[N] x) => (int4[N] y) { y = Cast<to = 22>(x) }"), "y", "cast it inside the model"),
    ],
    ids=["sequence of maps", "sequence", "optional", "float8", "int4"],
)
def test_a_type_that_cannot_travel_is_named_with_what_to_do(
    model: onnx.ModelProto, tensor: str, advice: str, tmp_path: Path
) -> None:
    onnx.save(model, tmp_path / "model.onnx")
    with pytest.raises(LoadError, match=rf'tensor "{tensor}" has the type .*, which cannot travel: .*{advice}'):
        OnnxBackend.load(deployment(tmp_path))


def test_complex_numbers_are_refused(tmp_path: Path) -> None:
    onnx.save(parse("g (complex64[N] x) => (complex64[N] y) { y = Identity(x) }"), tmp_path / "model.onnx")
    with pytest.raises(LoadError, match="complex64"):
        OnnxBackend.load(deployment(tmp_path))
