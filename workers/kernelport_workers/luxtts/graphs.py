"""The decoder step as recorded CUDA graphs: one launch for hundreds of kernels, per bucket of batch and length."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from kernelport_workers.luxtts.decoder import FlowDecoder
from kernelport_workers.luxtts.zipformer import Frames

Record = Callable[[Callable[[], Tensor]], tuple[Callable[[], None], Tensor]]
"""Runs a function once and returns what repeats it, and the tensor that then holds its result."""

FRAME_STEP = 128
BATCH_STEP = 16
MAX_GRAPHS = 96


def bucket(jobs: int, frames: int) -> tuple[int, int]:
    """Batch size (the next power of two, from 16 on the next multiple of 16) and frames of the graph for a batch."""
    size = 1 << (jobs - 1).bit_length() if jobs <= BATCH_STEP else -(-jobs // BATCH_STEP) * BATCH_STEP
    return size, -(-frames // FRAME_STEP) * FRAME_STEP


class CudaRecorder:
    """Records CUDA graphs that share one memory pool: only one of them runs at a time."""

    def __init__(self) -> None:
        self._pool = torch.cuda.graph_pool_handle()

    def __call__(self, function: Callable[[], Tensor]) -> tuple[Callable[[], None], Tensor]:
        """Warm the function up on a stream of its own, as recording requires, and record it."""
        stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(2):
                function()
        torch.cuda.current_stream().wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=self._pool):
            result = function()
        return graph.replay, result


@dataclass(slots=True)
class _Recorded:
    """One graph and all tensors that it reads and writes: it knows their addresses, so they must live as long."""

    x: Tensor
    condition: Tensor
    mask: Tensor
    times: list[Tensor]
    frames: Frames
    replay: Callable[[], None]
    result: Tensor


class GraphedSteps:
    """Decoder steps replayed from graphs.

    Args:
        decoder: The velocity network.
        record: Recorder; tests on a CPU give one that repeats the function.
    """

    def __init__(self, decoder: FlowDecoder, record: Record) -> None:
        self._decoder = decoder
        self._record = record
        self._graphs: OrderedDict[tuple[int, int], _Recorded] = OrderedDict()

    def begin(self, condition: Tensor, mask: Tensor) -> Callable[[Tensor, Sequence[Tensor]], Tensor]:
        """Prepare the steps of one batch.

        Args:
            condition: Projected condition (B, N, dim) of a bucket's size.
            mask: Padding mask (B, N).

        Returns:
            The velocity of a state (B, N, F) given the time vectors; overwritten by the next call.
        """
        size = (condition.shape[0], condition.shape[1])
        recorded = self._graphs.get(size)
        if recorded is None:
            recorded = self._graphs[size] = self._recorded(condition, mask)
            if len(self._graphs) > MAX_GRAPHS:
                self._graphs.popitem(last=False)
        self._graphs.move_to_end(size)
        recorded.condition.copy_(condition)
        recorded.mask.copy_(mask)

        def velocity(x: Tensor, times: Sequence[Tensor]) -> Tensor:
            recorded.x.copy_(x)
            for kept, vector in zip(recorded.times, times, strict=True):
                kept.copy_(vector)
            recorded.replay()
            return recorded.result

        return velocity

    def _recorded(self, condition: Tensor, mask: Tensor) -> _Recorded:
        config = self._decoder.config
        x = torch.zeros(*condition.shape[:2], config.out_dim, device=condition.device)
        kept, padding = condition.clone(), mask.clone()
        times = [torch.zeros(config.dim, device=x.device, dtype=condition.dtype) for _ in config.downsampling]
        frames = Frames.of(kept, condition.shape[1], config.pos_dim, padding)
        replay, result = self._record(lambda: self._decoder(x, kept, times, frames))
        return _Recorded(x, kept, padding, times, frames, replay, result)
