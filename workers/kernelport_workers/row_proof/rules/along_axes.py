"""Operators that work along some axes: on others than that of the rows only."""

from dataclasses import replace

from kernelport_workers.row_proof.dimensions import Size
from kernelport_workers.row_proof.indices import Index
from kernelport_workers.row_proof.nodes import MICROSOFT, ML, Node, off_axis, rule, whole_axis
from kernelport_workers.row_proof.rules.elementwise import folded
from kernelport_workers.row_proof.rules.shapes import named_size, real_sizes
from kernelport_workers.row_proof.values import Mixed, Unknown, Value, constant, meet, of_content


@rule("Softmax", "LogSoftmax", "Hardmax")
def softmax(node: Node) -> Value:
    value = node.tensor(0)
    if node.version >= 13:
        axes = [whole_axis(node.attribute("axis", -1), value.rank)]
    else:
        # Flattened to a matrix: along all axes from `axis` on.
        axes = list(range(whole_axis(node.attribute("axis", 1), value.rank), value.rank))
    off_axis(value, axes, "normalises along")
    return value.like()


@rule("LpNormalization", ignored={"p"})
def one_axis_normalization(node: Node) -> Value:
    value = node.tensor(0)
    off_axis(value, [whole_axis(node.attribute("axis", -1), value.rank)], "normalises along")
    return value.like()


@rule("CumSum", "CumProd", ignored={"exclusive", "reverse"})
def cumulative(node: Node) -> Value:
    value = node.tensor(0)
    if value.rows is not None:
        axes = [whole_axis(axis, value.rank) for axis in node.integers(1)]
        off_axis(value, axes, "sums along" if node.operator == "CumSum" else "multiplies along")
    node.constant(1)
    return value.like()


_REDUCTIONS = ["Sum", "Mean", "Max", "Min", "Prod", "L1", "L2", "LogSum", "LogSumExp", "SumSquare"]
_AXES_ARE_AN_INPUT = {"ReduceSum": 13}  # the others: from opset 18 on


@rule(*(f"Reduce{name}" for name in _REDUCTIONS))
def reduce(node: Node) -> Value:
    value = node.any(0)
    axes = node.attribute("axes")
    if node.version >= _AXES_ARE_AN_INPUT.get(node.operator, 18):
        if node.has(1) and node.any(1).content is None:
            node.constant(1)
            if value.rows is not None:
                raise Unknown("takes axes that cannot be followed")
            return constant()
        axes = node.integers(1) if node.has(1) else None
    keep, skip_if_none = node.attribute("keepdims", 1), node.attribute("noop_with_empty_axes", 0)
    if not axes and skip_if_none:
        node.tensor(0)
        return value.like()
    if value.content is not None and value.rank == 1 and (not axes or list(axes) in ([0], [-1])):
        return _reduced_shape(node, value, keep)
    node.tensor(0)
    return reduced(value, axes, keep, "reduces along")


def _reduced_shape(node: Node, value: Value, keep: bool) -> Value:
    """The product or sum of all sizes of a shape."""
    operator = {"ReduceProd": "Mul", "ReduceSum": "Add"}.get(node.operator)
    if operator is None or value.content is None or value.content.dtype.kind not in "iO" or not value.content.size:
        return reduced(node.tensor(0), None, keep, "reduces along")
    total = folded(operator, value.content)
    return of_content(total.reshape(1) if keep else total)


def reduced(value: Value, axes: list[int] | None, keep: bool, verb: str) -> Value:
    """A tensor without some of its axes, or with one element on each; None: all."""
    if value.dims is None and value.rows is None:
        return constant()
    rank = value.rank
    gone = {whole_axis(axis, rank) for axis in axes} if axes else set(range(rank))
    off_axis(value, gone, verb)
    kept = range(rank) if keep else [axis for axis in range(rank) if axis not in gone]
    dims: list[Size] = [1 if axis in gone else value.shape[axis] for axis in kept]
    return value.with_rows(dims, list(kept).index(value.rows.axis)) if value.rows else constant(dims)


@rule("ArgMax", "ArgMin", ignored={"select_last_index"})
def arg_extreme(node: Node) -> Value:
    value, axis = node.tensor(0), node.attribute("axis", 0)
    result = reduced(value, [axis], node.attribute("keepdims", 1), "picks one of")
    return result if value.dims is None else replace(result, index=(Index(0, value.shape[axis]),))


@rule("TopK", ignored={"largest", "sorted"})
def top_k(node: Node) -> list[Value]:
    value = node.tensor(0)
    axis = whole_axis(node.attribute("axis", -1), value.rank)
    off_axis(value, [axis], "sorts")
    if node.version < 10:
        count: Size = node.attribute("k")
    elif node.any(1).content is None:
        node.constant(1)
        count = named_size(node, axis)
    else:
        (count,) = real_sizes(node, node.sizes(1))
    dims = [*value.shape[:axis], count, *value.shape[axis + 1 :]]
    result = value.with_rows(dims, value.rows.axis) if value.rows else constant(dims)
    return [result, replace(result, index=(Index(0, value.shape[axis]),))]


@rule("LayerNormalization", "RMSNormalization", ignored={"epsilon", "stash_type"})
@rule("SimplifiedLayerNormalization", ignored={"epsilon", "stash_type"})
def layer_normalization(node: Node) -> list[Value]:
    value = node.tensor(0)
    axis = whole_axis(node.attribute("axis", -1), value.rank)
    axes = list(range(axis, value.rank))
    off_axis(value, axes, "normalises along")
    node.constants(*range(1, node.count))
    result = meet([value.like(), *(node.tensor(index) for index in range(1, node.count) if node.has(index))])
    if result.dims is None or result.rank != value.rank:
        raise Unknown("has a scale of more axes than its input")
    statistics = reduced(value, axes, True, "normalises along")
    return [result, statistics, statistics]


@rule("SkipLayerNormalization", "SkipSimplifiedLayerNormalization", domain=MICROSOFT, ignored={"epsilon"})
def skip_layer_normalization(node: Node) -> list[Value]:
    value = meet([node.tensor(0), node.tensor(1)])
    off_axis(value, [value.rank - 1], "normalises along")
    node.constants(*range(2, node.count))
    statistics = reduced(value, [-1], True, "normalises along")
    return [value, statistics, statistics, value]


@rule("BatchNormalization", ignored={"epsilon", "momentum", "consumed_inputs"})
def batch_normalization(node: Node) -> Value:
    value = node.tensor(0)
    node.constants(1, 2, 3, 4)
    training = node.attribute("training_mode", 0)
    if node.version < 7:
        training = not node.attribute("is_test", 0)
    # Before opset 14, training shows in the outputs that it gives.
    if training or any(node.outputs[1:]):
        raise Mixed("is in training mode: it normalises along the rows")
    if not node.attribute("spatial", 1):
        raise Unknown("has a scale for each element")
    if value.rank < 2 or (value.rows is not None and value.rows.axis == 1):
        raise Unknown("has its channels where the rows stand")
    return value.like()


@rule("InstanceNormalization", "GroupNormalization", ignored={"epsilon", "num_groups", "stash_type", "consumed_inputs"})
def instance_normalization(node: Node) -> Value:
    value = node.tensor(0)
    node.constants(1, 2)
    off_axis(value, range(1, value.rank), "normalises along")
    return value.like()


@rule("LRN", ignored={"alpha", "beta", "bias", "size"})
def local_response_normalization(node: Node) -> Value:
    value = node.tensor(0)
    off_axis(value, [1], "normalises along")
    return value.like()


@rule("MeanVarianceNormalization")
def mean_variance_normalization(node: Node) -> Value:
    value = node.tensor(0)
    axes = [whole_axis(axis, value.rank) for axis in node.attribute("axes", [0, 2, 3])]
    off_axis(value, axes, "normalises along")
    return value.like()


@rule("Trilu", ignored={"upper"})
@rule("Trilu", domain=MICROSOFT, ignored={"upper"})
def triangle(node: Node) -> Value:
    value = node.tensor(0)
    node.constants(1)
    off_axis(value, [value.rank - 2, value.rank - 1], "cuts a triangle out of")
    return value.like()


@rule("Det")
def determinant(node: Node) -> Value:
    value = node.tensor(0)
    return reduced(value, [-2, -1], False, "takes the determinant along")


@rule("ReverseSequence")
def reverse_sequence(node: Node) -> Value:
    value, lengths = node.tensor(0), node.tensor(1)
    time, batch = node.attribute("time_axis", 0), node.attribute("batch_axis", 1)
    time, batch = whole_axis(time, value.rank), whole_axis(batch, value.rank)
    off_axis(value, [time], "reverses")
    return _beside(value, lengths, batch)


def _beside(value: Value, each: Value, axis: int) -> Value:
    """A tensor that is changed by a vector of one element for each place on `axis`."""
    if each.rows is None and (value.rows is None or value.rows.axis != axis):
        return value.like()
    if each.rows is None or value.rows != replace(each.rows, axis=axis):
        raise Unknown("does not find the same rows in all its inputs")
    return value.like()


@rule("SoftmaxCrossEntropyLoss", "NegativeLogLikelihoodLoss", ignored={"ignore_index"})
def loss(node: Node) -> list[Value]:
    scores, labels = node.tensor(0), node.tensor(1)
    node.constants(2)
    if node.text("reduction", "mean") != "none":
        raise Mixed("sums along the rows")
    off_axis(scores, [1], "normalises along")
    if scores.rows is None or labels.rows is None or labels.rows.axis != max(scores.rows.axis - 1, 0):
        raise Unknown("does not find the same rows in all its inputs")
    if (scores.rows.outer, scores.rows.inner) != (labels.rows.outer, labels.rows.inner):
        raise Unknown("meets rows with rows in another order")
    return [labels, scores]


@rule("Scaler", domain=ML, ignored={"offset", "scale"})
@rule(
    "Imputer",
    domain=ML,
    ignored={f"{a}_{b}" for a in ("imputed_value", "replaced_value") for b in ("float", "floats", "int64", "int64s")},
)
@rule("Normalizer", domain=ML, ignored={"norm"})
def each_row_of_a_table(node: Node) -> Value:
    return table(node.tensor(0))


def table(value: Value) -> Value:
    """A matrix of one row for each row: what ai.onnx.ml works on.

    Raises:
        Mixed: another tensor; one axis alone is taken for one row.
        Unknown: more than two axes.
    """
    if value.rows is not None and (value.rank == 1 or value.rows.axis != 0):
        raise Mixed("takes the rows for the features of one")
    if value.rows is not None and value.rank != 2:
        raise Unknown("takes a tensor that has not 2 axes")
    return value.like()
