"""Puts the bodies of functions in the place of their calls."""

import logging
import math
from collections.abc import Iterable, Iterator
from typing import TypeVar

import onnx
import onnx.inliner
from google.protobuf.message import Message

from kernelport_workers.row_proof.nodes import TABLE
from kernelport_workers.row_proof.values import MOST_ELEMENTS

_MOST_NODES = 50_000
# Where ONNX Runtime has operators, with the domains below them and the default one.
_RUNTIME_DOMAINS = ("ai.onnx", "com.microsoft", "com.ms", "org.pytorch.aten")

# Fields in which a constant may be, however deep.
_WITH_TENSORS = {
    *("graph", "functions", "node", "initializer", "sparse_initializer", "values", "indices"),
    *("attribute", "t", "g", "tensors", "graphs", "sparse_tensor", "sparse_tensors", "attribute_proto"),
}

M = TypeVar("M", bound=Message)

log = logging.getLogger(__name__)


def without_functions(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model with its own functions inlined, and those of the specification that the table has no rule for.

    What cannot be inlined is left as it is: a function of another opset than the model's, and one in a domain of the
    runtime's, whose own operator may be what runs.

    Raises:
        ValueError: the bodies of its functions are too long, or a call's attributes cannot be told.
    """
    shadowing: set[str] = set()
    if model.functions:
        own = [function for function in model.functions if not _of_runtime(function.domain)]
        shadowing = {function.name for function in model.functions if _of_runtime(function.domain)}
        del model.functions[:]
        model.functions.extend(own)
        _check_length(model)
        _give_defaults(model)
        model = onnx.inliner.inline_local_functions(model)
    opsets = {opset.domain: opset.version for opset in model.opset_import}
    defined = {
        (node.domain, node.op_type)
        for node in _nodes(model.graph.node)
        if (node.domain, node.op_type) not in TABLE
        and node.op_type not in shadowing
        and _is_defined(node, opsets.get(node.domain, 1))
    }
    return _inlined(model, sorted(defined)) if defined else model


def _of_runtime(domain: str) -> bool:
    """Whether a domain is one that the runtime has operators in."""
    return any(domain in ("", own) or domain.startswith(f"{own}.") for own in _RUNTIME_DOMAINS)


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
    bodies: dict[tuple[str, str, str], list[onnx.NodeProto]] = {}
    for function in model.functions:
        bodies.setdefault((function.domain, function.name, function.overload), []).extend(function.node)
    lengths: dict[tuple[str, str, str], int] = {}

    def length(nodes: Iterable[onnx.NodeProto]) -> int:
        total = 0
        for node in nodes:
            call = (node.domain, node.op_type, node.overload)
            if call not in bodies:
                total += 1
                continue
            if call not in lengths:
                lengths[call] = _MOST_NODES + 1  # for a call of itself
                lengths[call] = length(_nodes(bodies[call]))
            total += lengths[call]
        return total

    if length(_nodes(model.graph.node)) > _MOST_NODES:
        raise ValueError("its functions are too long to be followed")


def _give_defaults(model: onnx.ModelProto) -> None:
    """Writes into each call of a function the defaults of the attributes that it leaves out, as the runtime does: the
    inliner would leave them to the operators in the body, which have other ones.

    Raises:
        ValueError: a function hands an attribute on that its own call may leave out.
    """
    defaults = {
        (function.domain, function.name, function.overload): function.attribute_proto for function in model.functions
    }
    bodies: list[tuple[Iterable[onnx.NodeProto], set[str]]] = [(model.graph.node, set())]
    bodies += [(function.node, {each.name for each in function.attribute_proto}) for function in model.functions]
    for nodes, known in bodies:
        for node in _nodes(nodes):
            given = {attribute.name: attribute.ref_attr_name for attribute in node.attribute}
            for default in defaults.get((node.domain, node.op_type, node.overload), ()):
                handed_on = given.get(default.name, "")
                if default.name not in given:
                    node.attribute.append(default)
                elif handed_on and handed_on not in known:
                    raise ValueError(
                        f"{node.op_type} takes its attribute {default.name!r} from a call that may have none"
                    )


def _nodes(nodes: Iterable[onnx.NodeProto]) -> Iterator[onnx.NodeProto]:
    """Nodes and those of their bodies."""
    for node in nodes:
        yield node
        for attribute in node.attribute:
            yield from _nodes(attribute.g.node)
            for body in attribute.graphs:
                yield from _nodes(body.node)


def _is_defined(node: onnx.NodeProto, version: int) -> bool:
    """Whether the specification gives an operator a body of others."""
    try:
        schema = onnx.defs.get_schema(node.op_type, version, node.domain)
    except onnx.defs.SchemaError:
        return False
    return schema.has_function or schema.has_context_dependent_function  # type: ignore[attr-defined,no-any-return]


def without_weights(message: M) -> M:
    """A copy of a model, or of a part of it, whose large constants have a shape only.

    The inliner copies the model, and knows no more than 2 GiB.
    """
    if isinstance(message, onnx.TensorProto):
        small = math.prod(message.dims) <= MOST_ELEMENTS
        return message if small else type(message)(name=message.name, data_type=message.data_type, dims=message.dims)
    fields = dict.fromkeys(field.name for field, _ in message.ListFields())
    for name in fields:
        value = getattr(message, name)
        if name in _WITH_TENSORS and not (name == "attribute" and isinstance(message, onnx.FunctionProto)):  # names
            fields[name] = without_weights(value) if isinstance(value, Message) else list(map(without_weights, value))
        else:
            fields[name] = value
    return type(message)(**fields)
