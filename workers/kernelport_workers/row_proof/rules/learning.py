"""Trees, linear models, support vectors and text features: each row of a table by itself."""

from kernelport_workers.row_proof.dimensions import Size
from kernelport_workers.row_proof.nodes import ML, Node, off_axis, rule
from kernelport_workers.row_proof.rules.along_axes import table
from kernelport_workers.row_proof.rules.shapes import named_size
from kernelport_workers.row_proof.values import Mixed, Unknown, Value, constant

_MODELS = [
    "LinearClassifier",
    "LinearRegressor",
    "SVMClassifier",
    "SVMRegressor",
    "TreeEnsemble",
    "TreeEnsembleClassifier",
    "TreeEnsembleRegressor",
]
# fmt: off
_LEARNED = [
    "aggregate_function", "base_values", "base_values_as_tensor", "class_ids", "class_nodeids", "class_treeids",
    "class_weights", "class_weights_as_tensor", "classlabels_int64s", "classlabels_ints", "classlabels_strings",
    "coefficients", "intercepts", "kernel_params", "kernel_type", "leaf_targetids", "leaf_weights",
    "membership_values", "multi_class", "n_supports", "n_targets", "nodes_falseleafs", "nodes_falsenodeids",
    "nodes_featureids", "nodes_hitrates", "nodes_hitrates_as_tensor", "nodes_missing_value_tracks_true",
    "nodes_modes", "nodes_nodeids", "nodes_splits", "nodes_treeids", "nodes_trueleafs", "nodes_truenodeids",
    "nodes_values", "nodes_values_as_tensor", "one_class", "post_transform", "prob_a", "prob_b", "rho",
    "support_vectors", "target_ids", "target_nodeids", "target_treeids", "target_weights", "target_weights_as_tensor",
    "targets", "tree_roots", "vectors_per_class",
]
# fmt: on


@rule(*_MODELS, domain=ML, ignored=_LEARNED)
def table_model(node: Node) -> list[Value]:
    value = table(node.tensor(0))
    if value.dims is None or value.rank != 2:
        return [constant(), constant()]
    rows = value.shape[0]
    if node.operator == "LinearClassifier" and node.text("post_transform", "NONE") == "PROBIT":
        raise Mixed("writes the probits of a row into another's place, in ONNX Runtime")
    classifies = node.operator.endswith("Classifier")
    shapes: list[list[Size]] = [[rows]] if classifies else []
    shapes.append([rows, _width(node)])
    return [value.with_rows(shape, 0) for shape in shapes]


def _width(node: Node) -> Size:
    """How many targets or scores ONNX Runtime gives for each row."""
    labels = max(len(node.attribute(f"classlabels_{kind}", ())) for kind in ("ints", "int64s", "strings"))
    width: int | None = None
    match node.operator:
        case "LinearRegressor":
            width = node.attribute("targets", 1)
        case "SVMRegressor":
            width = 1
        case "TreeEnsemble" | "TreeEnsembleRegressor":
            width = node.attribute("n_targets")
        case "TreeEnsembleClassifier":
            width = labels
        case "LinearClassifier":
            scores = len(node.attribute("intercepts", ()))
            width = 2 if (scores, labels) == (1, 2) else scores
    return named_size(node, 1) if width is None else width


@rule("FeatureVectorizer", domain=ML, ignored={"inputdimensions"})
def feature_vectorizer(node: Node) -> Value:
    values = [table(value) for value in node.tensors()]
    if any(value.rows != values[0].rows for value in values):
        raise Unknown("does not find the same rows in all its inputs")
    if values[0].rows is None:
        return constant()
    return values[0].with_rows([values[0].shape[0], named_size(node, 1)], 0)


@rule("OneHotEncoder", domain=ML, ignored={"zeros"})
def one_hot_encoder(node: Node) -> Value:
    value = node.tensor(0)
    numbers, words = node.attribute("cats_int64s", ()), node.attribute("cats_strings", ())
    dims = [*value.shape, len(numbers or words)]
    return value.with_rows(dims, value.rows.axis) if value.rows else constant(dims)


@rule("ZipMap", domain=ML, ignored={"classlabels_int64s", "classlabels_strings"})
def zip_map(node: Node) -> Value:
    if node.tensor(0).rows is not None:
        raise Mixed("gives a sequence of maps, which has no axis for rows")
    return constant()


_TEXT = {"max_gram_length", "max_skip_count", "min_gram_length", "mode", "ngram_counts", "ngram_indexes"}


@rule("TfIdfVectorizer", ignored={*_TEXT, "pool_int64s", "pool_strings", "weights"})
def text_features(node: Node) -> Value:
    value = node.tensor(0)
    off_axis(value, [value.rank - 1], "counts words along")
    if value.rows is not None and value.rank != 2:
        raise Unknown("takes a tensor that has not 2 axes")
    dims = [*value.shape[:-1], named_size(node, value.rank - 1)]
    return value.with_rows(dims, 0) if value.rows else constant(dims)
