"""What a worker asks of a model that makes its answers in pieces, such as a voice that speaks clause by clause."""

import functools
import logging
from abc import abstractmethod
from collections import deque
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import ClassVar, TypeVar

import numpy as np

from kernelport.errors import FieldViolation, InternalError, InvalidArgumentError, KernelPortError, in_words
from kernelport.growing import GrowingArray
from kernelport.telemetry import logs
from kernelport.tensors import Array
from kernelport_workers.backends.base import Backend, Outputs, Request

log = logging.getLogger(__name__)

T = TypeVar("T")

LEAST_IN_HAND, MOST_IN_HAND = 2, 64
"""Of requests to a deployment in a worker's hands; two at least, so that a short one need not wait for a long one."""
FIRST_STEP_S = 0.1
"""What a step is taken to take before any has been measured, in seconds."""
# Of the sound that could be made in a second, so much may be promised to listeners.
_FED_SHARE = 0.8
# What a step has taken counts for so much less with each step behind it.
_KEPT_SHARE = 0.95


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


class WholeAnswer:
    """An answer as its pieces come: what goes on from piece to piece is put together at once, so that it is there once.

    Args:
        joined: the outputs that go on; of the others those of the first piece count.
    """

    def __init__(self, joined: Collection[str] = ()) -> None:
        self._joined = joined
        self._outputs: dict[str, GrowingArray | Array] = {}

    def add(self, frame: Frame) -> None:
        """Adds the next piece."""
        if not self._outputs:
            # Copied: the next piece, or that of another request, may be computed into the same memory.
            self._outputs = {
                name: GrowingArray() if name in self._joined else np.array(output, subok=True)
                for name, output in frame.outputs.items()
            }
        for name, output in self._outputs.items():
            if isinstance(output, GrowingArray):
                output.append(np.asarray(frame.outputs[name]))

    @property
    def nbytes(self) -> int:
        """How much of it there is."""
        return sum(output.nbytes for output in self._outputs.values())

    def outputs(self) -> Outputs:
        """All of it; at least one piece has been added, and none will be."""
        return {
            name: output.array() if isinstance(output, GrowingArray) else output
            for name, output in self._outputs.items()
        }


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

    @property
    def is_ready(self) -> bool:
        """Whether its next step can be made: False while what that takes is got beside the steps of others. Asked
        before each step, and answered at once."""
        return True

    @property
    def kept_bytes(self) -> int:
        """How much of what has been made it keeps until its end, such as a file that is being written."""
        return 0


class Steps:
    """What the last steps of a backend have taken, and what has come of them.

    Args:
        pieces: how many utterances share a step.
    """

    def __init__(self, pieces: int = 1) -> None:
        self._least = max(LEAST_IN_HAND, pieces)
        self._count = self._took_s = self._sound_s = 0.0

    def note(self, took_s: float, sound_s: float) -> None:
        """A step has taken so long, and made so many seconds of sound."""
        self._count = self._count * _KEPT_SHARE + 1
        self._took_s = self._took_s * _KEPT_SHARE + took_s
        self._sound_s = self._sound_s * _KEPT_SHARE + sound_s

    @property
    def step_s(self) -> float:
        """Seconds that a step takes."""
        return self._took_s / self._count if self._count else FIRST_STEP_S

    @property
    def capacity(self) -> int:
        """How many requests are taken in hand: as many as could be fed at once if every one had a listener who plays
        what comes. A backend that has made no sound yet takes as many as any may."""
        if not self._sound_s:
            return MOST_IN_HAND
        fed = int(_FED_SHARE * self._sound_s / max(self._took_s, 1e-9))
        return max(self._least, min(fed, MOST_IN_HAND))


class SteppedBackend(Backend):
    """A backend that makes answers in pieces, those of many requests in turn.

    A piece follows from its request and its index alone: pieces can be made in any company, by any worker that computes
    alike, and once more after a death. The whole answer is what the pieces are, one after another.
    """

    pieces_a_step: int = 1
    """How many utterances share a step: more than 1 where the model gains by it."""

    joined: ClassVar[frozenset[str]] = frozenset({"audio"})
    """The outputs that go on from piece to piece, along their first axis. The others are the same in all."""

    @functools.cached_property
    def steps(self) -> Steps:
        """What its steps have taken, those for jobs aside."""
        return Steps(self.pieces_a_step)

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
        """Makes the pieces of requests in order, as many at a time as share a step; before each step it asks of every
        request in it whether the answer is still wanted."""
        results: dict[int, Outputs | KernelPortError] = {}
        answers = [WholeAnswer(self.joined) for _ in requests]
        waiting = deque(enumerate(requests))
        under_way: dict[int, Utterance] = {}
        while waiting or under_way:
            while waiting and len(under_way) < self.pieces_a_step:
                index, request = waiting.popleft()
                try:
                    under_way[index] = self.opened(request)
                except KernelPortError as error:
                    results[index] = error
            for index in list(under_way):
                try:
                    requests[index].check()
                except KernelPortError as error:
                    results[index] = error
                    del under_way[index]
            step = list(under_way.items())
            for (index, _), frame in zip(step, self.stepped([each for _, each in step]), strict=True):
                if isinstance(frame, KernelPortError):
                    results[index] = frame
                else:
                    answers[index].add(frame)
                    if frame.is_last:
                        results[index] = answers[index].outputs()
                if index in results:
                    del under_way[index]
        return [results[index] for index in range(len(requests))]

    def opened(self, request: Request, first: int = 0) -> Utterance:
        """`open`; whatever else a model raises is an InternalError."""
        try:
            return self.open(request, first)
        except KernelPortError:
            raise
        except Exception as error:
            log.exception("the model failed on a request", extra=logs.WITHOUT_TEXT)
            raise InternalError(f"the model failed: {in_words(error)}") from error

    def stepped(self, utterances: Sequence[Utterance]) -> list[Frame | KernelPortError]:
        """A step; whatever a model raises, or gives in place of frames, is the error of each utterance."""
        if not utterances:
            return []
        try:
            frames = self.step(utterances)
            if len(frames) != len(utterances) or not all(isinstance(each, (Frame, KernelPortError)) for each in frames):
                got = ", ".join(type(each).__name__ for each in frames)
                raise InternalError(f"the model's step: expected {len(utterances)} frames or errors, got {got}")
            return frames
        except KernelPortError as error:
            return [error] * len(utterances)
        # A model is anybody's code; ONNX Runtime's exceptions have no other base.
        except Exception as error:
            log.exception("the model failed on a step of %d", len(utterances), extra=logs.WITHOUT_TEXT)
            return [InternalError(f"the model failed: {in_words(error)}")] * len(utterances)


def from_index(pieces: Iterator[T], first: int) -> Iterator[T]:
    """The pieces of an answer from an index on; none when it is the one behind the last.

    Raises:
        InvalidArgumentError: when it is a later one, with a violation that names `resume_from`.
    """
    passed = sum(1 for _ in islice(pieces, first))
    if passed < first:
        described = f"expected at most {passed}, the number of messages in the answer, got {first}"
        raise InvalidArgumentError.of([FieldViolation("resume_from", described)])
    return pieces
