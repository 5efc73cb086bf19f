"""Models whose rows are independent: at least one for every operator that the table of rules knows.

Each is a graph in ONNX's text syntax; its inputs without N are constants (see `stacking.model_of`).
"""

from tests.row_proof.sample import Sample, one_node, whole
from tests.row_proof.tables import TABLES

_OPSET_7, _OPSET_9, _OPSET_10, _OPSET_11 = '"" : 7', '"" : 9', '"" : 10', '"" : 11'
_OPSET_23, _OPSET_24 = '"" : 23', '"" : 24'

# fmt: off
_UNARY = [
    "Abs", "Acos", "Acosh", "Asin", "Asinh", "Atan", "Atanh", "Ceil", "Celu", "Cos", "Cosh", "Elu", "Erf", "Exp",
    "Floor", "Gelu", "HardSigmoid", "HardSwish", "Identity", "LeakyRelu", "Log", "Mish", "Neg", "Reciprocal", "Relu",
    "Round", "Selu", "Shrink", "Sigmoid", "Sign", "Sin", "Sinh", "Softplus", "Softsign", "Sqrt", "Tan", "Tanh",
    "ThresholdedRelu",
]
# fmt: on
_BINARY = ["Add", "Div", "Max", "Mean", "Min", "Mul", "PRelu", "Pow", "Sub", "Sum"]
_COMPARING = ["Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual"]
_REDUCTIONS = ["Sum", "Mean", "Max", "Min", "Prod", "L1", "L2", "LogSum", "LogSumExp", "SumSquare"]
# The numbers of the rows, as a vector `r` and as a column `c`.
_NUMBERS = (
    "n = Shape<start = 0, end = 1>(x) s = Squeeze(n) r = Range(zero, s, one) at = Constant<value_ints = [-1]>() "
    "c = Unsqueeze(r, at)"
)
_ZERO_AND_ONE = "int64 zero = {0}, int64 one = {1}"
_SCALES = "float s = {0.1}, uint8 z = {3}, float r = {0.2}, uint8 q = {1}, float t = {0.5}, uint8 p = {2}"

SAMPLES: list[Sample] = [
    # Each element by itself.
    *(one_node("float[N, 4] x", f"{name}(x)") for name in _UNARY),
    *(one_node("float[N, 4] x", f"{name}(x)", "bool") for name in ("IsInf", "IsNaN")),
    one_node("float[N, 4] x", "Swish(x)", opsets=_OPSET_24),
    *(one_node("float[N, 4] x, float[1, 4] w", f"{name}(x, w)") for name in _BINARY),
    *(one_node("float[N, 4] x, float[N, 1] z", f"{name}(x, z)") for name in ("Add", "Mul", "Max")),
    *(one_node("float[N] x, float[3, 1] w", f"{name}(w, x)") for name in ("Sub", "Div")),
    *(one_node("float[N, 4] x, float[4] w", f"{name}(x, w)", "bool") for name in _COMPARING),
    *(one_node("bool[N, 4] x, bool[N, 4] z", f"{name}(x, z)", "bool") for name in ("And", "Or", "Xor")),
    *(
        one_node("int32[N, 4] x, int32[N, 4] z", f"{name}(x, z)", "int32")
        for name in ("BitwiseAnd", "BitwiseOr", "BitwiseXor")
    ),
    one_node("int32[N, 4] x", "Mod<fmod = 1>(x, w)", "int32", "int32[1] w = {3}"),
    one_node("int32[N, 4] x", "BitwiseNot(x)", "int32"),
    one_node("uint8[N, 4] x, uint8[N, 4] z", 'BitShift<direction = "LEFT">(x, z)', "uint8"),
    one_node("bool[N, 4] x", "Not(x)", "bool"),
    one_node("bool[N, 4] c, float[N, 1] x, float[4] w", "Where(c, x, w)"),
    one_node("float[N, 4] x", "Cast<to = 7>(x)", "int64"),
    one_node("int32[N, 4] x, float[1] w", "CastLike(x, w)"),
    one_node("float[N, 4] x", "BitCast<to = 6>(x)", "int32", opsets='"" : 26'),
    one_node("float[N, 4] x", "Clip(x, low, high)", constants="float low = {-1}, float high = {1}"),
    one_node("float[N, 4] x", "Dropout(x)"),
    one_node("string[N, 2] x, string[N, 2] z", "StringConcat(x, z)", "string"),
    one_node("string[N, 2] x", 'RegexFullMatch<pattern = "a.*">(x)', "bool"),
    one_node("float[N, 4] x", "com.microsoft.QuickGelu(x)"),
    one_node("float[N, 4] x", "com.microsoft.Gelu(x)"),
    *(one_node("float[N, 4] x, float[4] w", f"com.microsoft.{name}(x, w)") for name in ("BiasGelu", "FastGelu")),
    # Shapes.
    whole("""g (float[N, T] x) => (float[] y) <int64[1] zero = {0}, int64[1] one = {1}, int64[1] two = {2}> {
        s = Shape(x) rows = Slice(s, zero, one) pair = Concat<axis = 0>(rows, two) filled = ConstantOfShape(pair)
        mean = ReduceMean<keepdims = 1>(x, one) y = Add(filled, mean)
    }"""),
    whole("""g (float[N, T] x) => (float[] y) <int64 zero = {0}, int64[1] last = {-1}, int64[1] at = {0}> {
        count = Size(x) s = Shape(x) rows = Gather(s, zero) each = Div(count, rows) width = Unsqueeze(each, at)
        shape = Concat<axis = 0>(last, width) w = Reshape(x, shape) y = Softmax(w)
    }"""),
    one_node("float[N, 3, 4] x", "Reshape(x, shape)", constants="int64[2] shape = {-1, 12}"),
    whole("""g (float[N, 3, 4] x, float[4, 2] w) => (float[] y) <int64[2] flat = {-1, 4}, int64[3] full = {-1, 3, 2}> {
        a = Reshape(x, flat) b = MatMul(a, w) y = Reshape(b, full)
    }"""),
    whole("""g (float[T, N, 4] x, float[4, 2] w) => (float[] y) <int64[2] flat = {-1, 4}, int64[1] two = {2}> {
        s = Shape<start = 0, end = 2>(x) f = Concat<axis = 0>(s, two) a = Reshape(x, flat) b = MatMul(a, w)
        y = Reshape(b, f)
    }"""),
    whole("""g (float[N, 4] x) => (float[] y) <float[2, 2] c = {1, 2, 3, 4}, int64[2] two = {0, -1},
        int64[1] one = {-1}> {
        a = Reshape(c, two) b = Reshape(a, one) y = Mul(x, b)
    }"""),
    one_node("float[N, 3, 4] x", "Flatten(x)"),
    one_node("float[N, 1, 4] x", "Squeeze(x, at)", constants="int64[1] at = {1}"),
    one_node("float[N, 4] x", "Unsqueeze(x, at)", constants="int64[2] at = {0, 2}"),
    one_node("float[N, 3, 4] x", "Transpose<perm = [2, 0, 1]>(x)"),
    one_node("float[N, 4] x", "Transpose(x)"),
    one_node("float[N, 1] x", "Expand(x, shape)", constants="int64[2] shape = {1, 3}"),
    one_node("float[N, 2] x", "Tile(x, times)", constants="int64[2] times = {1, 3}"),
    whole("""g (float[N, 2] x) => (float[] y) <int64[2] times = {3, 1}, int64[3] shape = {3, -1, 2},
        int64[1] at = {0}> {
        t = Tile(x, times) u = Reshape(t, shape) y = ReduceSum<keepdims = 0>(u, at)
    }"""),
    one_node("float[N, 2] x, float[N, 3] z", "Concat<axis = 1>(x, z)"),
    whole("""g (float[N, 2] x, float[2, 2] w) => (float[] y, float[] z) {
        n = Neg(x) both = Concat<axis = 0>(x, n) m = MatMul(both, w) y, z = Split<axis = 0, num_outputs = 2>(m)
    }"""),
    whole("g (float[N, 6] x) => (float[] y, float[] z) <int64[2] parts = {2, 4}> { y, z = Split<axis = 1>(x, parts) }"),
    one_node("float[N, 4, 2, 3] x", "DepthToSpace<blocksize = 2>(x)"),
    one_node("float[N, 1, 4, 6] x", "SpaceToDepth<blocksize = 2>(x)"),
    whole("""g (float[N, T] x) => (float[] y) <int64 one = {1}, int64 zero = {0}> {
        s = Shape(x) t = Gather(s, one) r = Range(zero, t, one) f = Cast<to = 1>(r) y = Mul(x, f)
    }"""),
    # Products.
    one_node("float[N, 4] x, float[4, 3] w", "MatMul(x, w)"),
    one_node("float[N, 2, 3] x, float[N, 3, 4] z", "MatMul(x, z)"),
    one_node("float[4, N] x, float[3, 4] w", "MatMul(w, x)"),
    one_node("uint8[N, 4] x, uint8[4, 3] w", "MatMulInteger(x, w, z)", "int32", "uint8 z = {1}"),
    one_node(
        "uint8[N, 4] x, uint8[4, 3] w", "com.microsoft.MatMulIntegerToFloat(x, w, s, s)", constants="float s = {0.1}"
    ),
    one_node("uint8[N, 4] x, uint8[4, 3] w", "QLinearMatMul(x, s, z, w, r, q, t, p)", "uint8", _SCALES),
    one_node("float[N, 4] x, float[3, 4] w, float[3] b", "Gemm<transB = 1, alpha = 0.5>(x, w, b)"),
    one_node("float[4, N] x, float[4, 3] w", "Gemm<transA = 1>(x, w)"),
    one_node("float[N, 2, 3] x, float[N, 3, 4] z", 'Einsum<equation = "bij,bjk->bik">(x, z)'),
    one_node("float[N, 2, 3] x, float[3, 4] w", 'Einsum<equation = "...j,jk->...k">(x, w)'),
    one_node("float[N, 2, 3] x, float[N, 4, 3] z", "com.microsoft.FusedMatMul<transB = 1, alpha = 0.5>(x, z)"),
    one_node("float[N, 2, 3] x, float[N, 4, 3] z", "com.microsoft.TransposeMatMul<transB = 1>(x, z)"),
    one_node(
        "float[N, 32] x, uint8[3, 1, 16] w, float[3] s",
        "com.microsoft.MatMulNBits<K = 32, N = 3, bits = 4, block_size = 32>(x, w, s)",
    ),
    # Along other axes.
    *(one_node("float[N, 2, 4] x", f"{name}(x)") for name in ("Softmax", "LogSoftmax", "Hardmax")),
    *(one_node("float[N, 2, 4] x", f"{name}(x)", opsets=_OPSET_11) for name in ("Softmax", "LogSoftmax", "Hardmax")),
    one_node("float[N, 4] x", "LpNormalization<p = 1>(x)"),
    one_node("float[N, 4] x", "CumSum<reverse = 1>(x, at)", constants="int64 at = {1}"),
    one_node("float[N, 4] x", "CumProd(x, at)", constants="int64 at = {1}", opsets='"" : 26'),
    *(one_node("float[N, 2, 4] x", f"Reduce{name}(x, at)", constants="int64[1] at = {-1}") for name in _REDUCTIONS),
    *(
        one_node("float[N, 2, 4] x", f"Reduce{name}<axes = [1, 2], keepdims = 0>(x)", opsets=_OPSET_11)
        for name in _REDUCTIONS
    ),
    one_node("float[N, 4] x", "ArgMax<axis = 1, keepdims = 0>(x)", "int64"),
    one_node("float[4, N] x", "ArgMin(x)", "int64"),
    whole("g (float[N, 6] x) => (float[] y, int64[] z) <int64[1] k = {2}> { y, z = TopK(x, k) }"),
    one_node("float[N, 2, 4] x, float[4] w, float[4] b", "LayerNormalization(x, w, b)"),
    one_node("float[N, 4] x, float[4] w", "RMSNormalization(x, w)", opsets=_OPSET_23),
    one_node("float[N, 4] x, float[4] w", "SimplifiedLayerNormalization(x, w)"),
    one_node(
        "float[N, 2, 4] x, float[N, 2, 4] z, float[4] w, float[4] b", "com.microsoft.SkipLayerNormalization(x, z, w, b)"
    ),
    one_node(
        "float[N, 2, 4] x, float[N, 2, 4] z, float[4] w", "com.microsoft.SkipSimplifiedLayerNormalization(x, z, w)"
    ),
    one_node(
        "float[N, 3, T] x, float[3] w, float[3] b",
        "BatchNormalization(x, w, b, w, v)",
        constants="float[3] v = {1, 2, 3}",
    ),
    one_node("float[N, 3, T] x, float[3] w, float[3] b", "InstanceNormalization(x, w, b)"),
    one_node("float[N, 4, T] x, float[4] w, float[4] b", "GroupNormalization<num_groups = 2>(x, w, b)"),
    one_node("float[N, 4, 3, 3] x", "LRN<size = 3>(x)"),
    one_node("float[N, 3, 4, 4] x", "MeanVarianceNormalization<axes = [1, 2, 3]>(x)"),
    one_node("float[N, 4, 4] x", "Trilu(x)"),
    one_node("float[N, 4, 4] x", "com.microsoft.Trilu(x)"),
    one_node("float[N, 3, 3] x", "Det(x)"),
    whole("""g (float[4, N, 2] x, int64[N] n_index) => (float[] y) <int64 one = {1}> {
        n = Add(n_index, one) y = ReverseSequence(x, n)
    }"""),
    whole(
        "g (float[N, 3] x, int64[N] c_index) => (float[] y, float[] z) "
        '{ y, z = SoftmaxCrossEntropyLoss<reduction = "none">(x, c_index) }'
    ),
    one_node("float[N, 3] x, int64[N] c_index", 'NegativeLogLikelihoodLoss<reduction = "none">(x, c_index)'),
    # Windows.
    one_node("float[N, 2, H, W] x, float[3, 2, 3, 3] w, float[3] b", "Conv<pads = [1, 1, 1, 1]>(x, w, b)"),
    one_node("uint8[N, 2, H, W] x, uint8[3, 2, 3, 3] w", "ConvInteger(x, w, z)", "int32", "uint8 z = {1}"),
    one_node("uint8[N, 2, H, W] x, uint8[3, 2, 3, 3] w", "QLinearConv(x, s, z, w, r, q, t, p)", "uint8", _SCALES),
    one_node("float[N, 2, H, W] x, float[3, 2, 3, 3] w", 'com.microsoft.FusedConv<activation = "Relu">(x, w)'),
    one_node("float[N, 2, H, W] x, float[2, 3, 3, 3] w", "ConvTranspose<strides = [2, 2]>(x, w)"),
    one_node(
        "float[N, 1, 3, 3] x, float[1, 1, 2, 2] w, float[N, 8, 2, 2] o", "DeformConv<kernel_shape = [2, 2]>(x, w, o)"
    ),
    *(
        one_node("float[N, 2, H, W] x", f"{name}<kernel_shape = [2, 2], strides = [2, 2]>(x)")
        for name in ("MaxPool", "AveragePool", "LpPool")
    ),
    *(one_node("float[N, 2, H, W] x", f"{name}(x)") for name in ("GlobalAveragePool", "GlobalMaxPool", "GlobalLpPool")),
    one_node("float[N, 2, H, W] x", 'Resize<mode = "linear">(x, , s)', constants="float[4] s = {1, 1, 2, 1.5}"),
    one_node(
        "float[N, 2, H, W] x", 'Resize<mode = "nearest", axes = [2, 3]>(x, , , s)', constants="int64[2] s = {5, 9}"
    ),
    one_node("float[N, 2, H, W] x", "Upsample(x, s)", constants="float[4] s = {1, 1, 2, 2}", opsets=_OPSET_9),
    one_node("float[N, 2, H, W] x, float[N, 3, 3, 2] z", "GridSample(x, z)"),
    whole("""g (float[N, 2, 3] x) => (float[] y) <int64[3] rest = {2, 3, 4}> {
        n = Shape<start = 0, end = 1>(x) size = Concat<axis = 0>(n, rest) y = AffineGrid(x, size)
    }"""),
    one_node("float[N, 4, 9] x", "Col2Im(x, i, b)", constants="int64[2] i = {4, 4}, int64[2] b = {2, 2}"),
    one_node("float[N, 4] x", "CenterCropPad<axes = [1]>(x, s)", constants="int64[1] s = {6}"),
    one_node(
        "float[N, 16] x",
        "STFT(x, s, w, l)",
        constants="int64 s = {4}, float[8] w = {1, 1, 2, 2, 2, 2, 1, 1}, int64 l = {8}",
    ),
    one_node("float[N, 8, 1] x", "DFT(x)"),
    *(
        whole(f"g (float[N, 8] x) => (float[] y) <int64 n = {{8}}> {{ w = {name}(n) y = Mul(x, w) }}")
        for name in ("HannWindow", "HammingWindow", "BlackmanWindow")
    ),
    whole("""g (float[N, 9] x) => (float[] y) <int64 b = {4}, int64 d = {16}, int64 r = {8000}, float l = {0},
        float u = {4000}> {
        w = MelWeightMatrix(b, d, r, l, u) y = MatMul(x, w)
    }"""),
    # Indices.
    one_node("float[9, 4] w, int64[N, T] x_index", "Gather(w, x_index)"),
    one_node("float[N, 5, 4] x", "Gather<axis = 1>(x, i)", constants="int64[2] i = {4, 0}"),
    one_node("float[N, 5] x, int64[N, 2] z_index", "GatherElements<axis = 1>(x, z_index)"),
    one_node("float[9] w, int64[N] x_index", "GatherElements(w, x_index)"),
    one_node("float[N, 5] x, int64[N, 2, 1] z_index", "GatherND<batch_dims = 1>(x, z_index)"),
    one_node("float[5, 4] w, int64[N, 1] x_index", "GatherND(w, x_index)"),
    one_node("float[5, N] x, int64[2, 1] w_index", "GatherND(x, w_index)"),
    one_node(
        "float[N, 5] x, int64[N, 1] i_index, float[N, 1] u",
        'ScatterElements<axis = 1, reduction = "add">(x, i_index, u)',
    ),
    one_node("float[N, 5] x, int64[N, 1] i_index, float[N, 1] u", "Scatter<axis = 1>(x, i_index, u)", opsets=_OPSET_10),
    one_node("float[5, N] x, float[2, N] u", "ScatterND(x, i, u)", constants="int64[2, 1] i = {3, 0}"),
    one_node("float[N, 5, 2] x, float[N, 1, 2] u, int64[N] i_index", "TensorScatter(x, u, i_index)", opsets=_OPSET_24),
    one_node("int64[N, 2] x_index", "OneHot(x_index, d, v)", constants="int64 d = {3}, float[2] v = {0, 1}"),
    one_node("float[N, 4] x", "Pad(x, p)", constants="int64[4] p = {0, 1, 0, 2}"),
    one_node("float[N, 4] x", 'Pad<mode = "reflect", pads = [0, 1, 0, 2]>(x)', opsets=_OPSET_7),
    one_node(
        "float[N, 6] x",
        "Slice(x, s, e, a, t)",
        constants="int64[1] s = {5}, int64[1] e = {0}, int64[1] a = {1}, int64[1] t = {-2}",
    ),
    one_node("float[N, 6] x", "Slice<starts = [1], ends = [4], axes = [1]>(x)", opsets=_OPSET_9),
    one_node("float[N, 4] x", "Compress<axis = 1>(x, c)", constants="bool[4] c = {1, 0, 1, 1}"),
    # Rows picked by their own numbers, as indexing with a range is written.
    whole(f"g (float[N, T] x) => (float[] y) <{_ZERO_AND_ONE}> {{ {_NUMBERS} y = Gather(x, r) }}"),
    whole(f"""g (float[N, T, 4] x, int64[N] i_index) => (float[] y) <{_ZERO_AND_ONE}> {{
        {_NUMBERS} j = Unsqueeze(i_index, at) p = Concat<axis = -1>(c, j) y = GatherND(x, p)
    }}"""),
    whole(f"""g (float[N, T, 4] x, int64[N, 3] i_index) => (float[] y) <{_ZERO_AND_ONE}> {{
        {_NUMBERS} larger = Max(c, i_index) shape = Shape(larger) e = Expand(c, shape) f = Unsqueeze(e, at)
        j = Unsqueeze(i_index, at) p = Concat<axis = 2>(f, j) y = GatherND(x, p)
    }}"""),
    whole(f"""g (float[N, T, 4] x, float[N, 4] u, int64[N] i_index) => (float[] y) <{_ZERO_AND_ONE}> {{
        {_NUMBERS} j = Unsqueeze(i_index, at) p = Concat<axis = -1>(c, j) y = ScatterND<reduction = "add">(x, p, u)
    }}"""),
    whole("""g (float[N, T, 4] x, int32[N] i_index) => (float[] y) <int32 zero = {0}, int32 one = {1},
        int64[1] at = {1}> {
        n = Shape<start = 0, end = 1>(x) s = Squeeze(n) t = Cast<to = 6>(s) r = Range(zero, t, one)
        c = Unsqueeze(r, at) j = Unsqueeze(i_index, at) p = Concat<axis = 1>(c, j) q = Cast<to = 7>(p)
        y = GatherND(x, q)
    }"""),
    # The same in one number: the row's times the length of an axis, and a place on that axis.
    *(
        whole(f"""g (float[N, T, 4] x, float[N, T] z) => (float[] y) <{_ZERO_AND_ONE}> {{
            {_NUMBERS} table = Flatten<axis = 2>(x)
            length = Shape<start = 1, end = 2>(x) {place} first = Mul(r, length) p = Add(place, first)
            y = Gather(table, p)
        }}""")
        for place in (
            "place = ArgMax<axis = 1, keepdims = 0>(z)",
            "m = ArgMax<axis = 1, keepdims = 0>(z) before = Sub(m, one) place = Mod(before, length)",
        )
    ),
    whole(f"""g (float[N, T] x) => (float[] y) <{_ZERO_AND_ONE}, int64[1] k = {{2}}> {{
        {_NUMBERS} v, i = TopK(x, k) length = Shape<start = 1>(x) first = Mul(length, c) p = Add(first, i)
        w = Constant<value_ints = [-1]>() table = Reshape(x, w) y = Gather(table, p)
    }}"""),
    whole("""g (float[N, 3, T] x) => (float[] y) <int64 zero = {0}, int64 three = {3}, int64[3] flat = {-1, 1, 0}> {
        n = Shape<start = 0, end = 1>(x) s = Squeeze(n) beams = Mul(s, three) firsts = Range(zero, beams, three)
        f = Reshape(x, flat) at = Constant<value_ints = [1]>() t = Squeeze(f, at) y = Gather(t, firsts)
    }"""),
    whole(f"""g (float[N, T] x) => (float[] y) <{_ZERO_AND_ONE}> {{
        {_NUMBERS} twice = Concat<axis = -1>(c, c) y = Gather(x, twice)
    }}"""),
    # Recurrent networks and attention.
    *(
        whole(
            f"g (float[T, N, 3] x, float[1, {gates * 2}, 3] w, float[1, {gates * 2}, 2] r, int32[N] n_index, "
            f"float[1, N, 2] h) "
            f"=> (float[] y, float[] z) {{ y, z = {name}<hidden_size = 2>(x, w, r, , n_index, h) }}"
        )
        for name, gates in (("LSTM", 4), ("GRU", 3), ("RNN", 1))
    ),
    whole("""g (float[N, T, 3] x, float[1, 8, 3] w, float[1, 8, 2] r) => (float[] y) <int64[3] o = {1, 0, 2}> {
        t = Transpose<perm = [1, 0, 2]>(x) a, b, c = LSTM<hidden_size = 2>(t, w, r) y = Transpose<perm = [1, 0, 2]>(b)
    }"""),
    one_node(
        "float[N, 2, 5, 4] q, float[N, 2, 6, 4] k, float[N, 2, 6, 4] v",
        "Attention<is_causal = 1>(q, k, v)",
        opsets=_OPSET_23,
    ),
    one_node("float[N, 2, 3, 4] x, float[N, 3, 2] c, float[N, 3, 2] s", "RotaryEmbedding(x, c, s)", opsets=_OPSET_23),
    one_node(
        "float[N, 3, 8] x, int64[N, 3] p_index, float[9, 2] c, float[9, 2] s",
        "com.microsoft.RotaryEmbedding<num_heads = 2>(x, p_index, c, s)",
    ),
    one_node("float[N, 3, 8] x, float[8, 24] w, float[24] b", "com.microsoft.Attention<num_heads = 2>(x, w, b)"),
    one_node(
        "float[N, 3, 8] x, float[8, 24] w, float[24] b, int32[N, 3] m_index",
        "com.microsoft.Attention<num_heads = 2>(x, w, b, m_index)",
    ),
    one_node(
        "float[N, 3, 8] q, float[N, 4, 8] k, float[N, 4, 8] v",
        "com.microsoft.MultiHeadAttention<num_heads = 2>(q, k, v)",
    ),
    whole("""g (int32[N, 3] t_index, int32[N, 3] s_index, float[9, 4] w, float[9, 4] p, float[3, 4] e,
        float[4] c, float[4] b) => (float[] y) {
        y, m = com.microsoft.EmbedLayerNormalization(t_index, s_index, w, p, e, c, b)
    }"""),
    # Quantisation.
    one_node("float[N, 4] x", "QuantizeLinear(x, s, z)", "uint8", "float s = {0.1}, uint8 z = {3}"),
    one_node(
        "float[N, 3] x",
        "QuantizeLinear<axis = 1>(x, s, z)",
        "uint8",
        "float[3] s = {0.1, 1, 2}, uint8[3] z = {3, 0, 1}",
    ),
    one_node("uint8[N, 4] x", "DequantizeLinear(x, s, z)", constants="float s = {0.1}, uint8 z = {3}"),
    one_node("float[N, 4] x", "com.microsoft.QuantizeLinear(x, s, z)", "uint16", "float s = {0.1}, uint16 z = {3}"),
    one_node("uint16[N, 4] x", "com.microsoft.DequantizeLinear(x, s, z)", constants="float s = {0.1}, uint16 z = {3}"),
    *(
        one_node("uint8[N, 4] x, uint8[1, 4] w", f"com.microsoft.{name}(x, s, z, w, r, q, t, p)", "uint8", _SCALES)
        for name in ("QLinearAdd", "QLinearMul")
    ),
    *(
        one_node(
            "uint8[N, 4] x",
            f"com.microsoft.{name}(x, s, z, r, q)",
            "uint8",
            "float s = {0.1}, uint8 z = {3}, float r = {0.2}, uint8 q = {1}",
        )
        for name in ("QLinearSigmoid", "QLinearLeakyRelu")
    ),
    one_node(
        "uint8[N, 4] x",
        "com.microsoft.QLinearSoftmax<opset = 13, axis = -1>(x, s, z, r, q)",
        "uint8",
        "float s = {0.1}, uint8 z = {3}, float r = {0.01}, uint8 q = {1}",
    ),
    one_node(
        "uint8[N, 2, H, W] x",
        "com.microsoft.QLinearGlobalAveragePool(x, s, z, r, q)",
        "uint8",
        "float s = {0.1}, uint8 z = {3}, float r = {0.2}, uint8 q = {1}",
    ),
    one_node(
        "uint8[N, 4] x, uint8[N, 2] v",
        "com.microsoft.QLinearConcat<axis = 1>(r, q, x, s, z, v, t, p)",
        "uint8",
        _SCALES,
    ),
    *TABLES,
    # Bodies.
    whole("""g (float[N, T] x, bool w) => (float[] y) { y = If(w)
        <then_branch = t () => (float[] a) { a = Neg(x) }, else_branch = e () => (float[] b) { b = Abs(x) }> }"""),
    whole("""g (float[N, T] x) => (float[] y, float[] z) <int64 n = {3}, bool go = {1}> { y, s = Loop(n, go, x)
        <body = body (int64 i, bool c, float[N, T] before) => (bool d, float[N, T] after, float[N, T] each)
        { d = Identity(c) after = Add(before, x) each = Neg(after) }> z = Identity(s) }"""),
    whole("""g (float[N, 2] x, float[N, T, 2] z) => (float[] y, float[] all)
        { y, all = Scan<num_scan_inputs = 1, scan_input_axes = [1], scan_output_axes = [1],
        body = body (float[N, 2] before, float[N, 2] now) => (float[N, 2] after, float[N, 2] each)
        { after = Add(before, now) each = Neg(after) }>(x, z) }"""),
    # Constants that are made by operators which mix rows when they get some.
    whole(
        "g (float[N, 3] x) => (float[] y) <float[3] c = {1, 0, 2}> { i = NonZero(c) f = Cast<to = 1>(i) "
        "s = ReduceSum(f) y = Mul(x, s) }"
    ),
    whole(
        "g (float[N, 3] x) => (float[] y) <int64[3] c = {1, 1, 2}> { u = Unique(c) f = Cast<to = 1>(u) "
        "s = ReduceSum(f) y = Mul(x, s) }"
    ),
    whole("""g (float[N, 3] x) => (float[] y) <float[1, 2, 4] c = {0, 0, 1, 1, 0, 0, 2, 2}, float[1, 1, 2]
        d = {0.5, 0.9}, int64 k = {2}> {
        i = NonMaxSuppression(c, d, k) f = Cast<to = 1>(i) s = ReduceSum(f) y = Mul(x, s)
    }"""),
    whole(
        "g (float[N, 3] x) => (float[] y) <float[3, 3] c = {1, 0, 2, 1, 1, 1, 1, 1, 1}> { e = EyeLike(c) "
        "y = MatMul(x, e) }"
    ),
]
