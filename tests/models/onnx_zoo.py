"""Small ONNX models, one for each operator family and each element type, with inputs for them.

Together they take and give every dtype of the contract, in free, fixed, zero-size and scalar shapes.
`run_directly` is the answer to compare with: ONNX Runtime with no KernelPort in between.
"""

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import ml_dtypes
import numpy as np
import onnx
import onnxruntime as ort
from numpy.typing import NDArray

Array = NDArray[Any]

_HEADER = '<ir_version: 10, opset_import: ["" : 21]>'
_TYPES = [
    "float",
    "float16",
    "double",
    "bfloat16",
    "int8",
    "int16",
    "int32",
    "int64",
    "uint8",
    "uint16",
    "uint32",
    "uint64",
    "bool",
    "string",
]
_WORDS = [b"", b"a", "héllo".encode(), b"a longer string with spaces", b"nul\0inside"]

# Name, model (in ONNX's text syntax, without its header), and per request the inputs: an array, or a shape to fill at
# random.
_ENTRIES: list[tuple[str, str, list[dict[str, Any]]]] = [
    *[
        (
            f"identity_{name}",
            f"g ({name}[N, 2] x) => ({name}[N, 2] y) {{ y = Identity(x) }}",
            [{"x": (3, 2)}, {"x": (1, 2)}, {"x": (0, 2)}],
        )
        for name in _TYPES
    ],
    (
        "elementwise",
        "g (float[N, 4] a, float[N, 4] b) => (float[N, 4] y) { s = Add(a, b) y = Mul(s, a) }",
        [{"a": (2, 4), "b": (2, 4)}, {"a": (5, 4), "b": (5, 4)}, {"a": (0, 4), "b": (0, 4)}],
    ),
    ("broadcast", "g (double[A, 1] a, double[B] b) => (double[A, B] y) { y = Sub(a, b) }", [{"a": (3, 1), "b": (4,)}]),
    ("scalar", "g (float a, float b) => (float y) { y = Div(a, b) }", [{"a": (), "b": ()}]),
    (
        "integer_arithmetic",
        "g (int32[N] a) => (int32[N] y) <int32[1] three = {3}> { y = Mod(a, three) }",
        [{"a": (7,)}],
    ),
    (
        "small_integers",
        "g (int8[N] a, int16[N] b) => (int8[N] y, int16[N] z) { y = Abs(a) z = Neg(b) }",
        [{"a": (4,), "b": (4,)}],
    ),
    (
        "bitwise",
        "g (uint16[N] a, uint16[N] b) => (uint16[N] y, uint16[N] z) { y = BitwiseAnd(a, b) z = BitwiseNot(a) }",
        [{"a": (4,), "b": (4,)}],
    ),
    (
        "bit_shift",
        'g (uint64[N] a, uint64[N] b) => (uint64[N] y) { y = BitShift<direction = "LEFT">(a, b) }',
        [{"a": (4,), "b": (4,)}],
    ),
    ("unsigned_minimum", "g (uint32[N] a, uint32[N] b) => (uint32[N] y) { y = Min(a, b) }", [{"a": (4,), "b": (4,)}]),
    ("trigonometry", "g (float[2, 3] x) => (float[2, 3] y) { s = Sin(x) y = Atan(s) }", [{"x": (2, 3)}]),
    ("activation", "g (double[N] x) => (double[N] y) { t = Tanh(x) y = Sigmoid(t) }", [{"x": (6,)}]),
    (
        "clip",
        "g (float16[N] x) => (float16[N] y) <float low = {-1}, float high = {1}> "
        "{ l = Cast<to = 10>(low) h = Cast<to = 10>(high) y = Clip(x, l, h) }",
        [{"x": (6,)}, {"x": (0,)}],
    ),
    (
        "matmul",
        "g (float[N, K] a, float[K, M] b) => (float[N, M] y) { y = MatMul(a, b) }",
        [{"a": (3, 4), "b": (4, 2)}, {"a": (0, 4), "b": (4, 2)}],
    ),
    (
        "gemm",
        "g (float[N, 2] x) => (float[N, 3] y) "
        "<float[2, 3] w = {1, 2, 3, 4, 5, 6}, float[3] c = {1, 0, 1}>"
        "{ y = Gemm(x, w, c) }",
        [{"x": (4, 2)}, {"x": (1, 2)}],
    ),
    (
        "matmul_integer",
        "g (uint8[N, 2] a, uint8[2, 3] b) => (int32[N, 3] y) { y = MatMulInteger(a, b) }",
        [{"a": (2, 2), "b": (2, 3)}],
    ),
    (
        "einsum",
        'g (float[B, I, J] a, float[B, J, K] b) => (float[B, I, K] y) { y = Einsum<equation = "bij,bjk->bik">(a, b) }',
        [{"a": (2, 3, 4), "b": (2, 4, 5)}],
    ),
    (
        "convolution",
        "g (float[N, 1, H, W] x) => (float[N, 1, P, Q] y) <float[1, 1, 2, 2] w = {1, 2, 3, 4}> { y = Conv(x, w) }",
        [{"x": (2, 1, 5, 6)}, {"x": (1, 1, 2, 2)}],
    ),
    (
        "convolution_transposed",
        "g (float[1, 1, 3, 3] x) => (float[1, 1, 4, 4] y) <float[1, 1, 2, 2] w = {1, 2, 3, 4}>"
        "{ y = ConvTranspose(x, w) }",
        [{"x": (1, 1, 3, 3)}],
    ),
    (
        "pooling",
        "g (float[N, 1, 4, 4] x) => (float[N, 1, 2, 2] y, float[N, 1, 1, 1] z)"
        "{ y = MaxPool<kernel_shape = [2, 2], strides = [2, 2]>(x) z = GlobalAveragePool(x) }",
        [{"x": (2, 1, 4, 4)}, {"x": (1, 1, 4, 4)}],
    ),
    (
        "batch_normalization",
        "g (float[N, 2] x) => (float[N, 2] y)"
        "<float[2] s = {1, 2}, float[2] b = {0, 1}, float[2] m = {0.5, 0}, float[2] v = {1, 4}>"
        "{ y = BatchNormalization(x, s, b, m, v) }",
        [{"x": (3, 2)}],
    ),
    (
        "layer_normalization",
        "g (float[N, 4] x) => (float[N, 4] y) <float[4] s = {1, 2, 1, 2}> { y = LayerNormalization(x, s) }",
        [{"x": (3, 4)}],
    ),
    ("softmax", "g (float[N, 5] x) => (float[N, 5] y) { y = Softmax<axis = 1>(x) }", [{"x": (3, 5)}, {"x": (2, 5)}]),
    (
        "softmax_over_rows",
        "g (float[N, 5] x) => (float[N, 5] y) { y = Softmax<axis = 0>(x) }",
        [{"x": (3, 5)}, {"x": (2, 5)}],
    ),
    (
        "reduce_to_scalar",
        "g (double[A, B] x) => (double y) { y = ReduceSum<keepdims = 0>(x) }",
        [{"x": (3, 4)}, {"x": (0, 4)}],
    ),
    (
        "reduce_axis",
        "g (int64[N, 3] x) => (int64[N] y) <int64[1] axes = {1}> { y = ReduceMax<keepdims = 0>(x, axes) }",
        [{"x": (4, 3)}],
    ),
    ("argmax", "g (float[N, 6] x) => (int64[N] y) { y = ArgMax<axis = 1, keepdims = 0>(x) }", [{"x": (3, 6)}]),
    (
        "top_k",
        "g (float[N, 6] x) => (float[N, 2] values, int64[N, 2] indices) <int64[1] k = {2}> "
        "{ values, indices = TopK(x, k) }",
        [{"x": (3, 6)}, {"x": (2, 6)}],
    ),
    (
        "cumulative_sum",
        "g (int32[N, 3] x) => (int32[N, 3] y) <int64 axis = {1}> { y = CumSum(x, axis) }",
        [{"x": (2, 3)}],
    ),
    (
        "gather",
        "g (float[R, 2] table, int64[I] indices) => (float[I, 2] y) { y = Gather(table, indices) }",
        [{"table": (4, 2), "indices": np.array([3, 0, -1])}, {"table": (4, 2), "indices": np.zeros(0, np.int64)}],
    ),
    (
        "scatter",
        "g (uint8[N] data, int64[I] indices, uint8[I] updates) => (uint8[N] y)"
        "{ y = ScatterElements(data, indices, updates) }",
        [{"data": (5,), "indices": np.array([4, 1]), "updates": (2,)}],
    ),
    (
        "slice",
        "g (int16[N, 6] x) => (int16[N, 2] y) "
        "<int64[1] from = {1}, int64[1] to = {5}, int64[1] axis = {1}, int64[1] step = {2}>"
        "{ y = Slice(x, from, to, axis, step) }",
        [{"x": (3, 6)}],
    ),
    (
        "concat",
        "g (string[A] a, string[B] b) => (string[C] y) { y = Concat<axis = 0>(a, b) }",
        [{"a": (2,), "b": (3,)}, {"a": (0,), "b": (0,)}],
    ),
    (
        "split",
        "g (float16[N, 4] x) => (float16[N, 2] y, float16[N, 2] z) { y, z = Split<axis = 1, num_outputs = 2>(x) }",
        [{"x": (3, 4)}],
    ),
    (
        "reshape",
        "g (uint32[A, B] x, int64[R] shape) => (uint32[] y) { y = Reshape(x, shape) }",
        [{"x": (2, 6), "shape": np.array([3, -1])}, {"x": (1, 1), "shape": np.zeros(0, np.int64)}],
    ),
    ("transpose", "g (uint64[A, B, 2] x) => (uint64[2, B, A] y) { y = Transpose(x) }", [{"x": (3, 4, 2)}]),
    (
        "expand",
        "g (bool[N, 1] x) => (bool[N, 3] y) <int64[2] shape = {1, 3}> { y = Expand(x, shape) }",
        [{"x": (2, 1)}],
    ),
    (
        "pad",
        "g (double[N] x) => (double[M] y) <int64[2] pads = {1, 2}, double value = {9}> { y = Pad(x, pads, value) }",
        [{"x": (3,)}, {"x": (0,)}],
    ),
    (
        "depth_to_space",
        "g (float[N, 4, H, W] x) => (float[N, 1, P, Q] y) { y = DepthToSpace<blocksize = 2>(x) }",
        [{"x": (1, 4, 2, 3)}],
    ),
    (
        "resize",
        "g (float[1, 1, H, W] x) => (float[1, 1, P, Q] y) <float[4] scales = {1, 1, 2, 1.5}>"
        '{ y = Resize<mode = "linear">(x, , scales) }',
        [{"x": (1, 1, 3, 4)}],
    ),
    (
        "cast",
        "g (float[N] x) => (float16[N] a, double[N] b, int8[N] c, int64[N] d, bool[N] e, string[N] f)"
        "{ a = Cast<to = 10>(x) b = Cast<to = 11>(x) c = Cast<to = 3>(x) d = Cast<to = 7>(x) "
        "e = Cast<to = 9>(x) f = Cast<to = 8>(x) }",
        [{"x": (4,)}],
    ),
    (
        "cast_bfloat16",
        "g (float[N, 3] x, bfloat16[N, 3] b) => (bfloat16[N, 3] y, float[N, 3] z, string[N, 3] s)"
        "{ y = Cast<to = 16>(x) z = Cast<to = 1>(b) s = Cast<to = 8>(x) }",
        [{"x": (2, 3), "b": (2, 3)}, {"x": (0, 3), "b": (0, 3)}],
    ),
    (
        "compare_where",
        "g (float[N] a, float[N] b) => (bool[N] less, float[N] y) { less = Less(a, b) y = Where(less, a, b) }",
        [{"a": (5,), "b": (5,)}],
    ),
    (
        "logical",
        "g (bool[N] a, bool[N] b) => (bool[N] y, bool[N] z) { y = Xor(a, b) z = Not(a) }",
        [{"a": (6,), "b": (6,)}],
    ),
    ("is_nan", "g (float[N] x) => (bool[N] y) { y = IsNaN(x) }", [{"x": np.array([1, np.nan, np.inf], np.float32)}]),
    (
        "string_normalizer",
        'g (string[N] x) => (string[M] y) { y = StringNormalizer<case_change_action = "UPPER", locale = "C">(x) }',
        [{"x": np.array([b"one", b"Two"], object)}],
    ),
    (
        "string_concat",
        "g (string[N] a, string[N] b) => (string[N] y) { y = StringConcat(a, b) }",
        [{"a": (4,), "b": (4,)}],
    ),
    (
        "string_match",
        'g (string[N] x) => (bool[N] y) { y = RegexFullMatch<pattern = "a.*">(x) }',
        [{"x": (5,)}, {"x": (2,)}],
    ),
    (
        "lstm",
        "g (float[T, B, 2] x, float[1, 12, 2] w, float[1, 12, 3] r) "
        "=> (float[T, 1, B, 3] y, float[1, B, 3] h)"
        "{ y, h = LSTM<hidden_size = 3>(x, w, r) }",
        [{"x": (4, 2, 2), "w": (1, 12, 2), "r": (1, 12, 3)}],
    ),
    (
        "rnn_over_time",
        "g (float[T, 1, 2] x) => (float[T, 1, 1, 1] y)"
        "<float[1, 1, 2] w = {1, -1}, float[1, 1, 1] r = {0.5}> { y = RNN<hidden_size = 1>(x, w, r) }",
        [{"x": (3, 1, 2)}, {"x": (2, 1, 2)}],
    ),
    (
        "if",
        "g (bool condition, float[N] x) => (float[M] y)"
        "{ y = If(condition) <then_branch = t () => (float[M] a) { a = Neg(x) }, else_branch = e () "
        "=> (float[M] b) { b = Abs(x) }> }",
        [{"condition": np.array(True), "x": (3,)}, {"condition": np.array(False), "x": (3,)}],
    ),
    (
        "loop",
        "g (int64 times, float[N] x) => (float[N] y) <bool go = {1}> "
        "{ y = Loop(times, go, x) <body = body"
        "(int64 i, bool c, float[N] before) => (bool d, float[N] after) "
        "{ d = Identity(c) after = Add(before, before) }> }",
        [{"times": np.array(3), "x": (2,)}, {"times": np.array(0), "x": (2,)}],
    ),
    (
        "quantize",
        "g (float[N] x) => (uint8[N] q, float[N] y) <float scale = {0.1}, uint8 zero = {128}>"
        "{ q = QuantizeLinear(x, scale, zero) y = DequantizeLinear(q, scale, zero) }",
        [{"x": (6,)}],
    ),
    (
        "dynamic_quantize",
        "g (float[N, 3] x) => (uint8[N, 3] y, float scale, uint8 zero) { y, scale, zero = DynamicQuantizeLinear(x) }",
        [{"x": (4, 3)}],
    ),
    (
        "non_zero",
        "g (int32[A, B] x) => (int64[2, K] y) { y = NonZero(x) }",
        [{"x": (3, 4)}, {"x": np.zeros((2, 2), np.int32)}],
    ),
    (
        "one_hot",
        'g (int64[N] x) => (string[N, 4] y) <int64 depth = {4}, string[2] values = {"off", "on"}> '
        "{ y = OneHot(x, depth, values) }",
        [{"x": (3,)}],
    ),
    (
        "unique",
        "g (int64[N] x) => (int64[U] y, int64[U] i, int64[N] j, int64[U] c) { y, i, j, c = Unique(x) }",
        [{"x": (6,)}],
    ),
    (
        "compress",
        "g (float[N] x, bool[N] keep) => (float[K] y) { y = Compress<axis = 0>(x, keep) }",
        [{"x": (4,), "keep": (4,)}, {"x": (2,), "keep": np.zeros(2, np.bool_)}],
    ),
    (
        "range",
        "g (int64 start, int64 limit) => (int64[N] y) <int64 step = {2}> { y = Range(start, limit, step) }",
        [{"start": np.array(1), "limit": np.array(8)}, {"start": np.array(1), "limit": np.array(0)}],
    ),
    (
        "shape",
        "g (uint8[A, B] x) => (int64[2] y, int64 z) { y = Shape(x) z = Size(x) }",
        [{"x": (2, 3)}, {"x": (0, 3)}],
    ),
    (
        "zero_size",
        "g (float[0, 3] x) => (float[3] y) <int64[1] axes = {0}> { y = ReduceSum<keepdims = 0>(x, axes) }",
        [{"x": (0, 3)}],
    ),
    (
        "default_input",
        "g (float[N] x, float[1] gain) => (float[N] y) <float[1] gain = {2}> { y = Mul(x, gain) }",
        [{"x": (3,)}, {"x": (3,), "gain": (1,)}],
    ),
]


@dataclass(frozen=True)
class ZooModel:
    """A model and inputs that it takes, one dictionary a request. STRING elements are `bytes`."""

    name: str
    model: onnx.ModelProto
    requests: tuple[dict[str, Array], ...]


def zoo() -> Iterator[ZooModel]:
    """Every model, each time the same."""
    rng = np.random.default_rng(1)
    for name, text, requests in _ENTRIES:
        model = onnx.parser.parse_model(_HEADER + text)
        dtypes = {
            value.name: onnx.helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type)
            for value in model.graph.input
        }
        filled = tuple(
            {
                key: _fill(rng, given, dtypes[key]) if isinstance(given, tuple) else given
                for key, given in request.items()
            }
            for request in requests
        )
        yield ZooModel(name, model, filled)


def run_directly(model: onnx.ModelProto, inputs: Mapping[str, Array]) -> dict[str, Array]:
    """What ONNX Runtime itself answers, with STRING elements as `bytes`."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = int(os.environ.get("OMP_NUM_THREADS", 0))  # as a worker does: sums depend on it
    session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return run_session(session, inputs)


def run_session(session: ort.InferenceSession, inputs: Mapping[str, Array]) -> dict[str, Array]:
    """What an open session answers, with STRING elements as `bytes`."""
    names = [output.name for output in session.get_outputs()]
    if any(output.type == "tensor(bfloat16)" for output in session.get_outputs()):
        values = session.run_with_ort_values(names, {name: _ort_value(array) for name, array in inputs.items()})
        return {name: _from_ort_value(value) for name, value in zip(names, values, strict=True)}
    feed = {name: _strings(array) if array.dtype.hasobject else _fed(array) for name, array in inputs.items()}
    return {name: _bytes(value) for name, value in zip(names, session.run(names, feed), strict=True)}


def _fill(rng: np.random.Generator, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
    if dtype.hasobject:
        return np.array([_WORDS[i] for i in rng.integers(0, len(_WORDS), shape).ravel()], object).reshape(shape)
    if dtype == np.bool_:
        return np.asarray(rng.integers(0, 2, shape), dtype)
    if np.issubdtype(dtype, np.integer):
        return np.asarray(rng.integers(0, 4, shape), dtype)
    return np.asarray(rng.normal(size=shape), dtype)


def _fed(array: Array) -> Any:
    return _ort_value(array) if array.dtype == ml_dtypes.bfloat16 else array


def _ort_value(array: Array) -> Any:
    if array.dtype == ml_dtypes.bfloat16:
        return ort.OrtValue.ortvalue_from_numpy_with_onnx_type(array.view(np.uint16), onnx.TensorProto.BFLOAT16)
    return ort.OrtValue.ortvalue_from_numpy(array)


def _from_ort_value(value: Any) -> Array:
    if value.data_type() != "tensor(bfloat16)":
        return _bytes(value.numpy())
    # Another way out of ONNX Runtime than the one under test.
    import torch.utils.dlpack

    return torch.utils.dlpack.from_dlpack(value).view(torch.int16).numpy().copy().view(ml_dtypes.bfloat16)


def _strings(array: Array) -> Array:
    return np.array([element.decode() for element in array.ravel()], object).reshape(array.shape)


def _bytes(value: Any) -> Array:
    array = np.asarray(value)
    if not array.dtype.hasobject:
        return array
    return np.array([element.encode() for element in array.ravel()], object).reshape(array.shape)
