"""Models whose rows are independent: at least one for every operator that the table of rules knows.

Each is a graph in ONNX's text syntax; its inputs without N are constants (see `stacking.model_of`).
"""

_ML5 = '"" : 21, "ai.onnx.ml" : 5'
_OPSET_7, _OPSET_9, _OPSET_10, _OPSET_11 = '"" : 7', '"" : 9', '"" : 10', '"" : 11'
_OPSET_23, _OPSET_24 = '"" : 23', '"" : 24'

Sample = tuple[str, str | None]
"""A graph, and the operator sets it is written for, if they are not the usual ones."""


def _one(inputs: str, expression: str, dtype: str = "float", constants: str = "", opsets: str | None = None) -> Sample:
    """A model of one node."""
    listed = f"<{constants}>" if constants else ""
    return f"g ({inputs}) => ({dtype}[] y) {listed} {{ y = {expression} }}", opsets


def _many(graph: str, opsets: str | None = None) -> Sample:
    return graph, opsets


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
_TREE = (
    "nodes_falsenodeids = [2, 0, 0], nodes_featureids = [1, 0, 0], nodes_missing_value_tracks_true = [0, 0, 0], "
    'nodes_hitrates = [1.0, 1.0, 1.0], nodes_modes = ["BRANCH_LEQ", "LEAF", "LEAF"], nodes_nodeids = [0, 1, 2], '
    "nodes_treeids = [0, 0, 0], nodes_truenodeids = [1, 0, 0], nodes_values = [0.1, 0.0, 0.0]"
)
_SVM = (
    "coefficients = [1.0, -1.0, 0.5], kernel_params = [0.5, 0.0, 3.0], rho = [0.1], "
    "support_vectors = [1.0, 0.0, 0.0, 1.0, 1.0, 1.0]"
)
_TREE_TARGETS = "target_ids = [0, 1], target_nodeids = [1, 2], target_treeids = [0, 0], target_weights = [3.0, 5.0]"
_TREE_CLASSES = "class_ids = [0, 1], class_nodeids = [1, 2], class_treeids = [0, 0], class_weights = [1.0, 1.0]"
_TREE_5 = (
    "nodes_featureids = [1], nodes_splits = float[1] {0.1}, nodes_modes = uint8[1] {0}, nodes_truenodeids = [0], "
    "nodes_trueleafs = [1], nodes_falsenodeids = [1], nodes_falseleafs = [1], leaf_targetids = [0, 1], "
    "leaf_weights = float[2] {3, 5}, tree_roots = [0]"
)
# Operators with how many numbers they give for a row.
_MEMBERS = [
    ("LinearRegressor<coefficients = [1.0, 2.0]>", 1, None),
    ("LinearRegressor<coefficients = [1.0, 2.0, 3.0, 4.0], targets = 2>", 2, None),
    ("LinearClassifier<classlabels_ints = [0, 1], coefficients = [1.0, 2.0], intercepts = [0.5]>", 2, None),
    (
        'LinearClassifier<classlabels_strings = ["a", "b", "c"], coefficients = [1.0, 2.0, -1.0, 3.0, 2.0, -2.0], '
        "intercepts = [0.5, 0.1, 0.2]>",
        3,
        None,
    ),
    (f'SVMRegressor<{_SVM}, n_supports = 3, kernel_type = "RBF">', 1, None),
    (f"TreeEnsembleRegressor<{_TREE}, n_targets = 2, {_TREE_TARGETS}>", 2, None),
    (f"TreeEnsembleClassifier<{_TREE}, {_TREE_CLASSES}, classlabels_int64s = [4, 9, 2]>", 3, None),
    (f"TreeEnsemble<n_targets = 2, {_TREE_5}>", 2, _ML5),
]
# The numbers of the rows, as a vector `r` and as a column `c`.
_NUMBERS = (
    "n = Shape<start = 0, end = 1>(x) s = Squeeze(n) r = Range(zero, s, one) at = Constant<value_ints = [-1]>() "
    "c = Unsqueeze(r, at)"
)
_ZERO_AND_ONE = "int64 zero = {0}, int64 one = {1}"
_SCALES = "float s = {0.1}, uint8 z = {3}, float r = {0.2}, uint8 q = {1}, float t = {0.5}, uint8 p = {2}"

SAMPLES: list[Sample] = [
    # Each element by itself.
    *(_one("float[N, 4] x", f"{name}(x)") for name in _UNARY),
    *(_one("float[N, 4] x", f"{name}(x)", "bool") for name in ("IsInf", "IsNaN")),
    _one("float[N, 4] x", "Swish(x)", opsets=_OPSET_24),
    *(_one("float[N, 4] x, float[1, 4] w", f"{name}(x, w)") for name in _BINARY),
    *(_one("float[N, 4] x, float[N, 1] z", f"{name}(x, z)") for name in ("Add", "Mul", "Max")),
    *(_one("float[N] x, float[3, 1] w", f"{name}(w, x)") for name in ("Sub", "Div")),
    *(_one("float[N, 4] x, float[4] w", f"{name}(x, w)", "bool") for name in _COMPARING),
    *(_one("bool[N, 4] x, bool[N, 4] z", f"{name}(x, z)", "bool") for name in ("And", "Or", "Xor")),
    *(
        _one("int32[N, 4] x, int32[N, 4] z", f"{name}(x, z)", "int32")
        for name in ("BitwiseAnd", "BitwiseOr", "BitwiseXor")
    ),
    _one("int32[N, 4] x", "Mod<fmod = 1>(x, w)", "int32", "int32[1] w = {3}"),
    _one("int32[N, 4] x", "BitwiseNot(x)", "int32"),
    _one("uint8[N, 4] x, uint8[N, 4] z", 'BitShift<direction = "LEFT">(x, z)', "uint8"),
    _one("bool[N, 4] x", "Not(x)", "bool"),
    _one("bool[N, 4] c, float[N, 1] x, float[4] w", "Where(c, x, w)"),
    _one("float[N, 4] x", "Cast<to = 7>(x)", "int64"),
    _one("int32[N, 4] x, float[1] w", "CastLike(x, w)"),
    _one("float[N, 4] x", "BitCast<to = 6>(x)", "int32", opsets='"" : 26'),
    _one("float[N, 4] x", "Clip(x, low, high)", constants="float low = {-1}, float high = {1}"),
    _one("float[N, 4] x", "Dropout(x)"),
    _one("string[N, 2] x, string[N, 2] z", "StringConcat(x, z)", "string"),
    _one("string[N, 2] x", 'RegexFullMatch<pattern = "a.*">(x)', "bool"),
    _one("float[N, 4] x", "com.microsoft.QuickGelu(x)"),
    _one("float[N, 4] x", "com.microsoft.Gelu(x)"),
    *(_one("float[N, 4] x, float[4] w", f"com.microsoft.{name}(x, w)") for name in ("BiasGelu", "FastGelu")),
    # Shapes.
    _many("""g (float[N, T] x) => (float[] y) <int64[1] zero = {0}, int64[1] one = {1}, int64[1] two = {2}> {
        s = Shape(x) rows = Slice(s, zero, one) pair = Concat<axis = 0>(rows, two) filled = ConstantOfShape(pair)
        mean = ReduceMean<keepdims = 1>(x, one) y = Add(filled, mean)
    }"""),
    _many("""g (float[N, T] x) => (float[] y) <int64 zero = {0}, int64[1] last = {-1}, int64[1] at = {0}> {
        count = Size(x) s = Shape(x) rows = Gather(s, zero) each = Div(count, rows) width = Unsqueeze(each, at)
        shape = Concat<axis = 0>(last, width) w = Reshape(x, shape) y = Softmax(w)
    }"""),
    _one("float[N, 3, 4] x", "Reshape(x, shape)", constants="int64[2] shape = {-1, 12}"),
    _many("""g (float[N, 3, 4] x, float[4, 2] w) => (float[] y) <int64[2] flat = {-1, 4}, int64[3] full = {-1, 3, 2}> {
        a = Reshape(x, flat) b = MatMul(a, w) y = Reshape(b, full)
    }"""),
    _many("""g (float[T, N, 4] x, float[4, 2] w) => (float[] y) <int64[2] flat = {-1, 4}, int64[1] two = {2}> {
        s = Shape<start = 0, end = 2>(x) f = Concat<axis = 0>(s, two) a = Reshape(x, flat) b = MatMul(a, w)
        y = Reshape(b, f)
    }"""),
    _many("""g (float[N, 4] x) => (float[] y) <float[2, 2] c = {1, 2, 3, 4}, int64[2] two = {0, -1},
        int64[1] one = {-1}> {
        a = Reshape(c, two) b = Reshape(a, one) y = Mul(x, b)
    }"""),
    _one("float[N, 3, 4] x", "Flatten(x)"),
    _one("float[N, 1, 4] x", "Squeeze(x, at)", constants="int64[1] at = {1}"),
    _one("float[N, 4] x", "Unsqueeze(x, at)", constants="int64[2] at = {0, 2}"),
    _one("float[N, 3, 4] x", "Transpose<perm = [2, 0, 1]>(x)"),
    _one("float[N, 4] x", "Transpose(x)"),
    _one("float[N, 1] x", "Expand(x, shape)", constants="int64[2] shape = {1, 3}"),
    _one("float[N, 2] x", "Tile(x, times)", constants="int64[2] times = {1, 3}"),
    _many("""g (float[N, 2] x) => (float[] y) <int64[2] times = {3, 1}, int64[3] shape = {3, -1, 2},
        int64[1] at = {0}> {
        t = Tile(x, times) u = Reshape(t, shape) y = ReduceSum<keepdims = 0>(u, at)
    }"""),
    _one("float[N, 2] x, float[N, 3] z", "Concat<axis = 1>(x, z)"),
    _many("""g (float[N, 2] x, float[2, 2] w) => (float[] y, float[] z) {
        n = Neg(x) both = Concat<axis = 0>(x, n) m = MatMul(both, w) y, z = Split<axis = 0, num_outputs = 2>(m)
    }"""),
    _many("g (float[N, 6] x) => (float[] y, float[] z) <int64[2] parts = {2, 4}> { y, z = Split<axis = 1>(x, parts) }"),
    _one("float[N, 4, 2, 3] x", "DepthToSpace<blocksize = 2>(x)"),
    _one("float[N, 1, 4, 6] x", "SpaceToDepth<blocksize = 2>(x)"),
    _many("""g (float[N, T] x) => (float[] y) <int64 one = {1}, int64 zero = {0}> {
        s = Shape(x) t = Gather(s, one) r = Range(zero, t, one) f = Cast<to = 1>(r) y = Mul(x, f)
    }"""),
    # Products.
    _one("float[N, 4] x, float[4, 3] w", "MatMul(x, w)"),
    _one("float[N, 2, 3] x, float[N, 3, 4] z", "MatMul(x, z)"),
    _one("float[4, N] x, float[3, 4] w", "MatMul(w, x)"),
    _one("uint8[N, 4] x, uint8[4, 3] w", "MatMulInteger(x, w, z)", "int32", "uint8 z = {1}"),
    _one("uint8[N, 4] x, uint8[4, 3] w", "com.microsoft.MatMulIntegerToFloat(x, w, s, s)", constants="float s = {0.1}"),
    _one("uint8[N, 4] x, uint8[4, 3] w", "QLinearMatMul(x, s, z, w, r, q, t, p)", "uint8", _SCALES),
    _one("float[N, 4] x, float[3, 4] w, float[3] b", "Gemm<transB = 1, alpha = 0.5>(x, w, b)"),
    _one("float[4, N] x, float[4, 3] w", "Gemm<transA = 1>(x, w)"),
    _one("float[N, 2, 3] x, float[N, 3, 4] z", 'Einsum<equation = "bij,bjk->bik">(x, z)'),
    _one("float[N, 2, 3] x, float[3, 4] w", 'Einsum<equation = "...j,jk->...k">(x, w)'),
    _one("float[N, 2, 3] x, float[N, 4, 3] z", "com.microsoft.FusedMatMul<transB = 1, alpha = 0.5>(x, z)"),
    _one("float[N, 2, 3] x, float[N, 4, 3] z", "com.microsoft.TransposeMatMul<transB = 1>(x, z)"),
    _one(
        "float[N, 32] x, uint8[3, 1, 16] w, float[3] s",
        "com.microsoft.MatMulNBits<K = 32, N = 3, bits = 4, block_size = 32>(x, w, s)",
    ),
    # Along other axes.
    *(_one("float[N, 2, 4] x", f"{name}(x)") for name in ("Softmax", "LogSoftmax", "Hardmax")),
    *(_one("float[N, 2, 4] x", f"{name}(x)", opsets=_OPSET_11) for name in ("Softmax", "LogSoftmax", "Hardmax")),
    _one("float[N, 4] x", "LpNormalization<p = 1>(x)"),
    _one("float[N, 4] x", "CumSum<reverse = 1>(x, at)", constants="int64 at = {1}"),
    _one("float[N, 4] x", "CumProd(x, at)", constants="int64 at = {1}", opsets='"" : 26'),
    *(_one("float[N, 2, 4] x", f"Reduce{name}(x, at)", constants="int64[1] at = {-1}") for name in _REDUCTIONS),
    *(
        _one("float[N, 2, 4] x", f"Reduce{name}<axes = [1, 2], keepdims = 0>(x)", opsets=_OPSET_11)
        for name in _REDUCTIONS
    ),
    _one("float[N, 4] x", "ArgMax<axis = 1, keepdims = 0>(x)", "int64"),
    _one("float[4, N] x", "ArgMin(x)", "int64"),
    _many("g (float[N, 6] x) => (float[] y, int64[] z) <int64[1] k = {2}> { y, z = TopK(x, k) }"),
    _one("float[N, 2, 4] x, float[4] w, float[4] b", "LayerNormalization(x, w, b)"),
    _one("float[N, 4] x, float[4] w", "RMSNormalization(x, w)", opsets=_OPSET_23),
    _one("float[N, 4] x, float[4] w", "SimplifiedLayerNormalization(x, w)"),
    _one(
        "float[N, 2, 4] x, float[N, 2, 4] z, float[4] w, float[4] b", "com.microsoft.SkipLayerNormalization(x, z, w, b)"
    ),
    _one("float[N, 2, 4] x, float[N, 2, 4] z, float[4] w", "com.microsoft.SkipSimplifiedLayerNormalization(x, z, w)"),
    _one(
        "float[N, 3, T] x, float[3] w, float[3] b",
        "BatchNormalization(x, w, b, w, v)",
        constants="float[3] v = {1, 2, 3}",
    ),
    _one("float[N, 3, T] x, float[3] w, float[3] b", "InstanceNormalization(x, w, b)"),
    _one("float[N, 4, T] x, float[4] w, float[4] b", "GroupNormalization<num_groups = 2>(x, w, b)"),
    _one("float[N, 4, 3, 3] x", "LRN<size = 3>(x)"),
    _one("float[N, 3, 4, 4] x", "MeanVarianceNormalization<axes = [1, 2, 3]>(x)"),
    _one("float[N, 4, 4] x", "Trilu(x)"),
    _one("float[N, 4, 4] x", "com.microsoft.Trilu(x)"),
    _one("float[N, 3, 3] x", "Det(x)"),
    _many("""g (float[4, N, 2] x, int64[N] n_index) => (float[] y) <int64 one = {1}> {
        n = Add(n_index, one) y = ReverseSequence(x, n)
    }"""),
    _many(
        "g (float[N, 3] x, int64[N] c_index) => (float[] y, float[] z) "
        '{ y, z = SoftmaxCrossEntropyLoss<reduction = "none">(x, c_index) }'
    ),
    _one("float[N, 3] x, int64[N] c_index", 'NegativeLogLikelihoodLoss<reduction = "none">(x, c_index)'),
    # Windows.
    _one("float[N, 2, H, W] x, float[3, 2, 3, 3] w, float[3] b", "Conv<pads = [1, 1, 1, 1]>(x, w, b)"),
    _one("uint8[N, 2, H, W] x, uint8[3, 2, 3, 3] w", "ConvInteger(x, w, z)", "int32", "uint8 z = {1}"),
    _one("uint8[N, 2, H, W] x, uint8[3, 2, 3, 3] w", "QLinearConv(x, s, z, w, r, q, t, p)", "uint8", _SCALES),
    _one("float[N, 2, H, W] x, float[3, 2, 3, 3] w", 'com.microsoft.FusedConv<activation = "Relu">(x, w)'),
    _one("float[N, 2, H, W] x, float[2, 3, 3, 3] w", "ConvTranspose<strides = [2, 2]>(x, w)"),
    _one("float[N, 1, 3, 3] x, float[1, 1, 2, 2] w, float[N, 8, 2, 2] o", "DeformConv<kernel_shape = [2, 2]>(x, w, o)"),
    *(
        _one("float[N, 2, H, W] x", f"{name}<kernel_shape = [2, 2], strides = [2, 2]>(x)")
        for name in ("MaxPool", "AveragePool", "LpPool")
    ),
    *(_one("float[N, 2, H, W] x", f"{name}(x)") for name in ("GlobalAveragePool", "GlobalMaxPool", "GlobalLpPool")),
    _one("float[N, 2, H, W] x", 'Resize<mode = "linear">(x, , s)', constants="float[4] s = {1, 1, 2, 1.5}"),
    _one("float[N, 2, H, W] x", 'Resize<mode = "nearest", axes = [2, 3]>(x, , , s)', constants="int64[2] s = {5, 9}"),
    _one("float[N, 2, H, W] x", "Upsample(x, s)", constants="float[4] s = {1, 1, 2, 2}", opsets=_OPSET_9),
    _one("float[N, 2, H, W] x, float[N, 3, 3, 2] z", "GridSample(x, z)"),
    _many("""g (float[N, 2, 3] x) => (float[] y) <int64[3] rest = {2, 3, 4}> {
        n = Shape<start = 0, end = 1>(x) size = Concat<axis = 0>(n, rest) y = AffineGrid(x, size)
    }"""),
    _one("float[N, 4, 9] x", "Col2Im(x, i, b)", constants="int64[2] i = {4, 4}, int64[2] b = {2, 2}"),
    _one("float[N, 4] x", "CenterCropPad<axes = [1]>(x, s)", constants="int64[1] s = {6}"),
    _one(
        "float[N, 16] x",
        "STFT(x, s, w, l)",
        constants="int64 s = {4}, float[8] w = {1, 1, 2, 2, 2, 2, 1, 1}, int64 l = {8}",
    ),
    _one("float[N, 8, 1] x", "DFT(x)"),
    *(
        _many(f"g (float[N, 8] x) => (float[] y) <int64 n = {{8}}> {{ w = {name}(n) y = Mul(x, w) }}")
        for name in ("HannWindow", "HammingWindow", "BlackmanWindow")
    ),
    _many("""g (float[N, 9] x) => (float[] y) <int64 b = {4}, int64 d = {16}, int64 r = {8000}, float l = {0},
        float u = {4000}> {
        w = MelWeightMatrix(b, d, r, l, u) y = MatMul(x, w)
    }"""),
    # Indices.
    _one("float[9, 4] w, int64[N, T] x_index", "Gather(w, x_index)"),
    _one("float[N, 5, 4] x", "Gather<axis = 1>(x, i)", constants="int64[2] i = {4, 0}"),
    _one("float[N, 5] x, int64[N, 2] z_index", "GatherElements<axis = 1>(x, z_index)"),
    _one("float[9] w, int64[N] x_index", "GatherElements(w, x_index)"),
    _one("float[N, 5] x, int64[N, 2, 1] z_index", "GatherND<batch_dims = 1>(x, z_index)"),
    _one("float[5, 4] w, int64[N, 1] x_index", "GatherND(w, x_index)"),
    _one("float[5, N] x, int64[2, 1] w_index", "GatherND(x, w_index)"),
    _one(
        "float[N, 5] x, int64[N, 1] i_index, float[N, 1] u",
        'ScatterElements<axis = 1, reduction = "add">(x, i_index, u)',
    ),
    _one("float[N, 5] x, int64[N, 1] i_index, float[N, 1] u", "Scatter<axis = 1>(x, i_index, u)", opsets=_OPSET_10),
    _one("float[5, N] x, float[2, N] u", "ScatterND(x, i, u)", constants="int64[2, 1] i = {3, 0}"),
    _one("float[N, 5, 2] x, float[N, 1, 2] u, int64[N] i_index", "TensorScatter(x, u, i_index)", opsets=_OPSET_24),
    _one("int64[N, 2] x_index", "OneHot(x_index, d, v)", constants="int64 d = {3}, float[2] v = {0, 1}"),
    _one("float[N, 4] x", "Pad(x, p)", constants="int64[4] p = {0, 1, 0, 2}"),
    _one("float[N, 4] x", 'Pad<mode = "reflect", pads = [0, 1, 0, 2]>(x)', opsets=_OPSET_7),
    _one(
        "float[N, 6] x",
        "Slice(x, s, e, a, t)",
        constants="int64[1] s = {5}, int64[1] e = {0}, int64[1] a = {1}, int64[1] t = {-2}",
    ),
    _one("float[N, 6] x", "Slice<starts = [1], ends = [4], axes = [1]>(x)", opsets=_OPSET_9),
    _one("float[N, 4] x", "Compress<axis = 1>(x, c)", constants="bool[4] c = {1, 0, 1, 1}"),
    # Rows picked by their own numbers, as indexing with a range is written.
    _many(f"g (float[N, T] x) => (float[] y) <{_ZERO_AND_ONE}> {{ {_NUMBERS} y = Gather(x, r) }}"),
    _many(f"""g (float[N, T, 4] x, int64[N] i_index) => (float[] y) <{_ZERO_AND_ONE}> {{
        {_NUMBERS} j = Unsqueeze(i_index, at) p = Concat<axis = -1>(c, j) y = GatherND(x, p)
    }}"""),
    _many(f"""g (float[N, T, 4] x, int64[N, 3] i_index) => (float[] y) <{_ZERO_AND_ONE}> {{
        {_NUMBERS} larger = Max(c, i_index) shape = Shape(larger) e = Expand(c, shape) f = Unsqueeze(e, at)
        j = Unsqueeze(i_index, at) p = Concat<axis = 2>(f, j) y = GatherND(x, p)
    }}"""),
    _many(f"""g (float[N, T, 4] x, float[N, 4] u, int64[N] i_index) => (float[] y) <{_ZERO_AND_ONE}> {{
        {_NUMBERS} j = Unsqueeze(i_index, at) p = Concat<axis = -1>(c, j) y = ScatterND<reduction = "add">(x, p, u)
    }}"""),
    _many("""g (float[N, T, 4] x, int32[N] i_index) => (float[] y) <int32 zero = {0}, int32 one = {1},
        int64[1] at = {1}> {
        n = Shape<start = 0, end = 1>(x) s = Squeeze(n) t = Cast<to = 6>(s) r = Range(zero, t, one)
        c = Unsqueeze(r, at) j = Unsqueeze(i_index, at) p = Concat<axis = 1>(c, j) q = Cast<to = 7>(p)
        y = GatherND(x, q)
    }"""),
    # The same in one number: the row's times the length of an axis, and a place on that axis.
    *(
        _many(f"""g (float[N, T, 4] x, float[N, T] z) => (float[] y) <{_ZERO_AND_ONE}> {{
            {_NUMBERS} table = Flatten<axis = 2>(x)
            length = Shape<start = 1, end = 2>(x) {place} first = Mul(r, length) p = Add(place, first)
            y = Gather(table, p)
        }}""")
        for place in (
            "place = ArgMax<axis = 1, keepdims = 0>(z)",
            "m = ArgMax<axis = 1, keepdims = 0>(z) before = Sub(m, one) place = Mod(before, length)",
        )
    ),
    _many(f"""g (float[N, T] x) => (float[] y) <{_ZERO_AND_ONE}, int64[1] k = {{2}}> {{
        {_NUMBERS} v, i = TopK(x, k) length = Shape<start = 1>(x) first = Mul(length, c) p = Add(first, i)
        w = Constant<value_ints = [-1]>() table = Reshape(x, w) y = Gather(table, p)
    }}"""),
    _many("""g (float[N, 3, T] x) => (float[] y) <int64 zero = {0}, int64 three = {3}, int64[3] flat = {-1, 1, 0}> {
        n = Shape<start = 0, end = 1>(x) s = Squeeze(n) beams = Mul(s, three) firsts = Range(zero, beams, three)
        f = Reshape(x, flat) at = Constant<value_ints = [1]>() t = Squeeze(f, at) y = Gather(t, firsts)
    }"""),
    _many(f"""g (float[N, T] x) => (float[] y) <{_ZERO_AND_ONE}> {{
        {_NUMBERS} twice = Concat<axis = -1>(c, c) y = Gather(x, twice)
    }}"""),
    # Recurrent networks and attention.
    *(
        _many(
            f"g (float[T, N, 3] x, float[1, {gates * 2}, 3] w, float[1, {gates * 2}, 2] r, int32[N] n_index, "
            f"float[1, N, 2] h) "
            f"=> (float[] y, float[] z) {{ y, z = {name}<hidden_size = 2>(x, w, r, , n_index, h) }}"
        )
        for name, gates in (("LSTM", 4), ("GRU", 3), ("RNN", 1))
    ),
    _many("""g (float[N, T, 3] x, float[1, 8, 3] w, float[1, 8, 2] r) => (float[] y) <int64[3] o = {1, 0, 2}> {
        t = Transpose<perm = [1, 0, 2]>(x) a, b, c = LSTM<hidden_size = 2>(t, w, r) y = Transpose<perm = [1, 0, 2]>(b)
    }"""),
    _one(
        "float[N, 2, 5, 4] q, float[N, 2, 6, 4] k, float[N, 2, 6, 4] v",
        "Attention<is_causal = 1>(q, k, v)",
        opsets=_OPSET_23,
    ),
    _one("float[N, 2, 3, 4] x, float[N, 3, 2] c, float[N, 3, 2] s", "RotaryEmbedding(x, c, s)", opsets=_OPSET_23),
    _one(
        "float[N, 3, 8] x, int64[N, 3] p_index, float[9, 2] c, float[9, 2] s",
        "com.microsoft.RotaryEmbedding<num_heads = 2>(x, p_index, c, s)",
    ),
    _one("float[N, 3, 8] x, float[8, 24] w, float[24] b", "com.microsoft.Attention<num_heads = 2>(x, w, b)"),
    _one(
        "float[N, 3, 8] x, float[8, 24] w, float[24] b, int32[N, 3] m_index",
        "com.microsoft.Attention<num_heads = 2>(x, w, b, m_index)",
    ),
    _one(
        "float[N, 3, 8] q, float[N, 4, 8] k, float[N, 4, 8] v",
        "com.microsoft.MultiHeadAttention<num_heads = 2>(q, k, v)",
    ),
    _many("""g (int32[N, 3] t_index, int32[N, 3] s_index, float[9, 4] w, float[9, 4] p, float[3, 4] e,
        float[4] c, float[4] b) => (float[] y) {
        y, m = com.microsoft.EmbedLayerNormalization(t_index, s_index, w, p, e, c, b)
    }"""),
    # Quantisation.
    _one("float[N, 4] x", "QuantizeLinear(x, s, z)", "uint8", "float s = {0.1}, uint8 z = {3}"),
    _one(
        "float[N, 3] x",
        "QuantizeLinear<axis = 1>(x, s, z)",
        "uint8",
        "float[3] s = {0.1, 1, 2}, uint8[3] z = {3, 0, 1}",
    ),
    _one("uint8[N, 4] x", "DequantizeLinear(x, s, z)", constants="float s = {0.1}, uint8 z = {3}"),
    _one("float[N, 4] x", "com.microsoft.QuantizeLinear(x, s, z)", "uint16", "float s = {0.1}, uint16 z = {3}"),
    _one("uint16[N, 4] x", "com.microsoft.DequantizeLinear(x, s, z)", constants="float s = {0.1}, uint16 z = {3}"),
    *(
        _one("uint8[N, 4] x, uint8[1, 4] w", f"com.microsoft.{name}(x, s, z, w, r, q, t, p)", "uint8", _SCALES)
        for name in ("QLinearAdd", "QLinearMul")
    ),
    *(
        _one(
            "uint8[N, 4] x",
            f"com.microsoft.{name}(x, s, z, r, q)",
            "uint8",
            "float s = {0.1}, uint8 z = {3}, float r = {0.2}, uint8 q = {1}",
        )
        for name in ("QLinearSigmoid", "QLinearLeakyRelu")
    ),
    _one(
        "uint8[N, 4] x",
        "com.microsoft.QLinearSoftmax<opset = 13, axis = -1>(x, s, z, r, q)",
        "uint8",
        "float s = {0.1}, uint8 z = {3}, float r = {0.01}, uint8 q = {1}",
    ),
    _one(
        "uint8[N, 2, H, W] x",
        "com.microsoft.QLinearGlobalAveragePool(x, s, z, r, q)",
        "uint8",
        "float s = {0.1}, uint8 z = {3}, float r = {0.2}, uint8 q = {1}",
    ),
    _one(
        "uint8[N, 4] x, uint8[N, 2] v",
        "com.microsoft.QLinearConcat<axis = 1>(r, q, x, s, z, v, t, p)",
        "uint8",
        _SCALES,
    ),
    # Tables.
    _one("float[N, 2] x", "ai.onnx.ml.Scaler<offset = [1.0, 2.0], scale = [0.5, 3.0]>(x)"),
    _one("float[N, 2] x", "ai.onnx.ml.Imputer<imputed_value_floats = [1.0, 2.0], replaced_value_float = 0.0>(x)"),
    _one("float[N, 2] x", 'ai.onnx.ml.Normalizer<norm = "L2">(x)'),
    _one("float[N, 2] x", "ai.onnx.ml.Binarizer<threshold = 0.3>(x)"),
    _one("float[N, 2] x, float[N, 3] z", "ai.onnx.ml.FeatureVectorizer<inputdimensions = [2, 3]>(x, z)"),
    _one("float[N, 3] x", "ai.onnx.ml.ArrayFeatureExtractor(x, i)", constants="int64[2] i = {2, 0}"),
    _one("float[N, 3] x", "ai.onnx.ml.ArrayFeatureExtractor(x, i)", constants="int64 i = {1}"),
    _many(
        "g (string[N, 1] x) => (float[] y) <int64[2] shape = {-1, 2}> { "
        'e = ai.onnx.ml.OneHotEncoder<cats_strings = ["a", "b"], zeros = 1>(x) y = Reshape(e, shape) }'
    ),
    # How scikit-learn's classifiers are written: the class of the largest score.
    _many(
        "g (float[N, 3] x) => (int64[] y) <int64[3] classes = {7, 5, 9}, int64[1] flat = {-1}> { "
        "i = ArgMax<axis = 1>(x) c = ai.onnx.ml.ArrayFeatureExtractor(classes, i) y = Reshape(c, flat) }"
    ),
    _many(
        "g (float[N, 3] x) => (float[] y) <float[2, 3] table = {7, 5, 9, 1, 2, 3}> { "
        "i = ArgMax<axis = 1, keepdims = 0>(x) y = ai.onnx.ml.ArrayFeatureExtractor(table, i) }"
    ),
    _one("string[N, 2] x", 'ai.onnx.ml.OneHotEncoder<cats_strings = ["a", "b"], zeros = 1>(x)'),
    _one(
        "string[N, 2] x",
        'ai.onnx.ml.LabelEncoder<keys_strings = ["a", "b"], values_int64s = [3, 5], default_int64 = 7>(x)',
        "int64",
    ),
    _one(
        "string[N, 2] x",
        'ai.onnx.ml.CategoryMapper<cats_strings = ["a", "b"], cats_int64s = [3, 5], default_int64 = 7>(x)',
        "int64",
    ),
    _one("float[N, 2] x", "ai.onnx.ml.LinearRegressor<coefficients = [1.0, 2.0], intercepts = [0.5]>(x)"),
    _many(
        "g (float[N, 2] x) => (int64[] y, float[] z) { y, z = ai.onnx.ml.LinearClassifier<classlabels_ints = [0, 1], "
        'coefficients = [1.0, 2.0, -1.0, 3.0], intercepts = [0.5, 0.1], post_transform = "SOFTMAX">(x) }'
    ),
    _one("float[N, 2] x", f'ai.onnx.ml.SVMRegressor<{_SVM}, n_supports = 3, kernel_type = "RBF">(x)'),
    _many(
        f"g (float[N, 2] x) => (int64[] y, float[] z) {{ y, "
        f"z = ai.onnx.ml.SVMClassifier<{_SVM}, classlabels_ints = [0, 1], "
        'vectors_per_class = [2, 1], kernel_type = "LINEAR">(x) }'
    ),
    _one(
        "float[N, 2] x",
        f"ai.onnx.ml.TreeEnsembleRegressor<{_TREE}, n_targets = 1, target_ids = [0, 0], target_nodeids = [1, 2], "
        "target_treeids = [0, 0], target_weights = [3.0, 5.0]>(x)",
    ),
    _many(
        f"g (float[N, 2] x) => (int64[] y, float[] z) {{ y, "
        f"z = ai.onnx.ml.TreeEnsembleClassifier<{_TREE}, class_ids = [0, 1], "
        "class_nodeids = [1, 2], class_treeids = [0, 0], class_weights = [1.0, 1.0], classlabels_int64s = [4, 9]>(x) }"
    ),
    _one(
        "float[N, 2] x",
        "ai.onnx.ml.TreeEnsemble<n_targets = 1, nodes_featureids = [1], "
        "nodes_splits = float[1] {0.1}, nodes_modes = uint8[1] {0}, nodes_truenodeids = [0], nodes_trueleafs = [1], "
        "nodes_falsenodeids = [1], nodes_falseleafs = [1], leaf_targetids = [0, 0], leaf_weights = float[2] {3, 5}, "
        "tree_roots = [0]>(x)",
        opsets=_ML5,
    ),
    # How scikit-learn's ensembles are written: the mean of what their members say.
    *(
        _many(
            f"g (float[N, 2] x) => (float[] y) <int64[3] shape = {{1, -1, {width}}}, int64[1] members = {{0}}> {{ "
            f"{'l, z' if 'Classifier' in member else 'z'} = ai.onnx.ml.{member}(x) one = Reshape(z, shape) "
            "other = Neg(one) both = Concat<axis = 0>(one, other) y = ReduceMax<keepdims = 0>(both, members) }",
            opsets,
        )
        for member, width, opsets in _MEMBERS
    ),
    _one(
        "string[N, 3] x",
        'TfIdfVectorizer<max_gram_length = 1, min_gram_length = 1, max_skip_count = 0, mode = "TF", '
        'ngram_counts = [0], ngram_indexes = [0, 1], pool_strings = ["a", "b"]>(x)',
    ),
    # Bodies.
    _many("""g (float[N, T] x, bool w) => (float[] y) { y = If(w)
        <then_branch = t () => (float[] a) { a = Neg(x) }, else_branch = e () => (float[] b) { b = Abs(x) }> }"""),
    _many("""g (float[N, T] x) => (float[] y, float[] z) <int64 n = {3}, bool go = {1}> { y, s = Loop(n, go, x)
        <body = body (int64 i, bool c, float[N, T] before) => (bool d, float[N, T] after, float[N, T] each)
        { d = Identity(c) after = Add(before, x) each = Neg(after) }> z = Identity(s) }"""),
    _many("""g (float[N, 2] x, float[N, T, 2] z) => (float[] y, float[] all)
        { y, all = Scan<num_scan_inputs = 1, scan_input_axes = [1], scan_output_axes = [1],
        body = body (float[N, 2] before, float[N, 2] now) => (float[N, 2] after, float[N, 2] each)
        { after = Add(before, now) each = Neg(after) }>(x, z) }"""),
    # Constants that are made by operators which mix rows when they get some.
    _many(
        "g (float[N, 3] x) => (float[] y) <float[3] c = {1, 0, 2}> { i = NonZero(c) f = Cast<to = 1>(i) "
        "s = ReduceSum(f) y = Mul(x, s) }"
    ),
    _many(
        "g (float[N, 3] x) => (float[] y) <int64[3] c = {1, 1, 2}> { u = Unique(c) f = Cast<to = 1>(u) "
        "s = ReduceSum(f) y = Mul(x, s) }"
    ),
    _many("""g (float[N, 3] x) => (float[] y) <float[1, 2, 4] c = {0, 0, 1, 1, 0, 0, 2, 2}, float[1, 1, 2]
        d = {0.5, 0.9}, int64 k = {2}> {
        i = NonMaxSuppression(c, d, k) f = Cast<to = 1>(i) s = ReduceSum(f) y = Mul(x, s)
    }"""),
    _many(
        "g (float[N, 3] x) => (float[] y) <float[3, 3] c = {1, 0, 2, 1, 1, 1, 1, 1, 1}> { e = EyeLike(c) "
        "y = MatMul(x, e) }"
    ),
]
