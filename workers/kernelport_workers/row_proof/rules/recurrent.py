"""Recurrent networks and attention: rows are the batch, never the time."""

from collections.abc import Sequence
from dataclasses import replace

from kernelport_workers.row_proof.dimensions import Size
from kernelport_workers.row_proof.nodes import MICROSOFT, Node, off_axis, rule
from kernelport_workers.row_proof.rules.shapes import named_size
from kernelport_workers.row_proof.values import Mixed, Rows, Unknown, Value, constant

_CELL = {
    "activation_alpha",
    "activation_beta",
    "activations",
    "clip",
    "hidden_size",
    "input_forget",
    "linear_before_reset",
}


@rule("LSTM", "GRU", "RNN", ignored=_CELL)
def recurrent(node: Node) -> list[Value]:
    value = node.tensor(0)
    weights, recurrence = node.constant(1), node.constant(2)
    node.constants(3)
    if node.operator == "LSTM":
        node.constants(7)
    if node.version < 7 and node.attribute("output_sequence", 0):
        raise Unknown("gives its outputs by the rules of opset 1")
    if value.rank != 3:
        raise Unknown("takes a tensor that has not 3 axes")
    batch_first = node.attribute("layout", 0)
    batch, time, state_batch = (0, 1, 0) if batch_first else (1, 0, 1)
    node.text("direction", "forward")
    off_axis(value, [time], "remembers from one to the next of")
    off_axis(value, [2], "multiplies along")
    for index, axis in ((4, 0), (5, state_batch), *([(6, state_batch)] if node.operator == "LSTM" else [])):
        if not node.has(index):
            continue
        other = node.tensor(index)
        if other.rows is not None and other.rows.axis != axis:
            raise Mixed("meets rows on one axis with rows on another")
        if _moved(other.rows, batch) != value.rows:
            raise Unknown("does not find the same rows in all its inputs")
    directions, hidden = weights.shape[0], recurrence.shape[-1]
    sequence, rows = value.shape[time], value.shape[batch]
    if batch_first:
        all_steps, last = ([rows, sequence, directions, hidden], 0), ([rows, directions, hidden], 0)
    else:
        all_steps, last = ([sequence, directions, rows, hidden], 2), ([directions, rows, hidden], 1)
    results = [value.with_rows(*shape) for shape in (all_steps, last)]
    return [*results, results[1]]


def _moved(rows: Rows | None, axis: int) -> Rows | None:
    return None if rows is None else replace(rows, axis=axis)


def first_axis(values: Sequence[Value]) -> Rows | None:
    """The rows of tensors that are batches along axis 0.

    Raises:
        Mixed: rows on another axis.
        Unknown: not all have the same rows.
    """
    for value in values:
        if value.rows is not None and value.rows.axis != 0:
            raise Mixed("works along the rows")
    found = [value.rows for value in values]
    if any(rows != found[0] for rows in found):
        raise Unknown("does not find the same rows in all its inputs")
    return found[0]


def batches(node: Node, rows: Rows | None, shapes: Sequence[Sequence[Size] | int]) -> list[Value]:
    """Outputs with the rows on axis 0, by their other sizes or how many others there are."""
    values = []
    for output, others in enumerate(shapes):
        if isinstance(others, int):
            others = (
                [named_size(node, axis, output) for axis in range(1, others + 1)] if output < len(node.outputs) else []
            )
        if rows is None:
            values.append(constant())
        else:
            values.append(Value((rows.size, *others), rows=rows))
    return values


def attention_mask(mask: Value, rows: Rows | None, rank: int) -> None:
    """A mask that is broadcast to scores of `rank` axes with the rows on axis 0."""
    if mask.dims is None or mask.rank > rank:
        raise Unknown("has a mask of unknown shape")
    if mask.rows is not None and (mask.rank != rank or mask.rows != rows):
        raise Mixed("meets rows on one axis with rows on another")
    if rows is not None and mask.rows is None and mask.rank == rank and mask.shape[0] != 1:
        raise Unknown("has a mask of several elements where the rows stand")


_SCORES = {
    "is_causal",
    "left_window_size",
    "qk_matmul_output_mode",
    "right_window_size",
    "scale",
    "softcap",
    "softmax_precision",
}


@rule("Attention", ignored=_SCORES)
def attention(node: Node) -> list[Value]:
    query, key, value = (node.tensor(index) for index in range(3))
    cached = [node.tensor(index) for index in (4, 5, 6) if node.has(index)]
    rows = first_axis([query, key, value, *cached])
    if node.has(3):
        attention_mask(node.tensor(3), rows, 4)
    node.attribute("q_num_heads")
    node.attribute("kv_num_heads")
    if query.rank not in (3, 4):
        raise Unknown("takes a tensor that has not 3 or 4 axes")
    shape: Sequence[Size] | int = [*query.shape[1:-1], value.shape[-1]] if query.rank == 4 else 2
    return batches(node, rows, [shape, 3, 3, 3])


@rule("RotaryEmbedding", ignored={"interleaved", "num_heads", "rotary_embedding_dim"})
def rotary_embedding(node: Node) -> Value:
    value = node.tensor(0)
    caches = [node.tensor(1), node.tensor(2)]
    if node.has(3):
        rows = first_axis([value, node.tensor(3)])
        node.constants(1, 2)
    else:
        rows = first_axis([value, *caches])
    return Value(value.dims, rows=rows)


@rule("RotaryEmbedding", domain=MICROSOFT, ignored={"interleaved", "num_heads", "rotary_embedding_dim", "scale"})
def rotary_embedding_by_places(node: Node) -> Value:
    if node.attribute("is_packed_batching", 0):
        raise Unknown("packs several rows into one")
    value, places = node.tensor(0), node.tensor(1)
    node.constants(2, 3)
    off_axis(value, range(1, value.rank), "works along")
    # One element is where the first token of every row stands.
    if places.rows is None and places.dims == (1,):
        return value
    if places.rows != value.rows:
        raise Unknown("does not find the same rows in all its inputs")
    return value


@rule(
    "Attention",
    domain=MICROSOFT,
    ignored={"num_heads", "qkv_hidden_sizes", "scale", "unidirectional", "mask_filter_value"},
)
def fused_attention(node: Node) -> list[Value]:
    value = node.tensor(0)
    weights = node.constant(1)
    node.constants(2)
    rows = first_axis([value])
    if node.has(3):
        mask = node.tensor(3)
        # Of one axis, it may hold the lengths of all rows and then their starts.
        if mask.rank < 2 or mask.rows != rows:
            raise Unknown("has a mask in which the rows cannot be followed")
    width = weights.shape[-1]
    shape: list[Size] = [value.shape[1], width // 3 if isinstance(width, int) else named_size(node, 2)]
    if node.attribute("qkv_hidden_sizes") is not None:
        shape[1] = node.attribute("qkv_hidden_sizes")[2]
    return batches(node, rows, [shape])


@rule("MultiHeadAttention", domain=MICROSOFT, ignored={"num_heads", "scale", "unidirectional", "mask_filter_value"})
def multi_head_attention(node: Node) -> list[Value]:
    query = node.tensor(0)
    others = [node.tensor(index) for index in (1, 2, 6, 7) if node.has(index)]
    node.constants(3)
    rows = first_axis([query, *others])
    if node.has(4):
        mask = node.tensor(4)
        if mask.rank < 2 or mask.rows != rows:
            raise Unknown("has a mask in which the rows cannot be followed")
    if node.has(5):
        attention_mask(node.tensor(5), rows, 4)
    if query.rank != 3:
        return batches(node, rows, [2, 3, 3])
    value = node.tensor(2) if node.has(2) else query
    width = value.shape[-1] if node.has(2) and value.rank == 3 else named_size(node, 2)
    return batches(node, rows, [[query.shape[1], width], 3, 3])


@rule("EmbedLayerNormalization", domain=MICROSOFT, ignored={"epsilon", "mask_index_type"})
def embedding(node: Node) -> list[Value]:
    tokens = node.tensor(0)
    others = [node.tensor(index) for index in (1, 7, 8) if node.has(index)]
    rows = first_axis([tokens, *others])
    table = node.constant(2)
    node.constants(3, 4, 5, 6)
    dims = [*tokens.shape[1:], table.shape[-1]]
    # The second output is a mask of one axis: how long each row is, nothing if there is no mask input.
    result = batches(node, rows, [dims, [], dims])
    return result if node.has(7) else [result[0], constant(), result[2]]
