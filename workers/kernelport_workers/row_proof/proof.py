"""Proves from a model's graph that rows may share a run."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import onnx
from google.protobuf.message import DecodeError

from kernelport_workers.row_proof.dimensions import ROWS, Dimension, Size, axis_size, free
from kernelport_workers.row_proof.functions import without_functions, without_weights
from kernelport_workers.row_proof.graphs import Walk
from kernelport_workers.row_proof.nodes import NEWEST_OPSETS
from kernelport_workers.row_proof.values import Rows, Stop, Value, Verdict, worst

log = logging.getLogger(__name__)

_MOST_CANDIDATES = 3
_HOW_TO_FREE = (
    ", so that requests which share a run could not differ in it: let it have an element for each row, or give it a "
    "default in the model (an initializer of its name), and requests that leave it out are stacked"
)


@dataclass(frozen=True)
class Proof:
    """Whether row r of each output depends on row r of the inputs and on nothing else of them.

    Attributes:
        verdict: of the input axes; only what is proven may be stacked; only what is unknown may be declared.
        input_axes: the axis of the rows in each required input: the one proven, or else the one tried; empty if none
            could be.
        output_axes: the axis of the rows in each output; empty unless proven.
        reason: a sentence for people; if not proven, it names the node that stops it and its operator, and, if these
            axes are refuted, others that are not.
    """

    verdict: Verdict
    input_axes: Mapping[str, int] = field(default_factory=dict)
    output_axes: Mapping[str, int] = field(default_factory=dict)
    reason: str = ""


def prove(
    model: onnx.ModelProto | Path, *, input_axes: Mapping[str, int] | None = None, folder: Path | None = None
) -> Proof:
    """Follows the rows of a model's inputs to its outputs.

    The runs that a proof speaks of give each required input, and no initializer's override; they agree in the number of
    rows among the inputs of one request, and among requests in the size of every other dimension. An axis has fewer
    than 2**24 elements, and axes of different sizes together fewer than 2**48: so far, sizes are computed exactly.

    Weights in files of their own are not read; those in the model's own file are in memory twice while it is read, and
    no longer. Raises nothing for what is in a model: what cannot be read or followed is unknown.

    Args:
        model: the model as its author wrote it, or its file.
        input_axes: the axis of the rows in each required input. Without it, axes that the model leaves free are tried:
            those of one name in all inputs, then the first.
        folder: where external data is, if the model is no file; small constants are read from there.
    """
    if isinstance(model, Path):
        folder = folder or model.parent
        try:
            model = onnx.load(model, load_external_data=False)
        except (OSError, ValueError, DecodeError) as error:
            return Proof(Verdict.UNKNOWN, reason=f"the model cannot be read: {error}")
    try:
        model = without_weights(model)
        return _prove(model, input_axes, None if folder is None else str(folder))
    # A model may be wrong in more ways than can be foreseen, and none of them may stop a worker.
    except Exception as error:
        log.warning("cannot follow the model", exc_info=True)
        return Proof(Verdict.UNKNOWN, reason=f"the model cannot be followed: {type(error).__name__}: {error}")


def _prove(model: onnx.ModelProto, given: Mapping[str, int] | None, folder: str | None) -> Proof:
    shapes = _required_inputs(model.graph)
    refusal = _refusal(shapes, given)
    if refusal is not None:
        return refusal
    inputs = {name: shape for name, shape in shapes.items() if shape is not None}
    functions = {
        ("" if function.domain == "ai.onnx" else function.domain, function.name) for function in model.functions
    }
    model = without_functions(model)
    opsets = {"" if opset.domain == "ai.onnx" else opset.domain: opset.version for opset in model.opset_import}
    for domain, newest in NEWEST_OPSETS.items():
        if opsets.get(domain, 1) > newest:
            name = f"opset {opsets[domain]}" + (f" of {domain}" if domain else "")
            return Proof(Verdict.UNKNOWN, reason=f"the model is of {name}; rules are known up to {newest}")
    proofs = []
    for axes in [given] if given is not None else _candidates(inputs):
        axes = {name: axis % len(inputs[name]) for name, axis in axes.items()}
        proof = _try(model.graph, inputs, axes, Walk(opsets, functions, folder))
        if proof.verdict is Verdict.PROVEN:
            return proof
        proofs.append(proof)
    return _likeliest(proofs)


def _likeliest(proofs: Sequence[Proof]) -> Proof:
    """The proof for the likeliest axes, which says most; and whether others may be declared."""
    likeliest, *others = proofs
    if likeliest.verdict is Verdict.REFUTED:
        for other in others:
            if other.verdict is Verdict.UNKNOWN:
                axes = ", ".join(f"axis {axis} of '{name}'" for name, axis in other.input_axes.items())
                reason = f"{likeliest.reason}; with the rows on {axes}, it is unknown: {other.reason}"
                return replace(likeliest, reason=reason)
    return likeliest


Shape = list[Size]


def _required_inputs(graph: onnx.GraphProto) -> dict[str, Shape | None]:
    """The inputs that every run needs; None for one of unknown rank."""
    initialized = {tensor.name for tensor in graph.initializer}
    initialized |= {sparse.values.name for sparse in graph.sparse_initializer}
    return {value.name: _shape(value) for value in graph.input if value.name not in initialized}


def _shape(value: onnx.ValueInfoProto) -> Shape | None:
    if not value.type.tensor_type.HasField("shape"):
        return None
    shape: Shape = []
    for axis, dim in enumerate(value.type.tensor_type.shape.dim):
        if dim.HasField("dim_value") and dim.dim_value >= 0:
            shape.append(dim.dim_value)
        else:
            nameless = axis_size("dim", repr(value.name), axis)
            shape.append(free(dim.dim_param) if dim.dim_param else nameless)
    return shape


def _refusal(inputs: Mapping[str, Shape | None], given: Mapping[str, int] | None) -> Proof | None:
    """What stops any proof before a node is looked at."""
    if not inputs:
        return Proof(Verdict.REFUTED, reason="the model has no required input")
    fixed = {
        name for name, shape in inputs.items() if shape is not None and all(isinstance(size, int) for size in shape)
    }
    for name, shape in inputs.items():
        if shape is None:
            return Proof(Verdict.UNKNOWN, reason=f"input '{name}' is of unknown rank, or no tensor")
        if given is None:
            if name in fixed:
                hint = "" if len(fixed) == len(inputs) else _HOW_TO_FREE
                return Proof(Verdict.REFUTED, reason=f"input '{name}' has no free axis{hint}")
            continue
        if name not in given:
            return Proof(Verdict.REFUTED, reason=f"input '{name}' is given no axis")
        axis = given[name]
        if not -len(shape) <= axis < len(shape):
            return Proof(Verdict.REFUTED, reason=f"input '{name}' has no axis {axis}")
        if isinstance(shape[axis], int):
            return Proof(Verdict.REFUTED, reason=f"axis {axis} of input '{name}' is fixed at {shape[axis]}")
    unknown = sorted((given or {}).keys() - inputs.keys())
    if unknown:
        return Proof(Verdict.REFUTED, reason=f"the model has no required input '{unknown[0]}'")
    return None


def _candidates(inputs: Mapping[str, Shape]) -> list[dict[str, int]]:
    """Axes along which rows may stand, the likeliest first."""
    shapes = inputs.values()
    symbols = [size for size in next(iter(shapes)) if isinstance(size, Dimension)]
    shared = [symbol for symbol in symbols if all(shape.count(symbol) == 1 for shape in shapes)]
    tried = [{name: shape.index(symbol) for name, shape in inputs.items()} for symbol in shared]
    frees = {
        name: [axis for axis, size in enumerate(shape) if isinstance(size, Dimension)] for name, shape in inputs.items()
    }
    for place in range(max(map(len, frees.values()))):
        tried += [{name: axes[min(place, len(axes) - 1)] for name, axes in frees.items()}]
    # Rows first in all inputs is what most models mean.
    tried.sort(key=lambda axes: any(axes.values()))
    return [axes for index, axes in enumerate(tried) if axes not in tried[:index]][:_MOST_CANDIDATES]


def _try(graph: onnx.GraphProto, inputs: Mapping[str, Shape], axes: Mapping[str, int], walk: Walk) -> Proof:
    values: dict[str, Value] = {}
    counted = {shape[axes[name]] for name, shape in inputs.items()}
    for name, shape in inputs.items():
        twice = [size for axis, size in enumerate(shape) if axis != axes[name] and size in counted]
        if twice:
            reason = f"input '{name}' has {twice[0]}, the rows' dimension, on another axis"
            return Proof(Verdict.REFUTED, axes, reason=reason)
        axis = axes[name]
        values[name] = Value((*shape[:axis], ROWS, *shape[axis + 1 :]), rows=Rows(axis))
    found = dict(zip([output.name for output in graph.output], walk.run(graph, values), strict=True))
    if not found:
        return Proof(Verdict.REFUTED, axes, reason="the model has no outputs")
    stops = [stop for stop in (_stop(name, value) for name, value in found.items()) if stop]
    if stops:
        stop = worst(stops)
        return Proof(stop.verdict, axes, reason=stop.reason)
    output_axes = {name: value.rows.axis for name, value in found.items() if value.rows}
    nodes = "1 node" if walk.nodes == 1 else f"{walk.nodes:,} nodes"
    return Proof(Verdict.PROVEN, axes, output_axes, f"rows stay apart through {nodes}")


def _stop(name: str, value: Value) -> Stop | None:
    """Why an output has no axis of exactly the rows, if it has none."""
    if value.stop:
        return value.stop
    rows = value.rows
    if rows is None:
        what = "is made of the number of rows" if value.counts_rows else "is the same for any rows"
        return Stop(Verdict.REFUTED, f"output '{name}' {what}")
    if (rows.outer, rows.inner) != (1, 1):
        return Stop(Verdict.REFUTED, f"output '{name}' has {rows.size} elements on axis {rows.axis} for N rows")
    if value.numbers_rows:
        return Stop(Verdict.REFUTED, f"output '{name}' is made of the numbers of the rows")
    return None
