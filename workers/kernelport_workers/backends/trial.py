"""Tries on a loaded model whether stacked requests get the answers that they get alone.

A second look beside a proof or a declaration: a trial alone shows no independence, since a jump above 2, a saturated
sigmoid or a lag of seven rows may hide from any inputs.
"""

import logging
import math
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from kernelport.errors import KernelPortError
from kernelport.signature import TensorSpec
from kernelport.tensors import NUMPY_DTYPES, Array
from kernelport_workers.backends.base import Outputs
from kernelport_workers.backends.stacking import Inputs, Run

log = logging.getLogger(__name__)

Together = Callable[[Sequence[Inputs]], list[Outputs] | None]

# Small sizes are cheap, an odd one and an even one; some models (kernels, pooling) need larger ones. Integers go up to
# 2 where the model takes them, else to 1: an embedding has only so many rows.
_SMALL, _LARGE, _LARGEST_INTEGERS = (7, 8), 64, (2, 1)
FREE_SIZES = (*_SMALL, _LARGE)
# The requests of a trial: number of rows, scale of its numbers, by how much its padded axes are shorter.
_REQUESTS = [(1, 1.0, 0), (2, 100.0, 3), (3, -1e-3, 1), (4, 1.0, 2), (1, -10.0, 5)]
# A tensor that would have more elements is not tried.
_MOST_ELEMENTS = 2**21


@dataclass(frozen=True)
class Verdict:
    """What a trial shows.

    Attributes:
        difference: where answers of one shared run differ from those alone by more than rounding; None where they do
            not.
        could_differ: whether different requests have shared a run: equal ones hide, for example, a mean over the rows.
    """

    difference: str | None
    could_differ: bool


def judge(
    specs: Sequence[TensorSpec],
    run: Run,
    together: Together,
    given: Collection[Sequence[Inputs]] = (),
    *,
    random_beside_given: bool = True,
) -> Verdict:
    """Tries the requests given, and random ones as far as the model takes them. Serves as the warm-up, too.

    Args:
        specs: the inputs that are stacked, with their axes and pads.
        run: runs the model.
        together: runs requests stacked.
        given: requests that the model takes, such as a manifest's warm-up inputs: those of each run. One that has its
            run to itself is stacked with itself, and its first row with its others.
        random_beside_given: whether random requests are tried even where some are given. No caller may send such masks
            and lengths as they have, by which a model may take what pads a row for a part of it.
    """
    could_differ = False
    for requests in given:
        for sharing in [requests] if len(requests) > 1 else _in_company(requests[0], specs):
            try:
                found = _compare(sharing, run, together)
            except KernelPortError:
                continue  # inputs that the model rejects are no verdict
            if found is not None:
                return Verdict(found, True)
            could_differ = could_differ or not all(_equal(inputs, sharing[0]) for inputs in sharing)
    if (given and not random_beside_given) or not all(spec.ranked for spec in specs):
        return Verdict(None, could_differ)
    accepted = False
    for free in FREE_SIZES:
        if free == _LARGE and accepted:
            break
        is_taken, found = _tried(specs, free, run, together)
        if found is not None:
            return Verdict(found, True)
        accepted = accepted or is_taken
    return Verdict(None, could_differ or accepted)


def warm_up(specs: Iterable[TensorSpec], run: Run) -> None:
    """Runs a model that is not stacked once."""
    try:
        run(sample_inputs(specs, rows=1, free=1))
    except KernelPortError as error:
        log.info("no warm-up: the model does not take random inputs with free dimensions of 1: %s", error)


def sample_inputs(specs: Iterable[TensorSpec], rows: int, free: int) -> dict[str, Array]:
    """Random inputs that fit the specs: `rows` elements along free batch axes, `free` along other free ones.

    Floats lie in 0..1, integers are 0 or 1 (good as indices and token ids), strings are `a` or `b`.
    """
    rng = np.random.default_rng(rows)
    return {spec.name: _sample(rng, spec, _shape(spec, rows, free), 1) for spec in specs}


def _in_company(request: Inputs, specs: Sequence[TensorSpec]) -> list[list[Inputs]]:
    """Requests to share a run, made of one alone: itself twice, and its first row with its others."""
    rows = request[specs[0].name].shape[specs[0].batch_axis]
    if rows == 1:
        return [[request, request]]

    def part(places: Sequence[int]) -> Inputs:
        return {spec.name: np.take(request[spec.name], places, axis=spec.batch_axis) for spec in specs}

    return [[request, request], [part([0]), part(range(1, rows))]]


def _tried(specs: Sequence[TensorSpec], free: int, run: Run, together: Together) -> tuple[bool, str | None]:
    """Whether the model takes requests with free sizes of `free`, and where their answers differ in company."""
    most_rows = max(rows for rows, _, _ in _REQUESTS)
    if any(math.prod(_shape(spec, most_rows, free)) > _MOST_ELEMENTS for spec in specs):
        return False, None
    is_taken = False
    # Padded dimensions of several names may be of one length, or of any: what a model does with both counts.
    for lengths in (_alike, _apart_by_name) if len(_padded_names(specs)) > 1 else (_alike,):
        for largest in _LARGEST_INTEGERS:
            try:
                found = _compare(_trial(specs, free, largest, lengths), run, together)
            except KernelPortError:
                continue  # inputs that the model rejects are no verdict
            if found is not None:
                return True, found
            is_taken = True
            break
    return is_taken, None


def _trial(specs: Sequence[TensorSpec], free: int, largest: int, lengths: "_Lengths") -> list[Inputs]:
    rng = np.random.default_rng(free)
    requests: list[Inputs] = []
    for number, (rows, scale, _) in enumerate(_REQUESTS):
        request = {}
        for spec in specs:
            sample = _sample(rng, spec, _shape(spec, rows, free, lengths(specs, free, number)), largest)
            if sample.dtype.kind not in "iubO":
                sample = ((2 * sample - 1) * sample.dtype.type(scale)).astype(sample.dtype)
            request[spec.name] = sample
        requests.append(request)
    # Among the last but one's rows, all but one are alike.
    for spec in specs:
        sample = requests[-2][spec.name]
        repeated = np.take(sample, [0, 0, 1, 0], axis=spec.batch_axis) if _has_rows(spec) else sample
        requests[-2] = {**requests[-2], spec.name: repeated}
    return requests


def _equal(inputs: Inputs, others: Inputs) -> bool:
    return all(np.array_equal(array, others[name]) for name, array in inputs.items())


def _compare(requests: Sequence[Inputs], run: Run, together: Together) -> str | None:
    alone = [run(inputs) for inputs in requests]
    stacked = together(requests)
    if stacked is None:
        return "a run that requests share fails, or gives other numbers of rows"
    for outputs, expected in zip(stacked, alone, strict=True):
        for name, array in expected.items():
            if not _close(outputs[name], array):
                return f'output "{name}" is another in company: {_apart(outputs[name], array)}'
    return None


# A padded axis, by its tensor and its place there.
_Lengths = Callable[[Sequence[TensorSpec], int, int], Mapping[tuple[str, int], int]]


def _padded_names(specs: Sequence[TensorSpec]) -> dict[str, int]:
    """Numbers the padded dimensions by name; one without a name is a dimension of its own."""
    names = [_name(spec, pad.axis) for spec in specs for pad in spec.pads]
    return {name: number for number, name in enumerate(dict.fromkeys(names))}


def _name(spec: TensorSpec, axis: int) -> str:
    return spec.shape[axis].symbol or f"{spec.name}.{axis}"


def _alike(specs: Sequence[TensorSpec], free: int, number: int) -> dict[tuple[str, int], int]:
    """The sizes of padded axes in a request of the trial: as if all first ones were one dimension. A tensor's first
    padded axis and its second differ."""
    shorter, most = _REQUESTS[number][2], max(rest for _, _, rest in _REQUESTS)
    by_name: dict[str, int] = {}
    for spec in specs:
        for place, pad in enumerate(spec.pads):
            by_name.setdefault(_name(spec, pad.axis), free - (shorter if place % 2 == 0 else most - shorter))
    return {(spec.name, pad.axis): by_name[_name(spec, pad.axis)] for spec in specs for pad in spec.pads}


def _apart_by_name(specs: Sequence[TensorSpec], free: int, number: int) -> dict[tuple[str, int], int]:
    """The same, where dimensions of different names have different sizes (of the first five), in each request."""
    numbers = _padded_names(specs)

    def size(name: str) -> int:
        return free - _REQUESTS[(number + 2 * numbers[name]) % len(_REQUESTS)][2]

    return {(spec.name, pad.axis): size(_name(spec, pad.axis)) for spec in specs for pad in spec.pads}


def _shape(spec: TensorSpec, rows: int, free: int, lengths: Mapping[tuple[str, int], int] | None = None) -> list[int]:
    """A shape that fits the spec: `rows` along a free batch axis, `free` along other free ones unless they are padded.

    Args:
        lengths: of padded axes, by their tensors.
    """
    sizes = []
    for axis, dimension in enumerate(spec.shape):
        if dimension.size >= 0:
            sizes.append(dimension.size)
        elif axis == spec.batch_axis:
            sizes.append(rows)
        else:
            sizes.append((lengths or {}).get((spec.name, axis), free))
    return sizes


def _has_rows(spec: TensorSpec) -> bool:
    return spec.shape[spec.batch_axis].size < 0


def _sample(rng: np.random.Generator, spec: TensorSpec, shape: Sequence[int], largest: int) -> Array:
    dtype = NUMPY_DTYPES[spec.dtype]
    if dtype.hasobject:
        return rng.choice([b"a", b"b"], shape).astype(object)
    if dtype.kind == "b":
        return rng.integers(0, 2, shape).astype(dtype)
    if dtype.kind in "iu":
        return rng.integers(0, largest + 1, shape).astype(dtype)
    return rng.random(shape).astype(dtype)


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


def _apart(array: Array, expected: Array) -> str:
    if array.shape != expected.shape:
        return f"shape {list(array.shape)}, alone {list(expected.shape)}"
    if expected.dtype.hasobject:
        return "other strings"
    furthest = np.abs(array.astype(np.float64) - expected.astype(np.float64)).max()
    return f"up to {furthest:.3g} off, of {np.abs(expected.astype(np.float64)).max():.3g}"
