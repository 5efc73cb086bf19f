"""Runs requests stacked along their first axis, where each gets the same answer as alone."""

from collections.abc import Callable, Collection, Hashable, Iterable, Mapping, Sequence

import numpy as np

from kernelport.errors import KernelPortError
from kernelport.signature import TensorSpec
from kernelport.tensors import NUMPY_DTYPES, Array
from kernelport_workers.backends.base import Outputs, Request

Run = Callable[[Mapping[str, Array]], Outputs]
"""One run of the model. Raises nothing but KernelPortError."""


def run_stacked(requests: Sequence[Request], names: Collection[str], run: Run) -> list[Outputs | KernelPortError]:
    """Answers each request; those that fit together share one run.

    Requests fit together when they give exactly the inputs `names`, of equal dtypes and equal shapes past the first
    axis. When a shared run fails, or gives outputs that cannot be split by rows, its requests run one by one.

    Args:
        names: the inputs that are stacked; none when nothing may be.
    """
    groups: dict[Hashable, list[int]] = {}
    for index, request in enumerate(requests):
        key = _stacking_key(request.inputs, names)
        groups.setdefault(index if key is None else key, []).append(index)
    results: dict[int, Outputs | KernelPortError] = {}
    for indices in groups.values():
        group = [requests[index] for index in indices]
        answers: Sequence[Outputs | KernelPortError] | None = _together(group, run) if len(group) > 1 else None
        results.update(zip(indices, answers or [_alone(request, run) for request in group], strict=True))
    return [results[index] for index in range(len(requests))]


def rows_are_independent(specs: Iterable[TensorSpec], run: Run) -> bool:
    """Whether a row's outputs stay the same whatever rows are stacked with it, tried on random inputs.

    A signature cannot tell: softmax over the first axis declares the same shapes as softmax over the last. False also
    when the model refuses the random inputs, or takes none. Serves as the warm-up, too.
    """
    specs = list(specs)
    if not specs:
        return False
    # Small sizes are cheap; some models (kernels, pooling) need larger ones.
    for free in (8, 64):
        samples = [sample_inputs(specs, rows, free) for rows in (1, 2)]
        try:
            alone = [run(sample) for sample in samples]
        except KernelPortError:
            continue
        together = _together([Request(sample) for sample in samples], run)
        return together is not None and all(
            _close(outputs[name], expected[name])
            for outputs, expected in zip(together, alone, strict=True)
            for name in expected
        )
    return False


def sample_inputs(specs: Iterable[TensorSpec], rows: int, free: int) -> dict[str, Array]:
    """Random inputs that fit the specs: a free first dimension has `rows` elements, any other free one `free`.

    Floats lie in 0..1, integers are 0 or 1 (good as indices and token ids), strings are `a` or `b`.
    """
    rng = np.random.default_rng(rows)
    samples: dict[str, Array] = {}
    for spec in specs:
        sizes = [d.size if d.size >= 0 else free if axis else rows for axis, d in enumerate(spec.shape)]
        dtype = NUMPY_DTYPES[spec.dtype]
        if dtype.hasobject:
            samples[spec.name] = rng.choice([b"a", b"b"], sizes).astype(object)
        elif dtype.kind in "iub":
            samples[spec.name] = rng.integers(0, 2, sizes).astype(dtype)
        else:
            samples[spec.name] = rng.random(sizes).astype(dtype)
    return samples


def _stacking_key(inputs: Mapping[str, Array], names: Collection[str]) -> Hashable | None:
    """Equal for requests that fit together; None for one that fits with no other."""
    if not names or inputs.keys() != set(names) or not all(array.ndim for array in inputs.values()):
        return None
    if len({len(array) for array in inputs.values()}) != 1:
        return None
    return tuple((name, inputs[name].dtype, inputs[name].shape[1:]) for name in names)


def _together(requests: Sequence[Request], run: Run) -> list[Outputs] | None:
    """The answers of one shared run; None when there is no such run."""
    names = list(requests[0].inputs)
    ends = np.cumsum([len(request.inputs[names[0]]) for request in requests]).tolist()
    try:
        outputs = run({name: np.concatenate([request.inputs[name] for request in requests]) for name in names})
    except KernelPortError:
        return None
    if any(array.ndim == 0 or len(array) != ends[-1] for array in outputs.values()):
        return None
    return [
        {name: array[start:end] for name, array in outputs.items()}
        for start, end in zip([0, *ends], ends, strict=False)
    ]


def _alone(request: Request, run: Run) -> Outputs | KernelPortError:
    try:
        request.check()
        return run(request.inputs)
    except KernelPortError as error:
        return error


def _close(array: Array, expected: Array) -> bool:
    """Equal but for the rounding that a different number of rows brings."""
    if array.shape != expected.shape:
        return False
    if expected.dtype.hasobject or expected.dtype.kind in "iub":
        return np.array_equal(array, expected)
    tolerance = 2e-2 if expected.dtype.itemsize == 2 else 1e-3
    array, expected = array.astype(np.float64), expected.astype(np.float64)
    scale = np.abs(expected[np.isfinite(expected)]).max(initial=0)
    return np.allclose(array, expected, rtol=0, atol=tolerance * scale, equal_nan=True)
