"""A model, a crowd of requests to it, and the answers that each of them gets alone on plain ONNX Runtime."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort

from kernelport.tensors import Array
from tests.models.onnx_zoo import run_session

CROWD = 16
ROWS = "N"
"""The dimension that the models here name for their rows."""

# How far a float may be from the answer alone, as a part of the largest finite magnitude in that answer: ONNX Runtime
# picks another kernel, thus another order of additions, for another number of rows. An answer that is all below LEAST
# counts as that large: it may be a difference of larger numbers, such as exp(x) - 1.
ROUNDING = {"float64": 1e-9, "float32": 1e-5, "float16": 4e-3, "bfloat16": 3e-2}
LEAST = 0.05

_SCALES = (1.0, 1e-3, 1e3, -1.0, 30.0, 1e-2, -100.0)


@dataclass(frozen=True)
class Case:
    """One model and what is asked of it.

    Attributes:
        requests: the inputs of each caller. STRING elements are `bytes`.
        independent: whether the row of a request stays the same whatever rows are beside it; None where nobody said.
        why: what decides that, in a few words.
    """

    name: str
    model: onnx.ModelProto
    requests: tuple[dict[str, Array], ...]
    independent: bool | None = None
    why: str = ""


Answer = dict[str, Array] | None
"""The outputs of one request; None where the model refuses it."""


class Alone:
    """A model on plain ONNX Runtime, one request a run."""

    def __init__(self, model: onnx.ModelProto) -> None:
        options = ort.SessionOptions()
        options.log_severity_level = 4
        options.intra_op_num_threads = 1
        self._session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])

    def answer(self, inputs: Mapping[str, Array]) -> Answer:
        try:
            return run_session(self._session, inputs)
        except Exception:  # ONNX Runtime's exceptions have no common base
            return None


def crowd(
    arrays: Mapping[str, Array], axes: Mapping[str, int], alone: Alone, callers: int = CROWD
) -> tuple[dict[str, Array], ...]:
    """Requests made from one: other numbers of rows (1 to 4), other magnitudes, other elements; two are the one itself.

    Args:
        axes: where the rows of an input are; an input that is not named keeps its shape.
        alone: what must be able to answer them; one that it refuses is made of unchanged rows.
    """
    requests = []
    for caller in range(callers):
        rows = {name: _rows(array, axes.get(name), caller) for name, array in arrays.items()}
        rng = np.random.default_rng(caller)
        changed = {name: _changed(array, arrays[name], rng, caller) for name, array in rows.items()}
        if caller % 8 == 5:
            requests.append(dict(arrays))
        else:
            requests.append(rows if alone.answer(changed) is None else changed)
    return tuple(requests)


def take_rows(array: Array, axis: int, rows: int, first: int = 0) -> Array:
    """So many rows of an array, from one of them on; they come again where it has no more."""
    return np.ascontiguousarray(np.take(array, [(first + row) % array.shape[axis] for row in range(rows)], axis))


def difference(answer: Answer, expected: Answer) -> str | None:
    """How an answer is not the expected one; None when it is, but for ROUNDING of floats."""
    if answer is None or expected is None:
        return None if answer is expected else "an error" if answer is None else "an answer in place of an error"
    if answer.keys() != expected.keys():
        return f"outputs {list(answer)}; expected {list(expected)}"
    for name, array in expected.items():
        if finding := _array_difference(answer[name], array):
            return f"{name}: {finding}"
    return None


def first_difference(answers: Sequence[Answer], expected: Sequence[Answer]) -> str | None:
    """The first caller whose answer is not the expected one, and how; None when there is none."""
    for caller, (answer, own) in enumerate(zip(answers, expected, strict=True)):
        if finding := difference(answer, own):
            return f"caller {caller}: {finding}"
    return None


def stacked_by_hand(case: Case) -> str | None:
    """What goes wrong when requests share one run, stacked along the dimension ROWS; None when nothing does.

    They are those that are shaped like the first one, but for their rows.
    """
    inputs, outputs = (_row_axes(values) for values in (case.model.graph.input, case.model.graph.output))
    if len(inputs) < len(case.model.graph.input) or len(outputs) < len(case.model.graph.output):
        return "not every tensor has rows"
    alone = Alone(case.model)
    requests = [each for each in case.requests if _fit_together(each, case.requests[0], inputs)]
    together = alone.answer(
        {name: np.concatenate([each[name] for each in requests], axis) for name, axis in inputs.items()}
    )
    if together is None:
        return "the model refuses the stacked inputs"
    name, axis = next(iter(inputs.items()))
    ends = np.cumsum([each[name].shape[axis] for each in requests]).tolist()
    if any(together[name].shape[axis] != ends[-1] for name, axis in outputs.items()):
        return "the outputs have another number of rows"
    parts = {name: np.split(together[name], ends[:-1], axis) for name, axis in outputs.items()}
    answers = [{name: parts[name][caller] for name in outputs} for caller in range(len(ends))]
    return first_difference(answers, [alone.answer(each) for each in requests])


def _row_axes(values: Sequence[onnx.ValueInfoProto]) -> dict[str, int]:
    shapes = {value.name: [dim.dim_param for dim in value.type.tensor_type.shape.dim] for value in values}
    return {name: shape.index(ROWS) for name, shape in shapes.items() if ROWS in shape}


def _fit_together(request: Mapping[str, Array], other: Mapping[str, Array], axes: Mapping[str, int]) -> bool:
    """Whether requests are alike but for their rows, of which one has the same number in each of its inputs."""
    return len({request[name].shape[axis] for name, axis in axes.items()}) == 1 and all(
        np.delete(request[name].shape, axis).tolist() == np.delete(other[name].shape, axis).tolist()
        for name, axis in axes.items()
    )


def _rows(array: Array, axis: int | None, caller: int) -> Array:
    return array if axis is None else take_rows(array, axis, rows=1 + caller % 4, first=caller)


def _changed(array: Array, pool: Array, rng: np.random.Generator, caller: int) -> Array:
    """Floats of another magnitude; other elements that the input has somewhere, so that they stay valid."""
    if array.dtype.hasobject or array.dtype.kind in "iub":
        return rng.choice(pool.ravel(), array.shape) if pool.size else array
    scale = _SCALES[caller % len(_SCALES)]
    with np.errstate(over="ignore"):
        return np.asarray(array * array.dtype.type(scale), array.dtype)


def _array_difference(array: Array, expected: Array) -> str | None:
    if (array.dtype, array.shape) != (expected.dtype, expected.shape):
        return f"{array.dtype}{list(array.shape)}; expected {expected.dtype}{list(expected.shape)}"
    if expected.dtype.name not in ROUNDING:
        wrong = np.not_equal(array, expected)
        return f"{wrong.sum()} of {expected.size} elements differ" if wrong.any() else None
    found, wanted = array.astype(np.float64), expected.astype(np.float64)
    finite = np.isfinite(wanted)
    largest = np.abs(wanted[finite]).max(initial=LEAST)
    if not np.array_equal(found[~finite], wanted[~finite], equal_nan=True):
        return "a number that is not finite, in another place"
    worst = np.abs(found[finite] - wanted[finite]).max(initial=0.0)
    # A comparison with NaN is false: what is not finite in place of a number is a difference.
    return None if worst <= ROUNDING[expected.dtype.name] * largest else f"{worst:.2g} off, of {largest:.2g}"


def arrays_of(values: Mapping[str, Any]) -> dict[str, Array]:
    """Arrays of what numpy makes arrays of; strings become `bytes`."""
    return {name: _contract_array(value) for name, value in values.items()}


def _contract_array(value: Any) -> Array:
    array = np.asarray(value)
    if array.dtype.kind not in "OSU":
        return array
    encoded = np.empty(array.size, object)
    encoded[:] = [each.encode() if isinstance(each, str) else each for each in array.ravel().tolist()]
    return encoded.reshape(array.shape)
