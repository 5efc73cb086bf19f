"""What recordings say, heard by a real recognizer: Whisper tiny.en, of what another voice has spoken."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hibari import Hibari
from redis import Redis

from kernelport import Client, InvalidArgumentError, UnavailableError
from kernelport.broker import keys
from kernelport.coercion import coerce
from kernelport.supervisor.stack import Stack
from kernelport.tensors import Array
from kernelport_workers.luxtts import InvalidInputError, Pipeline
from tests.conftest import serving_stack, stack_settings
from tests.luxtts import transcriber
from tests.luxtts.conftest import audio_file, spell, tone, write_deployment

SAID = "Good morning everybody, the train to the city will leave in a few minutes."
NOTES = {"consent": "A test.", "owner": "The tests."}


@pytest.fixture(scope="module")
def recording() -> bytes:
    return audio_file(np.asarray(Hibari(threads=1)(SAID, seed=0), np.float32))


@pytest.fixture(scope="module")
def stack(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A stack with a LuxTTS that hears what recordings say."""
    folder = tmp_path_factory.mktemp("hearing")
    os.environ[transcriber.LOG] = str(folder / "heard")
    options = {"transcriber": "tests.luxtts.transcriber:Hearing", "phonemizer": "tests.luxtts.conftest:spell"}
    deployments = write_deployment(folder, tiny, options)
    with serving_stack(stack_settings(deployments), ["luxtts"], folder / "state") as stack:
        yield stack


@pytest.fixture
def client(stack: Stack) -> Iterator[Client]:
    with Client(stack.target, timeout_s=100) as connected:
        yield connected
        for voice in connected.voices():
            connected.delete_voice(voice.name)


def speak(client: Client, **inputs: object) -> Array:
    given = {"text": "Yes.", "num_steps": 1, **inputs}
    return client.infer("luxtts", coerce(given, client.deployment("luxtts").signature)).outputs["audio"]


def words(text: str) -> list[str]:
    return re.findall(r"[a-z]+", text.lower())


def test_a_voice_without_a_transcript_gets_its_words_once(stack: Stack, client: Client, recording: bytes) -> None:
    client.add_voice("anna", recording, **NOTES)
    assert client.voice("anna").heard == ""
    before = len(transcriber.heard())
    spoken = speak(client, voice="anna")
    heard = client.voice("anna").heard
    assert words(heard) == words(SAID)
    assert client.voice("anna").transcript == ""
    with Redis.from_url(stack.settings.redis_url) as redis:
        redis.delete(*redis.keys("kp:encoded-voice*"), keys.ENCODED_VOICES)
    speak(client, voice="anna", rms=0.02)  # in no cache
    assert len(transcriber.heard()) == before + 1
    np.testing.assert_array_equal(spoken, speak(client, prompt_audio=recording, prompt_text=heard))


def test_a_recording_in_which_nothing_is_said_is_refused(client: Client) -> None:
    client.add_voice("hum", audio_file(tone(3.0)), **NOTES)
    with pytest.raises(InvalidArgumentError, match="the recording of 'hum': expected speech, got none that can be"):
        speak(client, voice="hum")
    assert client.voice("hum").heard == ""


def test_while_what_hears_cannot_be_loaded_a_recording_needs_its_words(
    tiny: Path, recording: bytes, tmp_path: Path
) -> None:
    (tmp_path / "no-model").mkdir()
    options = {"transcriber": "no-model", "phonemizer": "tests.luxtts.conftest:spell"}
    deployments = write_deployment(tmp_path, tiny, options)
    with (
        serving_stack(stack_settings(deployments), ["luxtts"], tmp_path / "state") as stack,
        Client(stack.target, timeout_s=100) as client,
    ):
        with pytest.raises(
            UnavailableError, match="no-model', which hears what a recording says, cannot be loaded now"
        ):
            speak(client, prompt_audio=recording)
        assert speak(client, prompt_audio=recording, prompt_text=SAID).size


def test_the_engine_hears_what_it_encodes_and_refuses_noise(tiny: Path, recording: bytes) -> None:
    pipeline = Pipeline.load(tiny, phonemize=spell, transcriber=transcriber.whisper())
    assert words(pipeline.encode_prompt(recording, seconds=30).transcript) == words(SAID)
    noise = np.random.default_rng(0).normal(0, 0.02, 72_000).astype(np.float32)
    with pytest.raises(InvalidInputError, match="prompt_audio: expected speech, got none that can be understood"):
        pipeline.encode_prompt(audio_file(noise))
    with pytest.raises(InvalidInputError, match="prompt_audio: expected speech, got silence"):
        pipeline.encode_prompt(audio_file(np.zeros(72_000, np.float32)))
