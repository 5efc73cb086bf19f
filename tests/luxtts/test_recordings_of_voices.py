"""What can be the recording of a voice: one judgement, at the front door and in the engine."""

import io

import numpy as np
import pytest
import soundfile

from kernelport import decoder, recordings
from kernelport.broker import voices
from kernelport.errors import InvalidArgumentError
from kernelport.tensors import Array
from kernelport_workers.luxtts import prompt
from kernelport_workers.luxtts.errors import InvalidInputError

RATE = 24_000


def wav(samples: Array, rate: int = RATE, subtype: str = "FLOAT") -> bytes:
    file = io.BytesIO()
    soundfile.write(file, samples, rate, format="WAV", subtype=subtype)
    return file.getvalue()


def voice(seconds: float, level: float = 0.3) -> Array:
    t = np.arange(round(seconds * RATE)) / RATE
    return (level * np.sin(2 * np.pi * 140 * t) * (0.6 + 0.4 * np.sin(2 * np.pi * 3 * t))).astype(np.float32)


SILENCE = np.zeros(RATE, np.float32)
UNFIT = {
    "expected speech, got silence": [SILENCE, SILENCE + 0.05, voice(2, level=4e-4)],
    "expected at least 0.5 s of speech, got 0.30 s": [voice(0.3)],
    "expected at least 0.5 s of speech, got 0.05 s": [np.concatenate([SILENCE, voice(0.05), SILENCE])],
    "expected at most 30 s of speech where its words are given, got 31.00 s": [voice(31)],
    "expected samples around zero, got a mean of 0.30 of full scale; a high-pass filter removes it": [voice(2) + 0.3],
    "expected channels that agree: mixed to one, the 2 of it cancel each other": [
        np.stack([voice(2), -voice(2)], axis=1)
    ],
    "expected a recording that is not clipped, got one with": [
        np.clip(4 * voice(2), -1, 1),
        np.clip(voice(2), -0.1, 0.1),
    ],
    "expected samples that are finite": [np.full(RATE, np.nan, np.float32)],
    "expected samples, got none": [SILENCE[:0]],
}


@pytest.mark.parametrize(
    ("problem", "samples"), [(problem, samples) for problem, all_of_it in UNFIT.items() for samples in all_of_it]
)
def test_a_recording_that_cannot_be_a_voice_is_told_why_alike_by_front_door_and_engine(
    problem: str, samples: Array
) -> None:
    with pytest.raises(InvalidArgumentError) as at_the_door:
        voices.checked(wav(samples), is_transcribed=True)
    with pytest.raises(InvalidInputError) as in_the_engine:
        prompt.decode(wav(samples), is_transcribed=True)
    assert at_the_door.value.violations[0].description == in_the_engine.value.reason
    assert in_the_engine.value.reason.startswith(problem)


@pytest.mark.parametrize(
    "samples",
    [
        voice(0.5),
        voice(30),
        voice(2, level=1.0),
        np.sin(np.arange(2 * RATE, dtype=np.float32) / 150),
        np.round(np.sin(np.arange(2 * RATE, dtype=np.float32) / 20) * 500) / 32768,
        voice(2) + 0.05,
        np.concatenate([SILENCE, voice(0.3), SILENCE]),
        np.stack([voice(2), SILENCE.repeat(2)], axis=1),
    ],
)
def test_a_usable_recording_is_taken(samples: Array) -> None:
    assert recordings.reference(wav(samples), 60, is_transcribed=True).sample_rate == RATE


def test_a_long_recording_without_words_is_taken_since_a_part_of_it_is_used() -> None:
    assert recordings.reference(wav(voice(31)), 60, is_transcribed=False).seconds == 31


@pytest.mark.parametrize("rate", [8_000, 44_100, 48_000])
def test_where_the_speech_lies_does_not_depend_on_the_rate(rate: int) -> None:
    t = np.arange(rate) / rate
    sound = np.concatenate([np.zeros(rate), 0.3 * np.sin(2 * np.pi * 200 * t), np.zeros(rate)]).astype(np.float32)
    span = decoder.speech_in(sound, rate)
    assert (span.start / rate, span.stop / rate) == pytest.approx((0.7, 2.1), abs=0.02)
