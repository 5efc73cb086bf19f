"""Registered voices, from the command line to the speech."""

import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile
from click.testing import CliRunner, Result
from redis import Redis

from kernelport import Client, InvalidArgumentError, tensors
from kernelport.broker import keys
from kernelport.cli import cli
from kernelport.errors import AlreadyExistsError, NotFoundError
from kernelport.jobs.inputs import voice_names_in
from kernelport.supervisor.stack import Stack
from tests.luxtts.conftest import audio_file, tone

RECORDING = audio_file(tone(1.0))
NOTES = {"consent": "Signed on paper.", "owner": "voices@example.org"}


@pytest.fixture
def client(stack: Stack) -> Iterator[Client]:
    with Client(stack.target, timeout_s=30) as connected:
        yield connected
        for voice in connected.voices():
            connected.delete_voice(voice.name)


def run(stack: Stack, *arguments: str) -> Result:
    return CliRunner().invoke(cli, ["voices", *arguments, "--target", stack.target])


def test_a_voice_is_added_listed_shown_and_deleted(stack: Stack, client: Client, tmp_path: Path) -> None:
    (tmp_path / "me.wav").write_bytes(RECORDING)
    notes = ["--consent", NOTES["consent"], "--owner", NOTES["owner"], "--transcript", "Hello there."]
    added = run(stack, "add", "me", str(tmp_path / "me.wav"), *notes)
    assert added.output == "me: 1.0 s of WAV at 24000 Hz\n"
    listed = run(stack, "list")
    assert "me" in listed.output
    assert "Hello there." in listed.output
    shown = run(stack, "show", "me")
    for line in ("transcript  Hello there.", "consent     Signed on paper.", "owner       voices@example.org"):
        assert line in shown.output.splitlines()
    assert run(stack, "delete", "me").output == "1 deleted\n"
    assert run(stack, "list").output == ""
    assert isinstance(run(stack, "show", "me").exception, NotFoundError)
    again = run(stack, "delete", "me")
    assert again.exit_code == 2
    assert "no voice is named 'me'" in again.output


def test_nothing_of_a_deleted_voice_is_left_in_redis(stack: Stack, client: Client) -> None:
    voice = client.add_voice("me", RECORDING, **NOTES)
    with Redis.from_url(stack.settings.redis_url) as redis:
        redis.hset(keys.encoded_voice(voice.sha256), "parameters", b"encoded")
        assert redis.hget(keys.VOICE_RECORDINGS, "me") == RECORDING
        client.delete_voice("me")
        assert not redis.exists(keys.VOICES, keys.VOICE_RECORDINGS, keys.encoded_voice(voice.sha256))


def test_a_name_is_taken_once(client: Client) -> None:
    client.add_voice("me", RECORDING, **NOTES)
    with pytest.raises(AlreadyExistsError, match='"me"'):
        client.add_voice("me", RECORDING, **NOTES)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *(("name", value) for value in ("", "a b", "-a", "a" * 65, "a/b", "ä")),
        ("consent", ""),
        ("consent", "  "),
        ("owner", ""),
        ("transcript", "a" * 2_001),
        ("audio", b""),
        ("audio", b"junk"),
        ("audio", RECORDING[:44]),
        ("audio", audio_file(tone(0.4))),
        ("audio", audio_file(np.zeros(24_000, np.float32))),
        ("audio", audio_file(np.full(24_000, np.nan, np.float32), subtype="FLOAT")),
        ("audio", audio_file(np.zeros(61 * 8_000, np.float32), rate=8_000)),
        ("audio", audio_file(tone(1.0), kind="AIFF")),
        ("audio", bytes(16 * 2**20 + 1)),
    ],
    # Not what a recording begins with: a file of floats holds the second in which it was written.
    ids=lambda value: value[:20] if isinstance(value, str) else f"{len(value)} bytes",
)
def test_what_cannot_be_a_voice_is_refused_by_field(client: Client, field: str, value: object) -> None:
    given = {"name": "me", "audio": RECORDING, "transcript": "", **NOTES, field: value}
    with pytest.raises(InvalidArgumentError) as refused:
        client.add_voice(**given)  # type: ignore[arg-type]
    assert [violation.field for violation in refused.value.violations] == [field]
    assert not client.voices()


@pytest.mark.parametrize("kind", ["WAV", "FLAC", "OGG", "MP3"])
def test_every_format_may_be_a_voice(client: Client, kind: str) -> None:
    wave = np.repeat(tone(2.0, rate=44_100)[:, None], 2, axis=1)
    buffer = io.BytesIO()
    soundfile.write(buffer, wave, 44_100, format=kind)
    voice = client.add_voice("me", buffer.getvalue(), **NOTES)
    assert (voice.format, voice.sample_rate, voice.channels) == (kind, 44_100, 2)
    assert voice.seconds == pytest.approx(2.0, abs=0.1)
    assert client.voice("me") == voice


def test_the_voices_that_inputs_name_are_found_whatever_their_dtype() -> None:
    said = {
        "bytes": np.frombuffer(b"anna", np.uint8),
        "texts": np.array(["bert", "carl"]),
        "vector": np.zeros((2, 3), np.float32),
        "no name": np.array([b"\xff", b"", b"a/b", b"a" * 65]),
    }
    given = [tensors.from_array("voice", value) for value in said.values()]
    assert voice_names_in([*given, tensors.from_array("text", "dora")]) == {"anna", "bert", "carl"}
