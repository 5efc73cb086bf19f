"""What the pieces of an answer are together."""

from collections.abc import Iterable

from kernelport_workers.backends.base import Outputs
from kernelport_workers.backends.stepped import Frame, SteppedBackend, WholeAnswer


def together(backend: SteppedBackend, frames: Iterable[Frame]) -> Outputs:
    """The answer that pieces make up."""
    whole = WholeAnswer(backend.joined)
    for frame in frames:
        whole.add(frame)
    return whole.outputs()
