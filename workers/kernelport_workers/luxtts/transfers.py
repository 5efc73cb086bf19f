"""Copies to and from a GPU that nobody waits for: page-locked memory, on a stream beside the one that computes."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor


class Transfers:
    """Copies of one device. On a CPU nothing is copied.

    Args:
        device: Where tensors are computed.

    Attributes:
        overlap: Whether copies go on while the device computes.
    """

    def __init__(self, device: torch.device) -> None:
        self.overlap = device.type == "cuda"
        self._device = device
        self._stream = torch.cuda.Stream(device) if self.overlap else None  # type: ignore[no-untyped-call]

    def locked(self, tensor: Tensor) -> Tensor:
        """The tensor in page-locked memory, from which a copy can go on by itself."""
        return tensor.pin_memory() if self.overlap else tensor

    def to_device(self, tensors: Sequence[Tensor]) -> list[Tensor]:
        """Copies of page-locked tensors, ready for what the current stream computes next."""
        if self._stream is None:
            return [tensor.to(self._device) for tensor in tensors]
        current = torch.cuda.current_stream(self._device)
        with torch.cuda.stream(self._stream):
            copies = [tensor.to(self._device, non_blocking=True) for tensor in tensors]
        current.wait_stream(self._stream)
        for copy in copies:
            copy.record_stream(current)
        return copies

    def to_host(self, tensors: Sequence[Tensor]) -> tuple[list[Tensor], Callable[[], None]]:
        """Copies in the CPU's memory of what the current stream has been asked to compute, and what waits for them."""
        if self._stream is None:
            return list(tensors), lambda: None
        self._stream.wait_stream(torch.cuda.current_stream(self._device))
        copies = []
        with torch.cuda.stream(self._stream):
            for tensor in tensors:
                copies.append(torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True))
                copies[-1].copy_(tensor, non_blocking=True)
                tensor.record_stream(self._stream)
            event = self._stream.record_event()
        return copies, event.synchronize
