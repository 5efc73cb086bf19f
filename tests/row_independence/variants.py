"""ONNX's own generated node tests, each with its first, second or last axis made the free axis of the rows.

ONNX's tests fix all sizes. A variant frees one axis of the inputs where the model still runs on other numbers of rows;
inputs that cannot have rows (a kernel, a table) become initializers, as exporters write them.
"""

import warnings
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import onnx
from onnx import numpy_helper

from kernelport.tensors import NUMPY_DTYPES, Array
from tests.row_independence.cases import ROWS, Alone, Case, arrays_of, crowd, difference, take_rows

FIRST, SECOND, LAST = 0, 1, -1
_TRIED = (1, 2, 3, 4)


@dataclass(frozen=True)
class NodeTest:
    """One of ONNX's tests, of a model that ONNX Runtime runs and whose tensors can travel."""

    name: str
    model: onnx.ModelProto
    inputs: dict[str, Array]


def node_tests(skipped: Counter[str] | None = None, every: int = 1) -> Iterator[NodeTest]:
    """ONNX's tests that can be served.

    Args:
        skipped: counts the others, by reason.
        every: of how many one is taken.
    """
    for test in _generated()[::every]:
        reason = _unfit(test.model, test.data_sets[0][0])
        if reason is None:
            names = [value.name for value in test.model.graph.input]
            found = NodeTest(
                test.name.removeprefix("test_"), test.model, arrays_of(_values(names, test.data_sets[0][0]))
            )
            reason = _unserved(found)
        if reason is None:
            yield found
        elif skipped is not None:
            skipped[reason] += 1


def variants(test: NodeTest) -> Iterator[Case]:
    """The test with rows on its first axis, or as it is where that cannot be; then those with rows elsewhere."""
    on_first = list(with_rows(test, FIRST))
    yield from on_first or [_original(test)]
    yield from axis_variants(test)


def axis_variants(test: NodeTest) -> Iterator[Case]:
    """The test with rows on the second axis of its inputs, and with rows on the last, where that can be."""
    most = max((array.ndim for array in test.inputs.values()), default=0)
    for axis in [SECOND, LAST] if most > 2 else [SECOND] if most == 2 else []:
        yield from with_rows(test, axis)


def with_rows(test: NodeTest, axis: int) -> Iterator[Case]:
    """The test with rows on this axis, once for each choice of inputs with rows that it runs with.

    Its name tells the axis, unless it is the first, and the inputs, unless all that could have rows have them.
    """
    for number, names in enumerate(_inputs_with_rows(test.inputs, axis)):
        axes = {name: axis % test.inputs[name].ndim for name in names}
        model = _freed(test, axes)
        if not _declare_outputs(model, test.inputs, axes):
            continue
        inputs = {value.name: test.inputs[value.name] for value in model.graph.input}
        which, where = "" if number == 0 else f":{','.join(names)}", "" if axis == FIRST else f"@{axis}"
        yield Case(f"{test.name}{which}{where}", model, crowd(inputs, axes, Alone(model)))


def _original(test: NodeTest) -> Case:
    return Case(f"{test.name}@fixed", test.model, crowd(test.inputs, {}, Alone(test.model)))


def _generated() -> Sequence[Any]:
    from onnx.backend.test.loader import load_model_tests

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the generation: overflows that are meant
        return load_model_tests(kind="node")


def _unfit(model: onnx.ModelProto, inputs: Sequence[Any]) -> str | None:
    """Why the contract has no place for the model or its inputs; None when it has."""
    for value in (*model.graph.input, *model.graph.output):
        if not value.type.HasField("tensor_type"):
            return "a sequence, a map or an optional"
        if onnx.helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type) not in NUMPY_DTYPES.values():
            return "an element type outside the contract"
    if len(inputs) != len(model.graph.input):
        return "inputs that are left out"
    return None


def _unserved(test: NodeTest) -> str | None:
    """Why nothing can be compared; None when it can."""
    try:
        alone = Alone(test.model)
    except Exception:  # ONNX Runtime's exceptions have no common base
        return "ONNX Runtime cannot load it"
    first, *others = [alone.answer(test.inputs) for _ in range(4)]
    if first is None:
        return "ONNX Runtime refuses the test's inputs"
    return "its answers are random" if any(difference(other, first) for other in others) else None


def _values(names: Sequence[str], inputs: Sequence[Any]) -> dict[str, Any]:
    return {
        name: numpy_helper.to_array(value) if isinstance(value, onnx.TensorProto) else value
        for name, value in zip(names, inputs, strict=True)
    }


def _inputs_with_rows(inputs: Mapping[str, Array], axis: int) -> list[list[str]]:
    """Choices of inputs with rows: all that can have them, those as long there as the first, the first alone."""
    can = [name for name, array in inputs.items() if array.ndim > max(axis, 0) and array.shape[axis]]
    as_long = [name for name in can if inputs[name].shape[axis] == inputs[can[0]].shape[axis]]
    choices = [can, as_long, can[:1]]
    return [choice for number, choice in enumerate(choices) if choice and choice not in choices[:number]]


def _freed(test: NodeTest, axes: Mapping[str, int]) -> onnx.ModelProto:
    """The model with free rows in the inputs of `axes`, the others as initializers, and no shape said elsewhere."""
    model = onnx.ModelProto()
    model.CopyFrom(test.model)
    graph = model.graph
    del graph.value_info[:]
    for value in list(graph.input):
        if value.name in axes:
            value.type.tensor_type.shape.dim[axes[value.name]].dim_param = ROWS
        else:
            graph.initializer.append(_initializer(value, test.inputs[value.name]))
            graph.input.remove(value)
    for value in graph.output:
        value.type.tensor_type.ClearField("shape")
    return model


def _initializer(value: onnx.ValueInfoProto, array: Array) -> onnx.TensorProto:
    if array.dtype.hasobject:
        return onnx.helper.make_tensor(value.name, onnx.TensorProto.STRING, array.shape, array.ravel().tolist())
    return numpy_helper.from_array(array, value.name)


def _declare_outputs(model: onnx.ModelProto, inputs: Mapping[str, Array], axes: Mapping[str, int]) -> bool:
    """Declares the outputs as runs on several numbers of rows show them; False where the model does not run on all.

    The first axis as long as the rows has their name; another one that varies has a name of its own, as exporters give.
    """
    try:
        alone = Alone(model)
    except Exception:  # ONNX Runtime's exceptions have no common base
        return False
    samples = ({name: take_rows(inputs[name], axis, rows) for name, axis in axes.items()} for rows in _TRIED)
    answers = [alone.answer(sample) for sample in samples]
    if None in answers:
        return False
    for value in model.graph.output:
        shapes = [answer[value.name].shape for answer in answers if answer is not None]
        if len({len(shape) for shape in shapes}) > 1:
            return False
        sizes = list(zip(*shapes, strict=True))
        rows = sizes.index(_TRIED) if _TRIED in sizes else None
        dimensions = [
            ROWS if axis == rows else each[0] if len(set(each)) == 1 else f"{value.name}_{axis}"
            for axis, each in enumerate(sizes)
        ]
        element_type = value.type.tensor_type.elem_type
        value.CopyFrom(onnx.helper.make_tensor_value_info(value.name, element_type, dimensions))
    return True
