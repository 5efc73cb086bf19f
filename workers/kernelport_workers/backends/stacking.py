"""Runs requests stacked along their batch axes, where each gets the same answer as alone."""

from collections.abc import Callable, Hashable, Mapping, Sequence
from itertools import accumulate, pairwise

import numpy as np

from kernelport.config.deployments import Batching
from kernelport.errors import KernelPortError
from kernelport.signature import Signature, TensorSpec, describe
from kernelport.stacking import RunSize, Share, Stacking
from kernelport.telemetry import metrics
from kernelport.tensors import WIRE_DTYPES, Array
from kernelport_workers.backends.base import LoadError, Outputs, Request

Inputs = Mapping[str, Array]
Run = Callable[[Inputs], Outputs]
"""One run of the model. Raises nothing but KernelPortError."""


class Stacker:
    """Answers requests; those that may share a run do.

    Args:
        deployment: the deployment's name.
        signature: of the model: its axes and pads say which may, if it is `batchable`.
        limits: of one run.
        run: runs the model.

    Attributes:
        limits: of one run; from the next one on.

    Raises:
        LoadError: an axis or a pad of the signature does not fit its tensor.
    """

    def __init__(self, deployment: str, signature: Signature, limits: Batching, run: Run) -> None:
        self._run_size = metrics.RUN_SIZE.labels(deployment)
        self.limits: Batching = limits
        self._run = run
        self._stacking = Stacking.of(signature)
        if self._stacking is not None:
            _check_axes(signature)
        self._inputs = {spec.name: spec for spec in signature.inputs}
        self._outputs = {spec.name: spec for spec in signature.outputs}

    def run(self, requests: Sequence[Request]) -> list[Outputs | KernelPortError]:
        """Answers each request. When a shared run fails, or gives outputs that cannot be split by rows, its requests
        run one by one."""
        results: dict[int, Outputs | KernelPortError] = {}
        for places in self._runs([request.inputs for request in requests]):
            self._run_size.observe(len(places))
            sharing = [requests[place] for place in places]
            answers: Sequence[Outputs | KernelPortError] | None = None
            if len(sharing) > 1:
                answers = self.together([request.inputs for request in sharing])
            results.update(zip(places, answers or map(self._alone, sharing), strict=True))
        return [results[place] for place in range(len(requests))]

    def shared_runs(self, requests: Sequence[Inputs]) -> list[list[Inputs]]:
        """The requests of each run, of those that may share one at all."""
        if self._stacking is None:
            return []
        stacking = self._stacking
        sharing = [inputs for inputs in requests if not self._share(stacking, inputs).alone]
        return [[sharing[place] for place in places] for places in self._runs(sharing)]

    def together(self, requests: Sequence[Inputs]) -> list[Outputs] | None:
        """The answers of one run that requests of one group share; None when there is no such run."""
        try:
            outputs = self._run({name: self._stacked(name, requests) for name in requests[0]})
        except KernelPortError:
            return None
        answers: list[Outputs] = [{} for _ in requests]
        for name, array in outputs.items():
            parts = self._split(self._outputs[name], array, requests)
            if parts is None:
                return None
            for answer, part in zip(answers, parts, strict=True):
                answer[name] = part
        return answers

    def _runs(self, requests: Sequence[Inputs]) -> list[list[int]]:
        """The places of the requests of each run."""
        if self._stacking is None:
            return [[place] for place in range(len(requests))]
        runs: list[list[int]] = []
        latest: dict[Hashable, tuple[list[int], RunSize]] = {}
        for place, inputs in enumerate(requests):
            share = self._share(self._stacking, inputs)
            size = sum(array.nbytes for array in inputs.values())
            run, run_size = latest.get(share.group) or ([], RunSize(self.limits))
            if share.alone or not run_size.admits(share, size):
                run, run_size = [], RunSize(self.limits)
                run_size.admits(share, size)
            if not run:
                runs.append(run)
                latest[share.group] = run, run_size
            run.append(place)
        return runs

    def _share(self, stacking: Stacking, inputs: Inputs) -> Share:
        return stacking.share_of_shapes(
            tuple([(name, WIRE_DTYPES[array.dtype], array.shape) for name, array in inputs.items()])
        )

    def _stacked(self, name: str, requests: Sequence[Inputs]) -> Array:
        spec, arrays = self._inputs[name], [request[name] for request in requests]
        for pad in spec.pads:
            arrays = _padded(arrays, pad.axis, pad.value)
        return np.concatenate(arrays, axis=spec.batch_axis)

    def _split(self, spec: TensorSpec, array: Array, requests: Sequence[Inputs]) -> list[Array] | None:
        """An output's part for each request; None when its rows or lengths are not those of the inputs."""
        ends = [0, *accumulate(map(self._rows, requests))]
        if _size(array, spec.batch_axis) != ends[-1]:
            return None
        parts = [_cut(array, spec.batch_axis, start, end) for start, end in pairwise(ends)]
        for pad in spec.pads:
            lengths = [request[pad.follows].shape[pad.follows_axis] for request in requests]
            if _size(array, pad.axis) != max(lengths):
                return None
            parts = [_cut(part, pad.axis, 0, length) for part, length in zip(parts, lengths, strict=True)]
        return parts

    def _rows(self, request: Inputs) -> int:
        name, array = next(iter(request.items()))
        return int(array.shape[self._inputs[name].batch_axis])

    def _alone(self, request: Request) -> Outputs | KernelPortError:
        try:
            request.check()
            return self._run(request.inputs)
        except KernelPortError as error:
            return error


def is_off(signature: Signature, limits: Batching) -> bool:
    """Whether the deployment wants no stacking, whatever the model is; the signature then gives that as its reason."""
    if limits.axes != "off":
        return False
    signature.batchable, signature.reason = False, "the deployment's batching.axes is off"
    return True


def _check_axes(signature: Signature) -> None:
    inputs = {spec.name: spec for spec in signature.inputs if not spec.optional}
    for spec in (*inputs.values(), *signature.outputs):
        for axis in (spec.batch_axis, *(pad.axis for pad in spec.pads)):
            if spec.ranked and axis >= len(spec.shape):
                raise LoadError(f'tensor "{spec.name}": expected an axis of {describe(spec)}, got {axis}')
    for spec in signature.outputs:
        for pad in spec.pads:
            followed = inputs.get(pad.follows)
            if followed is None or pad.follows_axis not in {each.axis for each in followed.pads}:
                raise LoadError(
                    f'output "{spec.name}": axis {pad.axis} is as long as axis {pad.follows_axis} of "{pad.follows}", '
                    "which is no padded axis of an input that must be given"
                )


def _size(array: Array, axis: int) -> int:
    return array.shape[axis] if axis < array.ndim else -1


def _cut(array: Array, axis: int, start: int, end: int) -> Array:
    return array[(slice(None),) * axis + (slice(start, end),)]


def _padded(arrays: Sequence[Array], axis: int, value: float) -> list[Array]:
    """The arrays, as long along the axis as the longest of them."""
    longest = max(array.shape[axis] for array in arrays)
    padded = []
    for array in arrays:
        shape = list(array.shape)
        shape[axis] = longest - shape[axis]
        padded.append(np.concatenate([array, np.full(shape, value, array.dtype)], axis) if shape[axis] else array)
    return padded
