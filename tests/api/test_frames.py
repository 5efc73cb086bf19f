"""The pieces of an answer between the reply list and their caller."""

import asyncio

import pytest

from kernelport.errors import InvalidArgumentError, UnavailableError
from kernelport.internal.v1.queue_pb2 import Completion
from kernelport.v1 import inference_pb2 as pb
from kernelport_api.queueing.frames import FEW_KEPT, MOST_KEPT, Frames


def piece(sequence: int, *, more: bool = True) -> Completion:
    return Completion(id=b"r", sequence=sequence, response=b"piece", more=more)


def taken(frames: Frames, count: int) -> list[int]:
    async def run() -> list[int]:
        return [(await frames.take()).sequence for _ in range(count)]

    return asyncio.run(run())


def test_a_piece_that_comes_twice_is_given_once() -> None:
    frames = Frames(0, lambda _: None)
    for sequence in (0, 1, 0, 1, 2):
        frames.deliver(piece(sequence))
    assert taken(frames, 3) == [0, 1, 2]


def test_a_gap_is_no_answer() -> None:
    frames = Frames(0, lambda _: None)
    for sequence in (0, 2):
        frames.deliver(piece(sequence))
    assert taken(frames, 1) == [0]
    with pytest.raises(UnavailableError, match="lost"):
        taken(frames, 1)


def test_behind_the_last_message_there_is_an_empty_one_and_no_other() -> None:
    frames = Frames(1, lambda _: None)
    frames.deliver(piece(0, more=False))
    end = pb.InferResponse.FromString(asyncio.run(frames.take()).response)
    assert (end.sequence, end.last, len(end.outputs)) == (1, True, 0)
    frames = Frames(3, lambda _: None)
    frames.deliver(piece(0, more=False))
    with pytest.raises(InvalidArgumentError, match="at most 1, the number of messages in the answer, got 3"):
        taken(frames, 1)


def test_its_worker_pauses_while_much_is_kept() -> None:
    told: list[bool] = []
    frames = Frames(0, told.append)
    for sequence in range(MOST_KEPT):
        assert told == []
        frames.deliver(piece(sequence))
    assert told == [True]
    taken(frames, MOST_KEPT - FEW_KEPT - 1)
    assert told == [True]
    taken(frames, 1)
    assert told == [True, False]


def test_a_caller_who_leaves_leaves_no_pause_behind() -> None:
    told: list[bool] = []
    frames = Frames(0, told.append)
    for sequence in range(MOST_KEPT):
        frames.deliver(piece(sequence))
    assert [each.sequence for each in frames.close()] == list(range(MOST_KEPT))
    assert told == [True, False]
