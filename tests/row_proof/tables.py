"""Samples of models that work on tables and on words: trees, linear models, encoders."""

from tests.row_proof.sample import Sample, one_node, whole

_ML5 = '"" : 21, "ai.onnx.ml" : 5'
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

TABLES: list[Sample] = [
    one_node("float[N, 2] x", "ai.onnx.ml.Scaler<offset = [1.0, 2.0], scale = [0.5, 3.0]>(x)"),
    one_node("float[N, 2] x", "ai.onnx.ml.Imputer<imputed_value_floats = [1.0, 2.0], replaced_value_float = 0.0>(x)"),
    one_node("float[N, 2] x", 'ai.onnx.ml.Normalizer<norm = "L2">(x)'),
    one_node("float[N, 2] x", "ai.onnx.ml.Binarizer<threshold = 0.3>(x)"),
    one_node("float[N, 2] x, float[N, 3] z", "ai.onnx.ml.FeatureVectorizer<inputdimensions = [2, 3]>(x, z)"),
    one_node("float[N, 3] x", "ai.onnx.ml.ArrayFeatureExtractor(x, i)", constants="int64[2] i = {2, 0}"),
    one_node("float[N, 3] x", "ai.onnx.ml.ArrayFeatureExtractor(x, i)", constants="int64 i = {1}"),
    whole(
        "g (string[N, 1] x) => (float[] y) <int64[2] shape = {-1, 2}> { "
        'e = ai.onnx.ml.OneHotEncoder<cats_strings = ["a", "b"], zeros = 1>(x) y = Reshape(e, shape) }'
    ),
    # How scikit-learn's classifiers are written: the class of the largest score.
    whole(
        "g (float[N, 3] x) => (int64[] y) <int64[3] classes = {7, 5, 9}, int64[1] flat = {-1}> { "
        "i = ArgMax<axis = 1>(x) c = ai.onnx.ml.ArrayFeatureExtractor(classes, i) y = Reshape(c, flat) }"
    ),
    whole(
        "g (float[N, 3] x) => (float[] y) <float[2, 3] table = {7, 5, 9, 1, 2, 3}> { "
        "i = ArgMax<axis = 1, keepdims = 0>(x) y = ai.onnx.ml.ArrayFeatureExtractor(table, i) }"
    ),
    one_node("string[N, 2] x", 'ai.onnx.ml.OneHotEncoder<cats_strings = ["a", "b"], zeros = 1>(x)'),
    one_node(
        "string[N, 2] x",
        'ai.onnx.ml.LabelEncoder<keys_strings = ["a", "b"], values_int64s = [3, 5], default_int64 = 7>(x)',
        "int64",
    ),
    one_node(
        "string[N, 2] x",
        'ai.onnx.ml.CategoryMapper<cats_strings = ["a", "b"], cats_int64s = [3, 5], default_int64 = 7>(x)',
        "int64",
    ),
    one_node("float[N, 2] x", "ai.onnx.ml.LinearRegressor<coefficients = [1.0, 2.0], intercepts = [0.5]>(x)"),
    whole(
        "g (float[N, 2] x) => (int64[] y, float[] z) { y, z = ai.onnx.ml.LinearClassifier<classlabels_ints = [0, 1], "
        'coefficients = [1.0, 2.0, -1.0, 3.0], intercepts = [0.5, 0.1], post_transform = "SOFTMAX">(x) }'
    ),
    one_node("float[N, 2] x", f'ai.onnx.ml.SVMRegressor<{_SVM}, n_supports = 3, kernel_type = "RBF">(x)'),
    whole(
        f"g (float[N, 2] x) => (int64[] y, float[] z) {{ y, "
        f"z = ai.onnx.ml.SVMClassifier<{_SVM}, classlabels_ints = [0, 1], "
        'vectors_per_class = [2, 1], kernel_type = "LINEAR">(x) }'
    ),
    one_node(
        "float[N, 2] x",
        f"ai.onnx.ml.TreeEnsembleRegressor<{_TREE}, n_targets = 1, target_ids = [0, 0], target_nodeids = [1, 2], "
        "target_treeids = [0, 0], target_weights = [3.0, 5.0]>(x)",
    ),
    whole(
        f"g (float[N, 2] x) => (int64[] y, float[] z) {{ y, "
        f"z = ai.onnx.ml.TreeEnsembleClassifier<{_TREE}, class_ids = [0, 1], "
        "class_nodeids = [1, 2], class_treeids = [0, 0], class_weights = [1.0, 1.0], classlabels_int64s = [4, 9]>(x) }"
    ),
    one_node(
        "float[N, 2] x",
        "ai.onnx.ml.TreeEnsemble<n_targets = 1, nodes_featureids = [1], "
        "nodes_splits = float[1] {0.1}, nodes_modes = uint8[1] {0}, nodes_truenodeids = [0], nodes_trueleafs = [1], "
        "nodes_falsenodeids = [1], nodes_falseleafs = [1], leaf_targetids = [0, 0], leaf_weights = float[2] {3, 5}, "
        "tree_roots = [0]>(x)",
        opsets=_ML5,
    ),
    # How scikit-learn's ensembles are written: the mean of what their members say.
    *(
        whole(
            f"g (float[N, 2] x) => (float[] y) <int64[3] shape = {{1, -1, {width}}}, int64[1] members = {{0}}> {{ "
            f"{'l, z' if 'Classifier' in member else 'z'} = ai.onnx.ml.{member}(x) one = Reshape(z, shape) "
            "other = Neg(one) both = Concat<axis = 0>(one, other) y = ReduceMax<keepdims = 0>(both, members) }",
            opsets,
        )
        for member, width, opsets in _MEMBERS
    ),
    one_node(
        "string[N, 3] x",
        'TfIdfVectorizer<max_gram_length = 1, min_gram_length = 1, max_skip_count = 0, mode = "TF", '
        'ngram_counts = [0], ngram_indexes = [0, 1], pool_strings = ["a", "b"]>(x)',
    ),
]
