"""What a worker asks of a model that makes its answers in pieces, such as a voice that speaks clause by clause."""

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from kernelport.errors import InternalError, KernelPortError, in_words
from kernelport_workers.backends.base import Backend, Outputs, Request


@dataclass(frozen=True)
class Frame:
    """One piece of an answer.

    Attributes:
        index: of the piece, from 0.
        outputs: as the backend's signature declares them.
        seconds: how long it plays.
        is_last: no other piece follows.
    """

    index: int
    outputs: Outputs
    seconds: float
    is_last: bool


class Utterance:
    """A request whose answer is made piece by piece. A backend keeps what it needs in a subclass.

    Attributes:
        request: what is answered.
        next_index: of the piece that its next step makes, from 0.
        is_done: whether its last piece has been made.
    """

    def __init__(self, request: Request, next_index: int) -> None:
        self.request = request
        self.next_index = next_index
        self.is_done = False


class SteppedBackend(Backend):
    """A backend that makes answers in pieces, those of many requests in turn.

    A piece follows from its request and its index alone: pieces can be made in any company, by any worker that computes
    alike, and once more after a death. The whole answer is what the pieces are, one after another.
    """

    pieces_a_step: ClassVar[int] = 1
    """How many utterances share a step: more than 1 where the model gains by it."""

    joined: ClassVar[frozenset[str]] = frozenset({"audio"})
    """The outputs that go on from piece to piece, along their first axis. The others are the same in all."""

    @abstractmethod
    def open(self, request: Request, first: int = 0) -> Utterance:
        """Checks a request and gets ready to make its pieces from the index `first` on. That costs hardly anything.

        Raises:
            InvalidArgumentError: when an input is out of range; a violation names the tensor.
        """

    @abstractmethod
    def step(self, utterances: Sequence[Utterance]) -> list[Frame | KernelPortError]:
        """Makes the next piece of each utterance; element i belongs to utterance i. None of them is done.

        Args:
            utterances: at most `pieces_a_step`.
        """

    def run(self, requests: Sequence[Request]) -> list[Outputs | KernelPortError]:
        """Makes every piece of one request after the other, asking before each whether the answer is still wanted."""
        return [self._whole(request) for request in requests]

    def _whole(self, request: Request) -> Outputs | KernelPortError:
        frames: list[Frame] = []
        try:
            utterance = self.open(request)
            while not utterance.is_done:
                request.check()
                (frame,) = self.stepped([utterance])
                if isinstance(frame, KernelPortError):
                    return frame
                frames.append(frame)
        except KernelPortError as error:
            return error
        return self.whole(frames)

    def stepped(self, utterances: Sequence[Utterance]) -> list[Frame | KernelPortError]:
        """A step; whatever a model raises is the error of each utterance."""
        try:
            return self.step(utterances)
        except KernelPortError as error:
            return [error] * len(utterances)
        # A model is anybody's code; ONNX Runtime's exceptions have no other base.
        except Exception as error:
            return [InternalError(f"the model failed: {in_words(error)}")] * len(utterances)

    @classmethod
    def whole(cls, frames: Sequence[Frame]) -> Outputs:
        """The answer that frames are together; there is at least one."""
        outputs = frames[0].outputs
        parts = {name: [frame.outputs[name] for frame in frames] for name in outputs if name in cls.joined}
        return outputs | {name: np.concatenate(arrays) for name, arrays in parts.items()}
