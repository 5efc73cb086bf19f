"""Speech that is heard while it is made."""

import asyncio
import math
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import grpc
import numpy as np
import pytest

from kernelport import AsyncClient, Client, InvalidArgumentError, Speech, tensors
from kernelport.supervisor.stack import Stack
from kernelport.tensors import Array
from kernelport.text import passages_of, pieces, spoken_passages
from kernelport.v1 import inference_pb2 as pb
from kernelport.v1 import inference_pb2_grpc
from kernelport_ops.bench.texts import sentences
from kernelport_workers.speech.joins import AUDIBLE

RATE = 24_000
TEXTS = [
    "Good morning.",
    "Yes. The train to the coast leaves at half past seven, and nobody looked up; it was late, and the sea was calm.",
    'One paragraph.\n\nAnother one. <break time="1s"/>Why? Nobody knows. ' + "The clocks were striking thirteen. " * 12,
]


def joined(pieces: list[Speech]) -> Array:
    return np.concatenate([piece.audio for piece in pieces])


def messages(stub: inference_pb2_grpc.InferenceServiceStub, text: str, first: int = 0) -> Iterator[pb.InferResponse]:
    inputs = tensors.from_arrays({"text": np.frombuffer(text.encode(), np.uint8)})
    request = pb.InferRequest(model="hibari-en", inputs=inputs, resume_from=first)
    yield from stub.InferStream(request, timeout=60)


@pytest.fixture
def stub(channel: grpc.Channel) -> inference_pb2_grpc.InferenceServiceStub:
    return inference_pb2_grpc.InferenceServiceStub(channel)


@pytest.mark.parametrize("text", TEXTS)
def test_a_stream_is_what_a_call_returns(text: str, client: Client) -> None:
    pieces = list(client.stream("hibari-en", text, seed=5))
    whole = client.speak("hibari-en", text, seed=5)
    assert {piece.sample_rate for piece in pieces} == {whole.sample_rate}
    np.testing.assert_array_equal(joined(pieces), whole.audio)


def long_and_short_texts(count: int) -> Iterator[str]:
    """Texts of 1 to 5,000 characters, with every kind of end that a piece may have."""
    dice = random.Random(0)
    ends = [". ", "? ", ", ", "; ", " — ", " ", "\n\n", '. <break time="700ms"/>']
    lines = [line[:-1] for line in sentences(500)]
    for _ in range(count):
        length = round(math.exp(dice.uniform(0, math.log(5000))))
        text = ""
        while len(text) < length:
            text += dice.choice(lines) + dice.choice(ends)
        text = text[:length].strip()
        yield text if any(map(str.isalnum, text)) and "<" not in text[-30:] else "Yes."


@pytest.mark.thorough
@pytest.mark.timeout(600)  # three minutes of speech and more
def test_two_hundred_texts_stream_as_they_are_spoken_and_are_joined_as_the_table_says(client: Client) -> None:
    for text in long_and_short_texts(200):
        streamed = list(client.stream("hibari-en", text, outputs=["spans"]))
        audio = joined(streamed)
        np.testing.assert_array_equal(audio, client.speak("hibari-en", text).audio)
        steps, loud = np.abs(np.diff(audio)), np.abs(audio) > AUDIBLE
        typical = np.median(steps[loud[1:]])
        pauses = [piece.pause_s for piece in pieces(spoken_passages(passages_of(text), "en-US"))]
        assert len(pauses) == len(streamed)
        for piece, pause_s in list(zip(streamed, pauses, strict=True))[:-1]:
            assert piece.spans is not None
            end = int(piece.spans[-1][3])
            assert steps[end - 1] <= 3 * typical
            heard_before, heard_behind = np.flatnonzero(loud[:end])[-1], end + np.flatnonzero(loud[end:])[0]
            assert (heard_behind - heard_before) / RATE == pytest.approx(pause_s, abs=0.01), text


def test_messages_are_numbered_and_the_last_says_so(stub: inference_pb2_grpc.InferenceServiceStub) -> None:
    answers = list(messages(stub, TEXTS[2]))
    assert [answer.sequence for answer in answers] == list(range(len(answers)))
    assert [answer.last for answer in answers] == [False] * (len(answers) - 1) + [True]
    assert len(answers) > 4


def test_a_stream_goes_on_where_it_broke(stub: inference_pb2_grpc.InferenceServiceStub) -> None:
    whole = list(messages(stub, TEXTS[2]))
    rest = list(messages(stub, TEXTS[2], first=3))
    assert [each.sequence for each in rest] == [each.sequence for each in whole[3:]]
    assert [each.outputs for each in rest] == [each.outputs for each in whole[3:]]
    (end,) = messages(stub, TEXTS[2], first=len(whole))
    assert end.last
    assert not end.outputs
    count = len(whole)
    with pytest.raises(grpc.RpcError) as told:
        list(messages(stub, TEXTS[2], first=count + 1))
    assert told.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert f"expected at most {count}, the number of messages in the answer, got {count + 1}" in told.value.details()


def test_the_first_piece_comes_before_the_last_is_made(client: Client) -> None:
    text = "The clocks were striking thirteen, and nobody on the stairs looked up at them. " * 24
    began = time.monotonic()
    stream = client.stream("hibari-en", text)
    next(stream)
    first_s = time.monotonic() - began
    list(stream)
    assert first_s < (time.monotonic() - began) / 3


def test_a_short_call_does_not_wait_for_a_long_stream(client: Client) -> None:
    text = "The clocks were striking thirteen, and nobody on the stairs looked up at them. " * 24
    stream = client.stream("hibari-en", text)
    next(stream)
    began = time.monotonic()
    client.speak("hibari-en", "Good morning.")
    call_s = time.monotonic() - began
    list(stream)
    assert call_s < (time.monotonic() - began) / 2


def test_a_model_that_makes_no_pieces_answers_in_one_message(channel: grpc.Channel) -> None:
    inputs = tensors.from_arrays({"x": np.ones((1, 1, 2, 2), np.float32)})
    request = pb.InferRequest(model="identity-onnx", inputs=inputs)
    stub = inference_pb2_grpc.InferenceServiceStub(channel)
    (answer,) = stub.InferStream(request, timeout=30)
    assert (answer.sequence, answer.last) == (0, True)
    assert answer.outputs[0].data == inputs[0].data
    request.resume_from = 1
    (end,) = stub.InferStream(request, timeout=30)
    assert (end.sequence, end.last, list(end.outputs)) == (1, True, [])
    request.resume_from = 2
    with pytest.raises(grpc.RpcError, match="resume_from: expected at most 1, the number of messages in the answer"):
        list(stub.InferStream(request, timeout=30))


def test_what_is_wrong_is_told_before_the_first_message(client: Client) -> None:
    with pytest.raises(InvalidArgumentError, match="something to say"):
        list(client.stream("hibari-en", "?!"))
    with pytest.raises(InvalidArgumentError, match="speed"):
        list(client.stream("hibari-en", "Hello.", speed=3.0))


def test_warnings_come_with_the_first_message(client: Client) -> None:
    first, *rest = client.stream("hibari-en", "Pizza 🍕 it is. And so on.")
    assert first.warnings == ("text: left out what cannot be spoken: 🍕",)
    assert all(not each.warnings for each in rest)


def test_say_writes_what_it_hears_as_it_comes(client: Client, stack: Stack, tmp_path: Path) -> None:
    whole = client.speak("hibari-en", TEXTS[1]).save(tmp_path / "whole.wav").read_bytes()
    say = [sys.executable, "-m", "kernelport.cli", "say", "--stream", "--target", stack.target, TEXTS[1], "-o"]
    subprocess.run([*say, tmp_path / "streamed.wav"], check=True)
    assert (tmp_path / "streamed.wav").read_bytes() == whole
    piped = subprocess.run([*say, "-"], check=True, stdout=subprocess.PIPE).stdout
    assert piped[44:] == whole[44:]


def test_streams_and_calls_share_a_worker(stack: Stack) -> None:
    async def run() -> None:
        async with AsyncClient(stack.target, timeout_s=60) as client:

            async def heard(seed: int) -> Array:
                return joined([piece async for piece in client.stream("hibari-en", TEXTS[2], seed=seed)])

            async def spoken(seed: int) -> Array:
                return (await client.speak("hibari-en", TEXTS[2], seed=seed)).audio

            answers = await asyncio.gather(*(each(seed) for each in (heard, spoken) for seed in range(4)))
            streams, calls = answers[:4], answers[4:]
            for stream, call in zip(streams, calls, strict=True):
                np.testing.assert_array_equal(stream, call)

    asyncio.run(run())
