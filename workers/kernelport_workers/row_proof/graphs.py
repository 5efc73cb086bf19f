"""Follows the rows through a graph, node by node."""

import logging
from collections import ChainMap
from collections.abc import Mapping, Sequence, Set

import onnx

from kernelport_workers.row_proof import rules  # noqa: F401 - fills the table
from kernelport_workers.row_proof.nodes import TABLE, Node, constant_node, label, tensor_value
from kernelport_workers.row_proof.values import Stopped, Value, Verdict, constant, stopped, worst

log = logging.getLogger(__name__)

_DEEPEST = 32  # bodies inside bodies
# A loop in a loop is followed as often as the product of their passes. So many steps are always taken, and so many more
# for each node and constant.
_LEAST_STEPS, _VISITS = 10_000, 10


def size(graph: onnx.GraphProto) -> int:
    """How many nodes and constants a graph and its bodies have."""
    total = len(graph.node) + len(graph.initializer)
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.GRAPH:
                total += size(attribute.g)
    return total


class Walk:
    """One pass over a graph and its bodies.

    Args:
        opsets: the version of each operator set, by domain.
        functions: the model's own functions, by domain and name: a call that is left could not be inlined.
        folder: where external data is, to read small constants from; None: they stay unread.

    Attributes:
        nodes: how many nodes were followed.
        steps: how many nodes and constants were to be followed, those of a body once a pass.
    """

    def __init__(self, opsets: Mapping[str, int], functions: Set[tuple[str, str]], folder: str | None) -> None:
        self.nodes = 0
        self.steps = 0
        self._most_steps = 0
        self._opsets = opsets
        self._functions = functions
        self._folder = folder
        self._depth = 0

    def run(self, graph: onnx.GraphProto, inputs: Mapping[str, Value]) -> list[Value]:
        """What is known of a graph's outputs. A rule's failure is an output that is not known."""
        self._most_steps = _LEAST_STEPS + _VISITS * size(graph)
        return self._run(graph, inputs, ChainMap())

    def _run(self, graph: onnx.GraphProto, inputs: Mapping[str, Value], outer: ChainMap[str, Value]) -> list[Value]:
        self.steps += len(graph.node) + len(graph.initializer)
        if self.steps > self._most_steps:
            raise Stopped(f"is nested too deep: its bodies cannot be followed in {self._most_steps} steps")
        values = outer.new_child()
        for tensor in graph.initializer:
            values[tensor.name] = tensor_value(tensor, self._folder)
        for sparse in graph.sparse_initializer:
            values[sparse.values.name] = constant(list(sparse.dims))
        values.update(inputs)
        for node in graph.node:
            self.nodes += 1
            for name, value in zip(node.output, self._outputs(node, values), strict=False):
                if name:
                    values[name] = value
        return [
            values.get(output.name, stopped(Verdict.UNKNOWN, f"output '{output.name}' is given by no node"))
            for output in graph.output
        ]

    def _outputs(self, node: onnx.NodeProto, values: ChainMap[str, Value]) -> Sequence[Value]:
        """What is known of a node's outputs, one for each."""
        if node.op_type == "Constant" and node.domain in ("", "ai.onnx"):
            return [constant_node(node)]
        inputs: list[Value | None] = []
        for name in node.input:
            value = values.get(name) if name else None
            if name and value is None:
                value = stopped(Verdict.UNKNOWN, f"{label(node)} takes '{name}', which no node gives")
            inputs.append(value)
        stops = [value.stop for value in inputs if value is not None and value.stop]
        if stops:
            return [Value(stop=worst(stops))] * len(node.output)
        try:
            results = self._apply(node, inputs, values)
        except Stopped as stop:
            return [stopped(stop.verdict, f"{label(node)} {stop}")] * len(node.output)
        # A rule relies on what the specification says of a model; this one may say something else.
        except Exception as error:
            log.warning("cannot follow %s", label(node), exc_info=True)
            reason = f"{label(node)} cannot be followed: {type(error).__name__}: {error}"
            return [stopped(Verdict.UNKNOWN, reason)] * len(node.output)
        missing = len(node.output) - len(results)
        return [*results, *[stopped(Verdict.UNKNOWN, f"{label(node)} has more outputs than are known")] * missing]

    def _apply(
        self, proto: onnx.NodeProto, inputs: Sequence[Value | None], values: ChainMap[str, Value]
    ) -> Sequence[Value]:
        domain = "" if proto.domain == "ai.onnx" else proto.domain
        if (domain, proto.op_type) in self._functions:
            raise Stopped("is a function that cannot be inlined")
        entry = TABLE.get((domain, proto.op_type))
        if entry is None:
            raise Stopped("is an operator that is not known" + (f" (of {domain})" if domain else ""))
        rule, ignored = entry

        def run_body(body: onnx.GraphProto, given: Sequence[Value]) -> list[Value]:
            if self._depth == _DEEPEST:
                raise Stopped("has bodies nested too deep")
            self._depth += 1
            try:
                names = [value.name for value in body.input]
                return self._run(body, dict(zip(names, given, strict=True)), values)
            finally:
                self._depth -= 1

        node = Node(proto, inputs, self._opsets.get(domain, 1), self.nodes, run_body, ignored)
        results = rule(node)
        node.check_all_read()
        return [results] if isinstance(results, Value) else results
