"""The deployment `luxtts` through the whole stack: front door, queue, worker, engine, with the tiny checkpoint."""

import io
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import yaml
from click.testing import CliRunner

from kernelport import Client, InvalidArgumentError
from kernelport.cli import cli
from kernelport.coercion import coerce
from kernelport.stack import Stack
from kernelport_workers.luxtts import Audio, Pipeline, Utterance
from tests.conftest import START_TIMEOUT_S, stack_settings
from tests.luxtts.conftest import audio_file, tone

VOICES = [audio_file(tone(1.0)), audio_file(tone(0.7, level=0.05), kind="FLAC")]
SAID = "Hello there, this is me."
FILES = {
    "config": "config.json",
    "tokens": "tokens.txt",
    "model": "model.pt",
    "vocoder_config": "vocoder/config.yaml",
    "vocoder": "vocoder/vocos.bin",
}


@pytest.fixture(scope="module")
def target(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Where a front door with the deployment listens."""
    folder = tmp_path_factory.mktemp("luxtts")
    source = {"kind": "local", "path": str(tiny)}
    manifest = {"id": "tiny", "source": source, "format": "pytorch", "backend": "helion", "files": FILES}
    (folder / "manifest.yaml").write_text(yaml.safe_dump(manifest))
    entry = {
        "manifest": "manifest.yaml",
        "backend": "helion",
        "image": "kernelport-luxtts:gpu",
        "pipeline": "kernelport_workers.pipelines.luxtts:LuxTTSPipeline",
        "device": "cpu",
    }
    (folder / "deployments.yaml").write_text(yaml.safe_dump({"deployments": {"luxtts": entry}}))
    with Stack(stack_settings(folder / "deployments.yaml"), ["luxtts"], folder / "state") as stack:
        stack.wait_ready(START_TIMEOUT_S)
        yield stack.target


@pytest.fixture(scope="module")
def client(target: str) -> Iterator[Client]:
    with Client(target, timeout_s=60) as connected:
        yield connected


def infer(client: Client, **inputs: Any) -> dict[str, np.ndarray]:
    """The outputs for these inputs; what is not given is a short text in the first voice."""
    given = {"text": "Yes.", "prompt_audio": VOICES[0], "prompt_text": SAID, **inputs}
    present = {name: value for name, value in given.items() if value is not None}
    return client.infer("luxtts", coerce(present, client.deployment("luxtts").signature)).outputs


def test_it_speaks_at_48_khz_as_the_engine_does_alone(client: Client, tiny: Path) -> None:
    outputs = infer(client, text="A sentence to say.", seed=7, num_steps=2, speed=1.2)
    assert outputs["sample_rate"].tolist() == [48000]
    assert "audio_file" not in outputs
    engine = Pipeline.load(tiny)
    voice = engine.encode_prompt(VOICES[0], SAID)
    (alone,) = engine.synthesize(
        [Utterance("A sentence to say.", voice, seed=7, num_steps=2, speed=float(np.float32(1.2)))]
    )
    assert isinstance(alone, Audio)
    assert outputs["audio"].tobytes() == alone.samples.tobytes()


def test_the_defaults_are_those_of_the_contract(client: Client) -> None:
    explicit = {"rms": 0.01, "t_shift": 0.9, "num_steps": 4, "speed": 1.0, "return_smooth": 0, "ref_duration": 5}
    said = infer(client)["audio"]
    assert said.tobytes() == infer(client, **explicit, seed=0, upstream=0)["audio"].tobytes()
    assert said.ndim == 1
    assert np.abs(said).max() <= 1


@pytest.mark.parametrize(
    "changed",
    [
        {"seed": 1},
        {"num_steps": 2},
        {"t_shift": 0.5},
        {"speed": 2.0},
        {"return_smooth": 1},
        {"rms": 0.5},
        {"upstream": 1},
    ],
    ids=lambda changed: next(iter(changed)),
)
def test_each_optional_input_changes_the_speech(client: Client, changed: dict[str, Any]) -> None:
    text = "Long enough for its pace to show."
    assert infer(client, text=text, **changed)["audio"].tobytes() != infer(client, text=text)["audio"].tobytes()


@pytest.mark.parametrize(("name", "container"), [("wav", "WAV"), ("flac", "FLAC"), ("ogg", "OGG"), ("mp3", "MP3")])
def test_a_file_of_the_speech_comes_on_request(client: Client, name: str, container: str) -> None:
    outputs = infer(client, audio_format=name)
    with soundfile.SoundFile(io.BytesIO(outputs["audio_file"].tobytes())) as file:
        assert (file.format, file.samplerate, file.channels) == (container, 48000, 1)
        decoded = file.read(dtype="float32")
    if name in ("wav", "flac"):
        assert np.abs(decoded - outputs["audio"]).max() < 1e-4


def test_say_clones_a_voice_from_a_file(client: Client, target: str, tmp_path: Path) -> None:
    (tmp_path / "me.wav").write_bytes(VOICES[0])
    arguments = ["say", "Yes.", "--deployment", "luxtts", "--target", target, "-o", str(tmp_path / "said.wav")]
    inputs = ["--set", f"prompt_audio=@{tmp_path / 'me.wav'}", "--set", f"prompt_text={SAID}"]
    result = CliRunner().invoke(cli, [*arguments, *inputs])
    assert result.exit_code == 0, result.output
    said, rate = soundfile.read(tmp_path / "said.wav", dtype="float32")
    assert rate == 48000
    assert np.abs(said - infer(client)["audio"]).max() < 1e-4


def test_long_text_is_spoken_in_pieces(client: Client) -> None:
    short = infer(client, text="One two three.", num_steps=1)["audio"]
    long = infer(client, text="One two three. " * 30, num_steps=1)["audio"]
    assert len(long) > 10 * len(short)


def test_32_callers_with_mixed_voices_each_get_what_they_would_alone(client: Client) -> None:
    requests = [
        {
            "text": f"Caller number {index}.",
            "prompt_audio": VOICES[index % 2],
            "seed": index,
            "num_steps": 1 + index % 2,
        }
        for index in range(32)
    ]
    alone = [infer(client, **request)["audio"].tobytes() for request in requests[:8]]
    with ThreadPoolExecutor(32) as pool:
        together = list(pool.map(lambda request: infer(client, **request)["audio"].tobytes(), requests))
    assert together[:8] == alone
    assert len(set(together)) == 32


BAD: list[tuple[str, Any]] = [
    *(("text", value) for value in ("", " ", "...", "\n\n", "Привет", b"\xff\xfe", "a" * 100_001)),
    *(("prompt_audio", value) for value in (b"", b"RIFF", b"not audio at all", audio_file(tone(0.1)))),
    ("prompt_audio", audio_file(np.zeros(24_000, np.float32))),
    ("prompt_audio", VOICES[0][:60]),
    *(("prompt_text", value) for value in ("", "...", b"\xff", None)),
    *(("rms", value) for value in (0.0, -1.0, 1.5, float("nan"), float("inf"))),
    *(("t_shift", value) for value in (0.0, -1.0, 11.0, float("nan"))),
    *(("num_steps", value) for value in (0, -1, 65, 2**31 - 1)),
    *(("speed", value) for value in (0.0, -1.0, 0.1, 5.0, float("nan"))),
    *(("return_smooth", value) for value in (2, -1)),
    *(("upstream", value) for value in (2, -1)),
    *(("ref_duration", value) for value in (0, -1, 31)),
    *(("seed", value) for value in (-1, -(2**63))),
    *(("audio_format", value) for value in ("aac", "", "WAV ", b"\xff")),
]


@pytest.mark.parametrize(("name", "value"), BAD, ids=lambda value: repr(value)[:30])
def test_a_bad_input_is_refused_by_name(client: Client, name: str, value: Any) -> None:
    with pytest.raises(InvalidArgumentError) as refused:
        infer(client, **{name: value})
    assert f'inputs["{name}"]' in {violation.field for violation in refused.value.violations}, refused.value


def test_a_bad_request_fails_alone(client: Client) -> None:
    with ThreadPoolExecutor(8) as pool:
        calls = [pool.submit(infer, client, text=text) for text in ("Yes.", "...", "No.", "...") * 2]
        failed = [call.exception() is not None for call in calls]
    assert failed == [False, True, False, True] * 2
