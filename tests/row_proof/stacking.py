"""Runs a model on several requests alone and on all of them stacked, on rows that would show a mix."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
import onnx.reference
import onnxruntime as ort
from numpy.typing import NDArray
from onnx import numpy_helper, parser

Array = NDArray[Any]
Feed = dict[str, Array]

ROW_COUNTS = (1, 3, 2)
_SIZES = {"T": 5, "H": 8, "W": 6, "S": 4}  # of the free dimensions beside the rows' N
_OPSETS = '"" : 21, "ai.onnx.ml" : 3, "com.microsoft" : 1'


def model_of(graph: str, opsets: str | None = None) -> onnx.ModelProto:
    """A model in ONNX's text syntax. Inputs without N become initializers of random elements."""
    model = parser.parse_model(f"<ir_version: 10, opset_import: [{opsets or _OPSETS}]> {graph}")
    rng = np.random.default_rng(7)
    for value in list(model.graph.input):
        shape = [dim.dim_param or dim.dim_value for dim in value.type.tensor_type.shape.dim]
        if "N" not in shape:
            model.graph.input.remove(value)
            array = _fill(rng, value, [_size(size, 0) for size in shape], 1.0)
            model.graph.initializer.append(numpy_helper.from_array(array, value.name))
    return model


def requests_for(model: onnx.ModelProto, row_counts: Sequence[int] = ROW_COUNTS) -> list[Feed]:
    """Requests of different row counts, whose floats differ in magnitude from row to row and from one to the next."""
    rng = np.random.default_rng(3)
    given = {tensor.name for tensor in model.graph.initializer}
    return [
        {
            value.name: _fill(
                rng,
                value,
                [_size(dim.dim_param or dim.dim_value, rows) for dim in value.type.tensor_type.shape.dim],
                10.0 ** (index - 1),
            )
            for value in model.graph.input
            if value.name not in given
        }
        for index, rows in enumerate(row_counts)
    ]


def _size(size: str | int, rows: int) -> int:
    return size if isinstance(size, int) else rows if size == "N" else _SIZES[size]


def _fill(rng: np.random.Generator, value: onnx.ValueInfoProto, shape: Sequence[int], scale: float) -> Array:
    """Elements of a tensor; names that end in `_index` take 0 to 2, as indices into any axis here."""
    kind = value.type.tensor_type.elem_type
    if kind == onnx.TensorProto.STRING:
        return rng.choice(np.array(["a", "b", "some words", ""], dtype=object), shape)
    dtype = onnx.helper.tensor_dtype_to_np_dtype(kind)
    if dtype == np.bool_:
        return np.asarray(rng.integers(0, 2, shape), dtype)
    if dtype.kind in "iu":
        low, high = (0, 3) if value.name.endswith("_index") or dtype.kind == "u" else (-5, 6)
        return np.asarray(rng.integers(low, high, shape), dtype)
    return np.asarray(rng.normal(size=shape) * scale, dtype)


class Runner:
    """Runs a model with ONNX Runtime, or as the specification computes it where that has no kernel."""

    def __init__(self, model: onnx.ModelProto) -> None:
        options = ort.SessionOptions()
        options.log_severity_level = 4
        options.intra_op_num_threads = 1
        try:
            session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
            self._run: Any = session.run
        except (ort.capi.onnxruntime_pybind11_state.NotImplemented, ort.capi.onnxruntime_pybind11_state.Fail):
            self._run = onnx.reference.ReferenceEvaluator(model).run
        self._outputs = [output.name for output in model.graph.output]

    def __call__(self, feed: Feed) -> Feed:
        return {name: np.asarray(value) for name, value in zip(self._outputs, self._run(None, feed), strict=True)}


def stacked(feeds: Sequence[Feed], axes: Mapping[str, int]) -> Feed:
    return {name: np.concatenate([feed[name] for feed in feeds], axis) for name, axis in axes.items()}


def axes_of_rows(model: onnx.ModelProto) -> dict[str, int]:
    """The axis that is N in each input."""
    given = {tensor.name for tensor in model.graph.initializer}
    return {
        value.name: [dim.dim_param for dim in value.type.tensor_type.shape.dim].index("N")
        for value in model.graph.input
        if value.name not in given
    }


def same_as_alone(
    together: Feed, alone: Sequence[Feed], axes: Mapping[str, int], row_counts: Sequence[int] = ROW_COUNTS
) -> bool:
    """Whether each request's share of a stacked run is its answer alone, but for rounding, with as many rows."""
    for name, axis in axes.items():
        if together[name].shape[axis] != sum(row_counts):
            return False
        shares = np.split(together[name], np.cumsum(row_counts)[:-1], axis)
        for share, feed in zip(shares, alone, strict=True):
            expected = feed[name]
            if share.shape != expected.shape:
                return False
            if expected.dtype.kind != "f":
                if not np.array_equal(share, expected):
                    return False
                continue
            finite = expected[np.isfinite(expected)]
            scale = np.abs(finite.astype(np.float64)).max(initial=0)
            if not np.allclose(share, expected, rtol=1e-3, atol=1e-5 * scale, equal_nan=True):
                return False
    return True
