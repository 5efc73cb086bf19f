"""Which requests may share a run of the model, and how large a run gets: the one place where that is decided.

The front door forms batches by it, a job's pages are cut by it, and a worker stacks by it.
"""

import math
from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple, Self

from kernelport.config.deployments import Batching
from kernelport.signature import Signature, TensorSpec
from kernelport.tensors import ITEMSIZES, Shapes, shapes_of
from kernelport.v1 import inference_pb2 as pb

# A proof takes sizes that a model computes as float32 to be exact.
_LONGEST_AXIS = 2**24
# Of a STRING element, about: nothing is known of its length.
_STRING_BYTES = 8
# Callers ask with the same shapes again and again: what so many of them ask for is remembered.
_SHARES_KEPT = 1024


class Share(NamedTuple):
    """What a request asks of the run that it shares.

    Attributes:
        group: requests of equal groups may be in one batch, and share its run. Groups of one model can be sorted.
        alone: it shares no run, whatever its batch; a group has either such requests or others.
        rows: how many rows it has.
        extents: its sizes along the padded axes of the inputs, input by input.
        cells: per input the bytes of one row without its padded axes, and which of `extents` these are; empty where
            nothing is padded. Equal within a group.
    """

    group: Hashable
    alone: bool = False
    rows: int = 1
    extents: tuple[int, ...] = ()
    cells: tuple[tuple[int, tuple[int, ...]], ...] = ()


# Marks the groups of those that run alone: no tensor has an empty name.
_ALONE = ("", 0)
# Of a model whose requests are not stacked: a batch is any mixture of them.
ANY = Share(None, alone=True)


class Stacking:
    """How requests to one model are stacked, unpacked once from its signature."""

    def __init__(self, inputs: Iterable[TensorSpec]) -> None:
        self._axes: dict[str, int] = {}
        self._pads: dict[str, tuple[int, ...]] = {}
        alike: dict[str, list[tuple[str, int]]] = {}
        for spec in inputs:
            if spec.optional:
                continue
            self._axes[spec.name] = spec.batch_axis
            self._pads[spec.name] = tuple(pad.axis for pad in spec.pads)
            for axis, dimension in enumerate(spec.shape):
                if dimension.symbol and axis != spec.batch_axis:
                    alike.setdefault(dimension.symbol, []).append((spec.name, axis))
        # A proof takes equally named dimensions to be equal. ONNX Runtime does not ask for it.
        self._alike = [places for places in alike.values() if len(places) > 1]
        self._is_padded = any(self._pads.values())
        self.share_of_shapes: Callable[[Shapes], Share] = lru_cache(_SHARES_KEPT)(self._share)

    @classmethod
    def of(cls, signature: Signature | None) -> Self | None:
        """How requests are stacked; None when they are not."""
        if signature is None or not signature.batchable or all(spec.optional for spec in signature.inputs):
            return None
        return cls(signature.inputs)

    def share(self, tensors: Iterable[pb.Tensor]) -> Share:
        """What sound tensors that fit the signature ask of a run."""
        return self.share_of_shapes(shapes_of(tensors))

    def _share(self, inputs: Shapes) -> Share:
        """The same, of names, dtypes and shapes.

        A request runs alone when it leaves inputs out or gives optional ones, when its inputs have different numbers of
        rows, when dimensions differ that the model names alike, and when an axis is empty or very long. Its batch has
        only such as have the same inputs, alike but for their rows: a pipeline may have a way of its own with them.
        """
        rows = 0
        alone = len(inputs) != len(self._axes)
        agreed = []
        for name, dtype, shape in inputs:
            axis = self._axes.get(name, 0)
            size = shape[axis] if axis < len(shape) else 0
            alone = alone or not size or (rows != 0 and size != rows) or name not in self._axes
            alone = alone or not 0 < min(shape) <= max(shape) < _LONGEST_AXIS
            rows = size
            free = self._pads.get(name, ())
            alone = alone or max(free, default=0) >= len(shape)
            agreed.append((name, dtype, *[-1 if at == axis or at in free else size for at, size in enumerate(shape)]))
        agreed.sort()  # by name: there are no two of one
        if alone or (self._alike and not self._agree({name: shape for name, _, shape in inputs})):
            return Share((_ALONE, *agreed), alone=True)
        if not self._is_padded:
            return Share(tuple(agreed), rows=rows)
        extents, cells = self._padded(inputs)
        return Share(tuple(agreed), False, rows, extents, cells)

    def _agree(self, shapes: dict[str, tuple[int, ...]]) -> bool:
        return all(len({shapes[name][axis] for name, axis in places}) == 1 for places in self._alike)

    def _padded(self, inputs: Shapes) -> tuple[tuple[int, ...], tuple[tuple[int, tuple[int, ...]], ...]]:
        extents: list[int] = []
        cells = []
        for name, dtype, shape in sorted(inputs, key=lambda each: each[0]):
            free = self._pads[name]
            fixed = math.prod(size for at, size in enumerate(shape) if at != self._axes[name] and at not in free)
            cells.append(
                (fixed * ITEMSIZES.get(dtype, _STRING_BYTES), tuple(range(len(extents), len(extents) + len(free))))
            )
            extents += [shape[axis] for axis in free]
        return tuple(extents), tuple(cells)


@dataclass
class RunSize:
    """The size of a run as requests of one group join it.

    Attributes:
        requests, rows: how many there are.
        size: bytes of inputs as they came.
        longest: per padded axis the largest extent.
    """

    limits: Batching
    requests: int = 0
    rows: int = 0
    size: int = 0
    longest: tuple[int, ...] = ()

    def admits(self, share: Share, size: int) -> bool:
        """Lets a request join, unless the run would pass a limit: of requests, rows, or bytes after padding. The first
        always may.

        Args:
            size: bytes of its inputs.
        """
        requests, rows, total = self.requests + 1, self.rows + share.rows, self.size + size
        longest, padded = share.extents, 0
        if share.cells:
            longest = tuple(map(max, self.longest, share.extents)) if self.longest else share.extents
            padded = sum(cell * rows * math.prod(longest[at] for at in axes) for cell, axes in share.cells)
        limits = self.limits
        if self.requests and (
            requests > limits.max_batch
            or total > limits.max_bytes
            or padded > limits.max_bytes
            or (rows > limits.max_rows and not share.alone)
        ):
            return False
        self.requests, self.rows, self.size, self.longest = requests, rows, total, longest
        return True
