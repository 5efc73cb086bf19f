"""hibari-en speaks."""

import grpc
import numpy as np
import pytest

from kernelport import Client, InvalidArgumentError, Speech, tensors
from kernelport.tensors import Array
from kernelport.v1 import inference_pb2 as pb
from tests.e2e.calls import response, start

TEXTS = [
    "Good morning.",
    "The train to the coast leaves at half past seven.",
    "It was a bright cold day in April. The clocks were striking, and nobody on the stairs looked up at them.",
]
TEXT = TEXTS[1]


@pytest.mark.parametrize("text", TEXTS)
def test_sounds_like_speech(text: str, client: Client) -> None:
    speech = client.speak("hibari-en", text)
    assert speech.sample_rate == 24000
    assert (speech.audio.dtype, speech.audio.ndim) == (np.float32, 1)
    # People read 150 to 200 words a minute, with pauses that a short text has none of.
    assert 80 < 60 * len(text.split()) / speech.seconds < 300
    assert 0.1 < np.abs(speech.audio).max() <= 1
    assert loudness(speech.audio) > 0.02
    assert share_of_voice(speech) > 0.8


def test_what_cannot_be_spoken_is_told_with_the_answer(channel: grpc.Channel) -> None:
    text = np.frombuffer("Pizza 🍕 in Москва.".encode(), np.uint8)
    request = pb.InferRequest(model="hibari-en", inputs=tensors.from_arrays({"text": text}))
    assert list(response(start(channel, request)).warnings) == ["text: left out what cannot be spoken: 🍕, Москва"]


def test_stays_silent_nowhere_for_long(client: Client) -> None:
    speech = client.speak("hibari-en", TEXTS[2])
    seconds = np.array_split(speech.audio, round(speech.seconds))
    assert min(loudness(second) for second in seconds) > 0.005


def test_same_text_and_seed_give_the_same_bytes(client: Client) -> None:
    first, second, other = (client.speak("hibari-en", TEXT, seed=seed).audio.tobytes() for seed in (7, 7, 8))
    assert first == second
    assert first != other


def test_the_seed_is_0_unless_given(client: Client) -> None:
    assert client.speak("hibari-en", TEXT).audio.tobytes() == client.speak("hibari-en", TEXT, seed=0).audio.tobytes()


def test_speed_changes_the_duration(client: Client) -> None:
    seconds = {speed: client.speak("hibari-en", TEXT, speed=speed).seconds for speed in (0.8, 1.0, 2.0)}
    assert seconds[0.8] / seconds[1.0] == pytest.approx(1.25, rel=0.1)
    assert seconds[2.0] / seconds[1.0] == pytest.approx(0.5, rel=0.15)


def test_optional_inputs_are_keywords_in_any_form(client: Client) -> None:
    spoken = [
        client.speak("hibari-en", TEXT, speed=speed, seed=seed).audio.tobytes()
        for speed, seed in ((2, 3), (2.0, np.int32(3).item()), ([2.0], [3]), (np.array([2], np.float32), np.array([3])))
    ]
    assert len(set(spoken)) == 1


@pytest.mark.parametrize(
    ("keyword", "value", "field"),
    [
        ("speed", "fast", 'inputs["speed"]'),
        ("seed", 2**63, 'inputs["seed"]'),
        ("speed", 3.0, 'inputs["speed"]'),
        ("pitch", 1.0, "inputs[1].name"),
    ],
)
def test_a_keyword_that_does_not_fit_is_named(keyword: str, value: object, field: str, client: Client) -> None:
    with pytest.raises(InvalidArgumentError) as refused:
        client.speak("hibari-en", TEXT, **{keyword: value})
    assert [violation.field for violation in refused.value.violations] == [field]


def loudness(audio: Array) -> float:
    """Root mean square."""
    return float(np.sqrt(np.mean(np.square(audio, dtype=np.float64))))


def share_of_voice(speech: Speech) -> float:
    """The share of energy between 80 Hz and 4 kHz: high for a voice, a sixth for white noise."""
    energy = np.abs(np.fft.rfft(speech.audio)) ** 2
    hertz = np.fft.rfftfreq(len(speech.audio), 1 / speech.sample_rate)
    return float(energy[(hertz > 80) & (hertz < 4000)].sum() / energy.sum())
