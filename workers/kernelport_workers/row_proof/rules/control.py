"""If, Loop and Scan: their bodies are followed, too, until what is known of the states no longer changes."""

from collections.abc import Callable, Sequence

from kernelport_workers.row_proof.dimensions import Size
from kernelport_workers.row_proof.nodes import Node, off_axis, rule, whole_axis
from kernelport_workers.row_proof.rules.shapes import named_size
from kernelport_workers.row_proof.values import Mixed, Unknown, Value, constant, join

_MOST_PASSES = 8


@rule("If")
def branch(node: Node) -> list[Value]:
    condition = node.tensor(0)
    if condition.rows is not None:
        raise Mixed("takes one branch for all rows")
    bodies = [node.attribute("then_branch"), node.attribute("else_branch")]
    if condition.content is not None and condition.content.size == 1 and condition.content.dtype != object:
        return node.run_body(bodies[0 if condition.content.all() else 1], [])
    pairs = zip(*(node.run_body(body, []) for body in bodies), strict=True)
    return [_joined(node, "output", index, one, other) for index, (one, other) in enumerate(pairs)]


def _joined(node: Node, what: str, index: int, one: Value, other: Value) -> Value:
    return join(one, other, f"{node.label} {what} {index}", f"{node.operator} {node.visit} {what} {index}")


@rule("Loop")
def loop(node: Node) -> list[Value]:
    body = node.attribute("body")
    for index in (0, 1):
        if node.has(index):
            limit = node.any(index)
            if limit.rows is not None or limit.counts_rows:
                raise Mixed("runs as often as the rows say")
    states = [node.any(index) for index in range(2, node.count)]

    def run(states: Sequence[Value]) -> list[Value]:
        condition, *outputs = node.run_body(body, [constant(()), constant(()), *states])
        if condition.stop:
            return [condition for _ in outputs]
        if condition.rows is not None or condition.counts_rows:
            raise Mixed("runs as often as the rows say")
        return outputs

    states, scanned = _fixed_point(node, states, run)
    return [*states, *(_stacked(node, value, len(states) + index, 0) for index, value in enumerate(scanned))]


@rule("Scan", ignored={"scan_input_directions", "scan_output_directions"})
def scan(node: Node) -> list[Value]:
    if node.version < 9:
        raise Unknown("scans by the rules of opset 8")
    body = node.attribute("body")
    count = node.attribute("num_scan_inputs")
    first = node.count - count
    states = [node.any(index) for index in range(first)]
    input_axes = node.attribute("scan_input_axes") or [0] * count
    output_axes = node.attribute("scan_output_axes") or [0] * (len(node.outputs) - first)
    elements = []
    for index, axis in enumerate(input_axes):
        value = node.tensor(first + index)
        if value.dims is None:
            elements.append(value)
            continue
        axis = whole_axis(axis, value.rank)
        off_axis(value, [axis], "walks along")
        dims = [*value.shape[:axis], *value.shape[axis + 1 :]]
        elements.append(
            value.with_rows(dims, value.rows.axis - (axis < value.rows.axis)) if value.rows else constant(dims)
        )
    states, scanned = _fixed_point(node, states, lambda states: node.run_body(body, [*states, *elements]))
    outputs = enumerate(zip(scanned, output_axes, strict=True), start=first)
    return [*states, *(_stacked(node, value, index, axis) for index, (value, axis) in outputs)]


def _fixed_point(
    node: Node, states: list[Value], run: Callable[[Sequence[Value]], list[Value]]
) -> tuple[list[Value], list[Value]]:
    """What is known of the states after the last pass, and of the other outputs of a pass.

    A size that passes change has one name before any pass, and another after the last.
    """
    first = states
    for _ in range(_MOST_PASSES):
        outputs = run(states)
        after = [
            _joined(node, "state", index, before, value)
            for index, (before, value) in enumerate(zip(states, outputs, strict=False))
        ]
        if all(one.same_as(other) for one, other in zip(states, after, strict=True)):
            pairs = enumerate(zip(first, states, strict=True))
            last = [_joined(node, "last state", index, one, other) for index, (one, other) in pairs]
            return last, outputs[len(states) :]
        states = after
    raise Unknown("has states that keep changing their shapes")


def _stacked(node: Node, value: Value, output: int, axis: int) -> Value:
    """What every pass gives, stacked on a new axis."""
    if value.stop or (value.dims is None and value.rows is None):
        return value
    if value.counts_rows:
        raise Mixed("takes the number of rows for a number")
    if value.numbers_rows:
        raise Mixed("takes the number of a row for data")
    axis = whole_axis(axis, value.rank + 1)
    # A size that passes change is none after the last, and any size may be 0 if there is no pass.
    dims: list[Size] = [named_size(node, place, output) for place in range(value.rank + 1)]
    return value.with_rows(dims, value.rows.axis + (axis <= value.rows.axis)) if value.rows else constant(dims)
