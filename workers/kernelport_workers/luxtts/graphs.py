"""The decoder step as recorded CUDA graphs: one launch for hundreds of kernels, where launching is what takes the time.

Graphs are recorded when the model is loaded, for few jobs of any usual length. Larger batches keep a GPU busy without,
and run at their own size: rounding them up would cost more than it saves.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from kernelport_workers.luxtts.attention import Frames
from kernelport_workers.luxtts.config import ZipformerConfig
from kernelport_workers.luxtts.decoder import FlowDecoder

_LOGGER = logging.getLogger(__name__)

FRAME_STEP = 128
LONGEST = 2048
"""Frames of the longest graph: 22 s, of which a chunk of 100 tokens and its reference seldom have more than 15."""

JOBS = (1, 2, 4, 8)
MOST_FRAMES = 8192
"""Frames of a graph's jobs together: with more, computing takes longer than launching."""

MOST_BYTES = 2 << 30
"""Memory that graphs may take together; what does not fit runs without."""


def sizes(max_batch: int) -> list[tuple[int, int]]:
    """Jobs and frames of every graph, largest first: smaller ones then find the memory that they share."""
    jobs = [count for count in JOBS if count <= max_batch]
    lengths = range(LONGEST, FRAME_STEP, -FRAME_STEP)
    wanted = [(count, length) for count in jobs for length in lengths if count * length <= MOST_FRAMES]
    return sorted(wanted, key=lambda size: -size[0] * size[1] ** 2)


class Recorder(Protocol):
    """Records functions on tensors."""

    def __call__(self, function: Callable[[], None]) -> Callable[[], None]:
        """Run a function once and return what repeats it."""

    def memory(self) -> int:
        """Bytes that all recordings take together."""


class CudaRecorder:
    """Records CUDA graphs that share one memory pool: only one of them runs at a time."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._pool = torch.cuda.graph_pool_handle()
        self._before = torch.cuda.memory_reserved(device)

    def __call__(self, function: Callable[[], None]) -> Callable[[], None]:
        """Warm the function up on a stream of its own, as recording requires, and record it."""
        stream = torch.cuda.Stream(self._device)  # type: ignore[no-untyped-call]
        stream.wait_stream(torch.cuda.current_stream(self._device))
        with torch.cuda.stream(stream):
            for _ in range(2):
                function()
        torch.cuda.current_stream(self._device).wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=self._pool):
            function()
        return graph.replay

    def memory(self) -> int:
        """See :meth:`Recorder.memory`; what warming up has left is given back first."""
        torch.cuda.empty_cache()
        return torch.cuda.memory_reserved(self._device) - self._before


@dataclass(slots=True)
class _Memory:
    """What all graphs read and write, large enough for the largest: they know its addresses."""

    x: Tensor
    condition: Tensor
    mask: Tensor
    result: Tensor
    times: list[Tensor]
    frames: Frames

    @classmethod
    def of(cls, config: ZipformerConfig, like: Tensor, longest: int, cells: int) -> _Memory:
        """Room for so many jobs times frames, on the device and in the type of ``like``."""
        return cls(
            x=torch.zeros(cells, config.out_dim, device=like.device),
            condition=like.new_zeros(cells, config.dim),
            mask=torch.zeros(cells, dtype=torch.bool, device=like.device),
            result=torch.zeros(cells, config.out_dim, device=like.device),
            times=[like.new_zeros(config.dim) for _ in config.downsampling],
            frames=Frames.of(like, longest, config.pos_dim),
        )


class GraphedSteps:
    """Decoder steps replayed from graphs, all of which are recorded here.

    Args:
        decoder: The velocity network.
        record: Recorder; tests on a CPU give one that repeats the function.
        wanted: Jobs and frames of each graph.
        use: Called with jobs and frames before each is recorded: which kernels it gets.
        most_bytes: No graph is recorded once they hold so much.

    Attributes:
        sizes: Jobs and frames of the graphs there are.
        bytes_held: Memory of all of them.
    """

    def __init__(
        self,
        decoder: FlowDecoder,
        record: Recorder,
        wanted: Sequence[tuple[int, int]],
        use: Callable[[int, int], None] = lambda jobs, frames: None,
        most_bytes: int = MOST_BYTES,
    ) -> None:
        self._decoder = decoder
        self._replays: dict[tuple[int, int], Callable[[], None]] = {}
        longest, cells = max(length for _, length in wanted), max(count * length for count, length in wanted)
        self._memory = _Memory.of(decoder.config, decoder.in_proj.weight, longest, cells)
        self.bytes_held = 0
        for size in wanted:
            use(*size)
            self._replays[size] = self._recorded(record, *size)
            self.bytes_held = record.memory()
            if self.bytes_held > most_bytes:
                break
        self.sizes = frozenset(self._replays)
        _LOGGER.info("%d of %d graphs, %.2f GiB", len(self.sizes), len(wanted), self.bytes_held / 2**30)

    def bucket(self, jobs: int, frames: int) -> tuple[int, int] | None:
        """Jobs and frames of the smallest graph for a batch, or None when there is none."""
        fitting: Iterable[tuple[int, int]] = (size for size in self.sizes if size[0] >= jobs and size[1] >= frames)
        return min(fitting, key=lambda size: size[0] * size[1], default=None)

    def begin(self, condition: Tensor, mask: Tensor) -> Callable[[Tensor, Sequence[Tensor]], Tensor]:
        """Prepare the steps of one batch.

        Args:
            condition: Projected condition (B, N, dim) of a graph's size.
            mask: Padding mask (B, N).

        Returns:
            The velocity of a state (B, N, F) given the time vectors; overwritten by the next call.
        """
        jobs, frames, _ = condition.shape
        cells, memory, replay = jobs * frames, self._memory, self._replays[jobs, frames]
        memory.condition[:cells].view_as(condition).copy_(condition)
        memory.mask[:cells].view_as(mask).copy_(mask)

        def velocity(x: Tensor, times: Sequence[Tensor]) -> Tensor:
            memory.x[:cells].view_as(x).copy_(x)
            for kept, vector in zip(memory.times, times, strict=True):
                kept.copy_(vector)
            replay()
            return memory.result[:cells].view_as(x)

        return velocity

    def _recorded(self, record: Recorder, jobs: int, frames: int) -> Callable[[], None]:
        memory, cells = self._memory, jobs * frames
        x, condition, mask, result = (
            each[:cells].reshape(jobs, frames, *each.shape[1:])
            for each in (memory.x, memory.condition, memory.mask, memory.result)
        )
        described = Frames(memory.frames.positions, mask, memory.frames.scratch)

        def step() -> None:
            result.copy_(self._decoder(x, condition, memory.times, described))

        with torch.inference_mode():
            replay = record(step)
        memory.frames.scratch = described.scratch
        return replay
