"""Products of matrices: rows may be a batch or the rows of the left operand, never what is summed over."""

from collections.abc import Hashable, Sequence

from kernelport_workers.row_proof.dimensions import Size, broadcast
from kernelport_workers.row_proof.nodes import MICROSOFT, Node, rule
from kernelport_workers.row_proof.values import Mixed, Rows, Unknown, Value, constant

Labels = Sequence[Hashable]


def contract(terms: Sequence[tuple[Value, Labels]], output: Labels) -> Value:
    """The sum of products of Einstein's notation. Axes of one label are broadcast."""
    if any(value.dims is None for value, _ in terms):
        if any(value.rows for value, _ in terms):
            raise Unknown("meets a tensor of unknown rank")
        return constant()
    sizes: dict[Hashable, Size] = {}
    for value, labels in terms:
        if len(labels) != value.rank:
            raise Unknown(f"names {len(labels)} axes of {value.rank}")
        for one, size in zip(labels, value.shape, strict=True):
            met = broadcast(sizes.get(one, 1), size)
            if met is None:
                raise Unknown(f"meets {sizes[one]} with {size} elements")
            sizes[one] = met
    at_rows = {(labels[value.rows.axis], value.rows.outer, value.rows.inner) for value, labels in terms if value.rows}
    if not at_rows:
        return constant([sizes[one] for one in output])
    if len({one for one, _, _ in at_rows}) > 1:
        raise Mixed("multiplies rows on one axis with rows on another")
    if len(at_rows) > 1:
        raise Unknown("meets rows with rows in another order")
    ((place, outer, inner),) = at_rows
    if place not in output:
        raise Mixed("sums along the rows")
    for value, labels in terms:
        at = [axis for axis, one in enumerate(labels) if one == place]
        if value.rows is None and any(value.shape[axis] != 1 for axis in at):
            raise Unknown("meets a constant of several elements where the rows stand")
        if value.rows is not None and len(at) > 1:
            raise Mixed("takes a diagonal along the rows")
    if list(output).count(place) > 1:
        raise Mixed("has the rows on two axes")
    rows = Rows(list(output).index(place), outer, inner)
    return Value(tuple(rows.size if one == place else sizes[one] for one in output), rows=rows)


def matrix_product(left: Value, right: Value) -> Value:
    """NumPy's matmul."""
    if left.dims is None or right.dims is None:
        return contract([(left, ()), (right, ())], ())
    left_labels = [*range(2 - left.rank, 0), "m", "k"][-left.rank :] if left.rank > 1 else ["k"]
    right_labels = [*range(2 - right.rank, 0), "k", "n"][-right.rank :] if right.rank > 1 else ["k"]
    if not left.rank or not right.rank:
        raise Unknown("multiplies a scalar")
    batch = range(2 - max(left.rank, right.rank, 2), 0)
    output = [*batch, *(["m"] if left.rank > 1 else []), *(["n"] if right.rank > 1 else [])]
    return contract([(left, left_labels), (right, right_labels)], output)


@rule("MatMul")
def matmul(node: Node) -> Value:
    return matrix_product(node.tensor(0), node.tensor(1))


@rule("MatMulInteger")
@rule("MatMulIntegerToFloat", domain=MICROSOFT)
def matmul_integer(node: Node) -> Value:
    left, right = node.tensor(0), node.tensor(1)
    for index in range(2, node.count):
        if node.has(index):
            scale_for_all(node, index, left, right)
    return matrix_product(left, right)


def scale_for_all(node: Node, index: int, left: Value, right: Value) -> None:
    """A scale or a zero point of a product: of one element, or one for each column of a right operand without rows."""
    value = node.constant(index)
    if value.dims is None:
        raise Unknown("has a scale of unknown shape")
    one = all(size == 1 for size in value.dims)
    if not one and (left.rows is not None and left.rows.axis == left.rank - 2 and right.rows is None):
        # A vector beside the left operand is one for each of its rows.
        if value.dims != right.shape[-1:] or (node.operator == "MatMulInteger" and index == 2):
            raise Unknown("has a scale for each row")
    elif not one:
        raise Unknown("has a scale for each row or column")


@rule("QLinearMatMul")
def quantized_matmul(node: Node) -> Value:
    left, right = node.tensor(0), node.tensor(3)
    for index in (1, 2, 6, 7):
        if any(size != 1 for size in node.constant(index).shape):
            raise Unknown("has a scale for each row")
    for index in (4, 5):
        if right.rows is not None and any(size != 1 for size in node.constant(index).shape):
            raise Unknown("has a scale for each column")
        node.constant(index)
    return matrix_product(left, right)


@rule("Gemm", ignored={"alpha", "beta"})
def gemm(node: Node) -> Value:
    left, right = node.tensor(0), node.tensor(1)
    output = ["m", "n"]
    terms: list[tuple[Value, Labels]] = [
        (left, ["k", "m"] if node.attribute("transA", 0) else ["m", "k"]),
        (right, ["n", "k"] if node.attribute("transB", 0) else ["k", "n"]),
    ]
    if node.attribute("broadcast", 1) != 1 and node.version < 7:
        raise Unknown("broadcasts by the rules of opset 6")
    if node.has(2):
        addend = node.tensor(2)
        if addend.rank > 2:
            raise Unknown("adds a tensor of more than 2 axes")
        terms.append((addend, output[2 - addend.rank :]))
    return contract(terms, output)


@rule("Einsum")
def einsum(node: Node) -> Value:
    values = node.tensors()
    equation = node.text("equation", "").replace(" ", "")
    if "..." in equation and any(value.dims is None for value in values):
        raise Unknown("takes a tensor of unknown rank")
    left, arrow, right = equation.partition("->")
    terms: list[tuple[Value, Labels]] = []
    for value, text in zip(values, left.split(","), strict=True):
        terms.append((value, _einsum_labels(text, value.rank if "..." in text else 0)))
    if arrow:
        ellipsis = max(
            (
                len(labels) - len(text) + 3
                for (_, labels), text in zip(terms, left.split(","), strict=True)
                if "." in text
            ),
            default=0,
        )
        output = _einsum_labels(right, len(right) - 3 + ellipsis if "..." in right else 0)
    else:
        letters = [one for _, labels in terms for one in labels]
        broadcast_axes = sorted({one for one in letters if isinstance(one, int)})
        output = [*broadcast_axes, *sorted(one for one in letters if isinstance(one, str) and letters.count(one) == 1)]
    return contract(terms, output)


def _einsum_labels(text: str, rank: int) -> list[Hashable]:
    """A label for each axis; those of an ellipsis are negative numbers, counted from its end."""
    before, ellipsis, after = text.partition("...")
    hidden = range(-(rank - len(before) - len(after)), 0) if ellipsis else range(0)
    return [*before, *hidden, *after]


@rule("FusedMatMul", "TransposeMatMul", domain=MICROSOFT, ignored={"alpha"})
def fused_matmul(node: Node) -> Value:
    if node.attribute("transBatchA", 0) or node.attribute("transBatchB", 0):
        raise Unknown("transposes batches")
    left, right = node.tensor(0), node.tensor(1)
    left = _swapped(left) if node.attribute("transA", 0) else left
    right = _swapped(right) if node.attribute("transB", 0) else right
    return matrix_product(left, right)


def _swapped(value: Value) -> Value:
    """With the last two axes in the other order."""
    if value.dims is None or value.rank < 2:
        return value
    order = [*range(value.rank - 2), value.rank - 1, value.rank - 2]
    dims = [value.shape[axis] for axis in order]
    return value.with_rows(dims, order.index(value.rows.axis)) if value.rows else constant(dims)


@rule("MatMulNBits", domain=MICROSOFT, ignored={"bits", "block_size", "accuracy_level", "K"})
def packed_matmul(node: Node) -> Value:
    value = node.tensor(0)
    node.constants(*range(1, node.count))
    if value.rows is not None and value.rows.axis == value.rank - 1:
        raise Mixed("sums along the rows")
    dims = [*value.shape[:-1], node.attribute("N")]
    return value.with_rows(dims, value.rows.axis) if value.rows else constant(dims)
