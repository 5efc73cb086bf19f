"""Models whose rows are mixed, each in a way of its own: stacked, a row's answer is another than alone.

Each is a graph in ONNX's text syntax; its inputs without N are constants (see `stacking.model_of`).
"""

_BOUNDS = "int64[1] zero = {0}, int64[1] one = {1}, int64[1] minus = {-1}, int64[1] end = {9223372036854775807}"
_ROWS = "n = Shape<start = 0, end = 1>(x)"
_NUMBERS = f"{_ROWS} s = Squeeze(n) r = Range(a, s, b)"
_ZERO_AND_ONE = "int64 a = {0}, int64 b = {1}"

MIXED: dict[str, str] = {
    # A lag, an order, a place among the rows.
    "lag by one row": f"""g (float[N] x) => (float[] y) <{_BOUNDS}> {{
        first = Slice(x, zero, one) before = Slice(x, zero, minus) shifted = Concat<axis = 0>(first, before)
        y = Sub(x, shifted)
    }}""",
    "lag by one row, in two dimensions": f"""g (float[N, 4] x) => (float[] y) <{_BOUNDS}> {{
        first = Slice(x, zero, one, zero) before = Slice(x, zero, minus, zero)
        shifted = Concat<axis = 0>(first, before) y = Sub(x, shifted)
    }}""",
    "lag by seven rows": """g (float[N] x) => (float[] y)
        <int64[2] pads = {7, 0}, int64[1] zero = {0}, int64[1] end = {-7}> {
        padded = Pad(x, pads) shifted = Slice(padded, zero, end) y = Sub(x, shifted)
    }""",
    "rows reversed": f"g (float[N, 2] x) => (float[] y) <{_BOUNDS}, int64[1] front = {{-9223372036854775807}}> "
    "{ y = Slice(x, minus, front, zero, minus) }",
    "the last row for all": f"g (float[N, 2] x) => (float[] y) <{_BOUNDS}> "
    "{ last = Slice(x, minus, end, zero) y = Sub(x, last) }",
    "the first row for all": "g (float[N, 2] x) => (float[] y) <int64 at = {0}> { first = Gather(x, at) "
    "y = Sub(x, first) }",
    "rows picked by rows": "g (float[N, 2] x, int64[N] i_index) => (float[] y) <int64 m = {0}> "
    "{ z = Mul(i_index, m) y = Gather(x, z) }",
    "rows picked by rows, by element": "g (float[N, 1] x, int64[N, 1] i_index) => (float[] y) <int64 m = {0}> "
    "{ z = Mul(i_index, m) y = GatherElements<axis = 0>(x, z) }",
    "rows picked by coordinates": "g (float[N, 2] x, int64[N, 1] i_index) => (float[] y) <int64 m = {0}> "
    "{ z = Mul(i_index, m) y = GatherND(x, z) }",
    "features picked by rows": "g (float[N, 2] x, int64[N] i_index) => (float[] y) <int64 m = {0}> "
    "{ z = Mul(i_index, m) y = ai.onnx.ml.ArrayFeatureExtractor(x, z) }",
    "rows placed by rows": "g (float[N, 1] x, int64[N, 1] i_index) => (float[] y) <int64 m = {0}> "
    "{ z = Mul(i_index, m) y = ScatterElements<axis = 0>(x, z, x) }",
    "rows placed by coordinates": "g (float[N] x, int64[N, 1] i_index) => (float[] y) <int64 m = {0}> "
    "{ z = Mul(i_index, m) y = ScatterND(x, z, x) }",
    "probits of two classes, from one score": "g (float[N, 3] x) => (int64[] l, float[] y) { "
    "l, y = ai.onnx.ml.LinearClassifier<classlabels_ints = [0, 1], coefficients = [0.5, 0.2, -0.3], "
    'intercepts = [0.5], post_transform = "PROBIT">(x) }',
    "the place of a row": f"g (float[N] x) => (float[] y) <{_ZERO_AND_ONE}> {{ {_NUMBERS} "
    "f = Cast<to = 1>(r) y = Add(x, f) }",
    "the place of a row alone": f"g (float[N] x) => (int64[] y) <{_ZERO_AND_ONE}> {{ {_NUMBERS} y = Neg(r) }}",
    "an element by the place of a row": f"g (float[N] x, float[64] w) => (float[] y) <{_ZERO_AND_ONE}> {{ {_NUMBERS} "
    "t = Gather(w, r) y = Add(x, t) }",
    "the elements at the places of rows": f"g (float[N, 4] x) => (float[] y) <{_ZERO_AND_ONE}, int64[1] flat = {{-1}}> "
    f"{{ {_NUMBERS} f = Reshape(x, flat) y = Gather(f, r) }}",
    "the next row for each": f"""g (float[N, 2] x) => (float[] y) <{_ZERO_AND_ONE}> {{ {_NUMBERS}
        next = Add(r, b) around = Mod(next, s) y = Gather(x, around) }}""",
    "the row before for each": f"""g (float[N, 2] x) => (float[] y) <{_ZERO_AND_ONE}> {{ {_NUMBERS}
        before = Sub(r, b) y = Gather(x, before) }}""",
    "a place before the row's first": f"""g (float[N, 4] x, int64[N] i_index) => (float[] y)
        <{_ZERO_AND_ONE}, int64 width = {{4}}, int64[1] flat = {{-1}}> {{ {_NUMBERS}
        f = Reshape(x, flat) start = Mul(r, width) o = Mul(i_index, a) place = Sub(o, b) p = Add(start, place)
        y = Gather(f, p) }}""",
    "elements placed in the row before": f"""g (float[N, 2] x) => (float[] y)
        <{_ZERO_AND_ONE}, int64[1] at = {{-1}}> {{ {_NUMBERS}
        before = Sub(r, b) c = Unsqueeze(before, at) y = ScatterND(x, c, x) }}""",
    "a table as long as there are rows": f"g (float[N] x, float[64] w) => (float[] y) <int64[1] zero = {{0}}> "
    f"{{ {_ROWS} "
    "t = Slice(w, zero, n) y = Add(x, t) }",
    "places of the largest": "g (float[N, 2, 4, 4] x) => (float[] y, int64[] i) { y, "
    "i = MaxPool<kernel_shape = [2, 2]>(x) }",
    # What is taken from all rows.
    "running sum": "g (float[N, 2] x) => (float[] y) <int64 at = {0}> { y = CumSum(x, at) }",
    "running product": "g (float[N, 2] x) => (float[] y) <int64 at = {0}> { y = CumProd(x, at) }",
    "softmax over rows": "g (float[N, 2] x) => (float[] y) { y = Softmax<axis = 0>(x) }",
    "softmax over rows, on another axis": "g (float[N, 2] x) => (float[] y) { t = Transpose(x) s = Softmax(t) "
    "y = Transpose(s) }",
    "softmax over all, flattened": "g (float[N, 2] x) => (float[] y) { y = Softmax<axis = -2>(x) }",
    "hardmax over rows": "g (float[N, 2] x) => (float[] y) { y = Hardmax<axis = 0>(x) }",
    "softmax over all in one row": "g (float[N, 2] x) => (float[] y) <int64[2] flat = {1, -1}> "
    "{ f = Reshape(x, flat) s = Softmax(f) shape = Shape(x) y = Reshape(s, shape) }",
    "mean over rows": "g (float[N, 2] x) => (float[] y) <int64[1] at = {0}> { m = ReduceMean(x, at) y = Sub(x, m) }",
    "largest of all": "g (float[N, 2] x) => (float[] y) { m = ReduceMax(x) y = Div(x, m) }",
    "normalisation over rows": """g (float[N, 2] x) => (float[] y) <int64[1] at = {0}, float e = {0.00001}> {
        m = ReduceMean(x, at) d = Sub(x, m) q = Mul(d, d) v = ReduceMean(q, at) w = Add(v, e) s = Sqrt(w) y = Div(d, s)
    }""",
    "batch normalisation in training": "g (float[N, 3] x, float[3] w, float[3] b) => (float[] y, float[] m, float[] v) "
    "{ y, m, v = BatchNormalization<training_mode = 1>(x, w, b, w, b) }",
    "instance normalisation along rows": "g (float[1, 2, N] x, float[2] w, float[2] b) => (float[] y) "
    "{ y = InstanceNormalization(x, w, b) }",
    "mean-variance normalisation": "g (float[N, 2, 3, 3] x) => (float[] y) { y = MeanVarianceNormalization(x) }",
    "Lp normalisation over rows": "g (float[N, 2] x) => (float[] y) { y = LpNormalization<axis = 0>(x) }",
    "layer normalisation over rows": "g (float[2, N] x) => (float[] y) <float[1] w = {1}> "
    "{ y = LayerNormalization(x, w) }",
    "a loss over all rows": "g (float[N, 3] x, int64[N] c_index) => (float[] y) "
    "{ l = SoftmaxCrossEntropyLoss(x, c_index) y = Add(x, l) }",
    "rows sorted": f"g (float[N] x) => (float[] y) {{ {_ROWS} y, i = TopK(x, n) }}",
    "the largest row": "g (float[N, 2] x) => (int64[] y) { y = ArgMax<axis = 0, keepdims = 1>(x) }",
    "dynamic quantisation": "g (float[N, 4] x) => (float[] y) { q, s, z = DynamicQuantizeLinear(x) "
    "y = DequantizeLinear(q, s, z) }",
    "a dynamically quantised layer": "g (float[N, 4] x, uint8[4, 3] w) => (float[] y) <float s = {0.1}> "
    "{ y = com.microsoft.DynamicQuantizeMatMul(x, w, s) }",
    "neighbours under a window": "g (float[1, 1, N] x) => (float[] y) { y = AveragePool<kernel_shape = [3], "
    "pads = [1, 1]>(x) }",
    "neighbours under a kernel": "g (float[1, 1, N] x, float[1, 1, 3] w) => (float[] y) "
    "{ y = Conv<pads = [1, 1]>(x, w) }",
    "rows as time": "g (float[N, 1, 2] x, float[1, 8, 2] w, float[1, 8, 2] r) => (float[] y) "
    "{ y = LSTM<hidden_size = 2>(x, w, r) }",
    "rows as time, both ways": "g (float[N, 1, 2] x, float[2, 6, 2] w, float[2, 6, 2] r) => (float[] y) "
    '{ y = GRU<hidden_size = 2, direction = "bidirectional">(x, w, r) }',
    "rows attend to rows": "g (float[1, N, 4] x) => (float[] y) "
    "{ y = Attention<q_num_heads = 1, kv_num_heads = 1>(x, x, x) }",
    "rows compared with rows": "g (float[N, 2] x) => (float[] y) { t = Transpose(x) s = MatMul(x, t) "
    "y = MatMul(s, x) }",
    "every row with every row": "g (float[N] x) => (float[] y) <int64[1] at = {1}> { u = Unsqueeze(x, at) "
    "y = Sub(x, u) }",
    "a contraction over rows": 'g (float[N, 2] x) => (float[] y) { y = Einsum<equation = "ij,ik->jk">(x, x) }',
    "a product over rows": "g (float[N, 2] x, float[N, 3] z) => (float[] y) { y = Gemm<transA = 1>(x, z) }",
    "rows cut in half": f"""g (float[N, 2] x) => (float[] y) <int64[1] zero = {{0}}, int64[1] two = {{2}}> {{
        {_ROWS} h = Div(n, two) y = Slice(x, zero, h, zero)
    }}""",
    "rows and elements transposed by a reshape": "g (float[N, 4] x) => (float[] y) <int64[2] shape = {4, -1}> "
    "{ t = Reshape(x, shape) y = Transpose(t) }",
    "rows padded": "g (float[N, 2] x) => (float[] y) <int64[4] pads = {1, 0, 0, 0}> { y = Pad(x, pads) }",
    "rows resized": "g (float[1, 1, N] x) => (float[] y) <float[3] s = {1, 1, 2}> "
    '{ y = Resize<mode = "linear">(x, , s) }',
    "rows over each other": "g (float[N, 4] x) => (float[] y) { y = Trilu(x) }",
    "rows and themselves again": "g (float[N, 2] x) => (float[] y) { y = Concat<axis = 0>(x, x) }",
    "each row twice": "g (float[N, 2] x) => (float[] y) <int64[2] t = {2, 1}> { y = Tile(x, t) }",
    # What depends on how many rows there are.
    "divided by the number of rows": f"g (float[N, 2] x) => (float[] y) {{ {_ROWS} f = Cast<to = 1>(n) "
    f"y = Div(x, f) }}",
    "scaled by a root of the number of rows": f"g (float[N, 2] x) => (float[] y) {{ {_ROWS} f = Cast<to = 1>(n) "
    f"r = Sqrt(f) y = Div(x, r) }}",
    "divided by the number of rows, in many places": f"""g (float[N, 9, 8] x) => (float[] y)
        <int64[9, 1] a = {{0, 0, 0, 0, 0, 0, 0, 0, 0}}, int64[1, 8] b = {{0, 0, 0, 0, 0, 0, 0, 0}}> {{
        {_ROWS} p = Add(n, a) q = Add(p, b) f = Cast<to = 1>(q) y = Div(x, f)
    }}""",
    "told how many rows there are": "g (float[N, 2] x) => (int64[] y) { y = Shape(x) }",
    "dropped if there is one row": "g (float[N, 2] x) => (float[] y) { y = Squeeze(x) }",
    "one branch for all": """g (float[N, 2] x) => (float[] y) <float limit = {5}, int64[2] at = {0, 1}> {
        m = ReduceMax<keepdims = 0>(x, at) c = Greater(m, limit)
        y = If(c) <then_branch = t () => (float[N, 2] a) { a = Neg(x) }, else_branch = e () => (float[N, 2] b)
            { b = Abs(x) }>
    }""",
    "a branch by the number of rows": f"""g (float[N, 2] x) => (float[] y) <int64[1] two = {{2}}> {{
        {_ROWS} c = Greater(n, two)
        y = If(c) <then_branch = t () => (float[N, 2] a) {{ a = Neg(x) }}, else_branch = e ()
            => (float[N, 2] b) {{ b = Abs(x) }}>
    }}""",
    "a pass for each row": f"""g (float[N, 2] x) => (float[] y) <bool go = {{1}}> {{ {_ROWS} s = Squeeze(n)
        y = Loop(s, go, x) <body = body (int64 i, bool c, float[N, 2] before) => (bool d, float[N, 2] after)
        {{ d = Identity(c) after = Add(before, x) }}>
    }}""",
    "passes until all rows are large": """g (float[N, 2] x) => (float[] y) <bool go = {1}, float limit = {9}> {
        y = Loop(, go, x) <body = body (int64 i, bool c, float[N, 2] before) => (bool d, float[N, 2] after)
        { a = Abs(before) one = Constant<value_float = 1.0>() after = Add(a, one)
            m = ReduceMin<keepdims = 0>(after) d = Less(m, limit) }>
    }""",
    "a walk along the rows": """g (float[N, 2] x) => (float[] y) <float[2] zero = {0, 0}> {
        s, y = Scan<num_scan_inputs = 1, body = body (float[2] before, float[2] now) => (float[2] after, float[2] each)
        { after = Add(before, now) each = Identity(after) }>(zero, x)
    }""",
    "eye of rows": "g (float[N, 4] x) => (float[] y) { e = EyeLike(x) y = Mul(x, e) }",
    # Rows left out, places told.
    "places of what is not zero": "g (float[N] x) => (int64[] y) { y = NonZero(x) }",
    "each element once": "g (float[N] x) => (float[] y) { y = Unique(x) }",
    "each element once, counted": "g (int64[N] x) => (int64[] y, int64[] c) { y, i, j, c = Unique(x) }",
    "some rows": "g (float[N] x, bool[N] k) => (float[] y) { y = Compress(x, k) }",
    "boxes that hide others": "g (float[1, N, 4] x, float[1, 1, N] s) => (int64[] y) <int64 k = {9}> "
    "{ y = NonMaxSuppression(x, s, k) }",
    "regions of any row": "g (float[N, 1, 4, 4] x, float[N, 4] r, int64[N] i_index) => (float[] y) <int64 m = {0}> "
    "{ b = Sigmoid(r) z = Mul(i_index, m) y = RoiAlign(x, b, z) }",
    "regions by their numbers": "g (float[N, 1, 4, 4] x) => (float[] y) <float[1, 5] r = {0, 0, 0, 2, 2}> "
    "{ p = MaxRoiPool<pooled_shape = [1, 1]>(x, r) y = Add(x, p) }",
    "places in all rows": "g (float[N, 1, 2, 2] x, int64[N, 1, 2, 2] i_index) => (float[] y) "
    "{ y = MaxUnpool<kernel_shape = [2, 2], strides = [2, 2]>(x, i_index) }",
    "as many parts as the longest": "g (string[N] x) => (string[] y) { y, n = StringSplit(x) }",
    "words left out": 'g (string[N] x) => (string[] y) { y = StringNormalizer<stopwords = ["a"], locale = "C">(x) }',
    "a row of features": 'g (float[N] x) => (float[] y) { y = ai.onnx.ml.Normalizer<norm = "MAX">(x) }',
    # Chance.
    "noise on each": "g (float[N, 2] x) => (float[] y) { r = RandomNormalLike(x) y = Add(x, r) }",
    "noise of all alike": "g (float[N, 2] x) => (float[] y) { r = RandomUniformLike<seed = 1.0>(x) y = Add(x, r) }",
    "noise of one shape": "g (float[N, 2] x) => (float[] y) { r = RandomNormal<shape = [1, 2]>() y = Add(x, r) }",
    "uniform noise of one shape": "g (float[N, 2] x) => (float[] y) { r = RandomUniform<shape = [1, 2]>() "
    "y = Add(x, r) }",
    "coins": "g (float[N, 64] x) => (float[] y) { s = Sigmoid(x) y = Bernoulli(s) }",
    "draws": "g (float[N, 64] x) => (int32[] y) { y = Multinomial<sample_size = 32>(x) }",
    "dropout in training": "g (float[N, 64] x) => (float[] y) <float r = {0.5}, bool t = {1}> { y = Dropout(x, r, t) }",
}

OPSETS = {"running product": '"" : 26', "rows attend to rows": '"" : 23', "softmax over all, flattened": '"" : 11'}
"""What they are written for, where it is not the usual one."""

NOT_TOLD = {
    "the elements at the places of rows",
    "the row before for each",
    "a place before the row's first",
    "elements placed in the row before",
    "divided by the number of rows, in many places",
    "a branch by the number of rows",
    "rows and elements transposed by a reshape",
    "words left out",
}
"""Those of which the table cannot tell that they mix rows; it refutes the others."""
