"""Puts the bodies of functions in the place of their calls."""

import logging
from collections.abc import Iterable, Iterator

import onnx
import onnx.inliner

from kernelport_workers.row_proof.nodes import TABLE
from kernelport_workers.row_proof.values import MOST_ELEMENTS

_MOST_NODES = 100_000

log = logging.getLogger(__name__)


def without_functions(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model with its own functions inlined, and those of the specification that the table has no rule for.

    What cannot be inlined (a function of another opset than the model's) is left as it is.
    """
    if model.functions:
        _check_length(model)
        model = onnx.inliner.inline_local_functions(_without_weights(model))
    opsets = {opset.domain: opset.version for opset in model.opset_import}
    defined = {
        (node.domain, node.op_type)
        for node in _nodes(model.graph)
        if (node.domain, node.op_type) not in TABLE and _is_defined(node, opsets.get(node.domain, 1))
    }
    return _inlined(_without_weights(model), sorted(defined)) if defined else model


def _inlined(model: onnx.ModelProto, operators: list[tuple[str, str]]) -> onnx.ModelProto:
    """The model with operators of the specification inlined, if their inputs' types can be told."""
    for tensor in model.graph.initializer:
        typed = onnx.helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims)
        model.graph.value_info.append(typed)
    try:
        model = onnx.shape_inference.infer_shapes(model)
        return onnx.inliner.inline_selected_functions(model, operators, inline_schema_functions=True)
    except (RuntimeError, onnx.shape_inference.InferenceError) as error:
        log.info("cannot inline %s: %s", ", ".join(name for _, name in operators), error)
        return model


def _check_length(model: onnx.ModelProto) -> None:
    """Refuses functions that call each other so often, or in a circle, that the bodies have no end.

    Raises:
        ValueError: they do.
    """
    bodies = {(function.domain, function.name): function.node for function in model.functions}
    lengths: dict[tuple[str, str], int] = {}

    def length(nodes: Iterable[onnx.NodeProto]) -> int:
        total = 0
        for node in nodes:
            call = (node.domain, node.op_type)
            if call not in bodies:
                total += 1
                continue
            if call not in lengths:
                lengths[call] = _MOST_NODES + 1  # for a call of itself
                lengths[call] = length(bodies[call])
            total += lengths[call]
        return total

    if length(_nodes(model.graph)) > _MOST_NODES:
        raise ValueError("its functions are too long to be followed")


def _nodes(graph: onnx.GraphProto) -> Iterator[onnx.NodeProto]:
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.GRAPH:
                yield from _nodes(attribute.g)


def _is_defined(node: onnx.NodeProto, version: int) -> bool:
    """Whether the specification gives an operator a body of others."""
    try:
        schema = onnx.defs.get_schema(node.op_type, version, node.domain)
    except onnx.defs.SchemaError:
        return False
    return schema.has_function or schema.has_context_dependent_function  # type: ignore[attr-defined,no-any-return]


def _without_weights(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy whose large constants have a shape only: the inliner copies the model, and knows no more than 2 GiB."""
    copy = onnx.ModelProto(ir_version=model.ir_version, opset_import=model.opset_import, functions=model.functions)
    graph = model.graph
    copy.graph.CopyFrom(
        onnx.GraphProto(
            name=graph.name,
            node=graph.node,
            input=graph.input,
            output=graph.output,
            value_info=graph.value_info,
            sparse_initializer=graph.sparse_initializer,
        )
    )
    for tensor in graph.initializer:
        count = 1
        for size in tensor.dims:
            count *= size
        slim = onnx.TensorProto(name=tensor.name, data_type=tensor.data_type, dims=tensor.dims)
        copy.graph.initializer.append(tensor if count <= MOST_ELEMENTS else slim)
    return copy
