"""Quantisation: rows stay apart where the scale is a constant."""

from collections.abc import Sequence

from kernelport_workers.row_proof.nodes import MICROSOFT, Node, off_axis, rule, whole_axis
from kernelport_workers.row_proof.rules.along_axes import reduced
from kernelport_workers.row_proof.rules.joining import joined
from kernelport_workers.row_proof.values import Mixed, Unknown, Value, constant, meet


@rule("QuantizeLinear", "DequantizeLinear", ignored={"saturate", "output_dtype", "precision"})
@rule("QuantizeLinear", "DequantizeLinear", domain=MICROSOFT)
def quantize(node: Node) -> Value:
    value, scale = node.tensor(0), node.tensor(1)
    if scale.rows is not None or (node.has(2) and node.tensor(2).rows is not None):
        raise Unknown("takes its scale from the rows")
    axis = node.attribute("axis", 1)
    blocks = node.attribute("block_size", 0)
    if value.rows is not None and any(size != 1 for size in scale.shape):
        if blocks or scale.rank != 1:
            raise Unknown("has a scale for each block")
        if whole_axis(axis, value.rank) == value.rows.axis:
            raise Unknown("has a scale for each row")
    return value.like()


@rule("DynamicQuantizeLinear")
@rule("DynamicQuantizeMatMul", "DynamicQuantizeLSTM", domain=MICROSOFT, ignored={"hidden_size", "direction"})
def dynamic_quantization(node: Node) -> list[Value]:
    if any(node.tensor(index).rows for index in range(node.count) if node.has(index)):
        raise Mixed("takes its scale from all rows")
    if node.operator == "DynamicQuantizeLinear":
        return [constant(node.tensor(0).dims), constant(()), constant(())]
    return [constant() for _ in node.outputs]


def _one_each(node: Node, indices: Sequence[int]) -> None:
    for index in indices:
        if node.has(index) and any(size != 1 for size in node.constant(index).shape):
            raise Unknown("has a scale of several elements")


@rule("QLinearAdd", "QLinearMul", domain=MICROSOFT)
def quantized_binary(node: Node) -> Value:
    _one_each(node, [1, 2, 4, 5, 6, 7])
    return meet([node.tensor(0).like(), node.tensor(3).like()])


@rule("QLinearSigmoid", "QLinearLeakyRelu", domain=MICROSOFT, ignored={"alpha"})
def quantized_unary(node: Node) -> Value:
    _one_each(node, [1, 2, 3, 4])
    return node.tensor(0).like()


@rule("QLinearSoftmax", domain=MICROSOFT)
def quantized_softmax(node: Node) -> Value:
    _one_each(node, [1, 2, 3, 4])
    value = node.tensor(0)
    if node.attribute("opset", 13) < 13:
        raise Unknown("normalises by the rules of opset 12")
    off_axis(value, [whole_axis(node.attribute("axis", -1), value.rank)], "normalises along")
    return value.like()


@rule("QLinearGlobalAveragePool", domain=MICROSOFT)
def quantized_global_pool(node: Node) -> Value:
    _one_each(node, [1, 2, 3, 4])
    value = node.tensor(0)
    last = node.attribute("channels_last", 0)
    axes = list(range(1, value.rank - 1) if last else range(2, value.rank))
    return reduced(value, axes, True, "pools along")


@rule("QLinearConcat", domain=MICROSOFT)
def quantized_concat(node: Node) -> Value:
    values = []
    for index in range(2, node.count, 3):
        _one_each(node, [index + 1, index + 2])
        values.append(node.tensor(index).like())
    _one_each(node, [0, 1])
    return joined(values, node.attribute("axis", 0))
