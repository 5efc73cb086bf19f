"""The sample application, docs/examples/narrated_notes.py, serves people on a real stack."""

import json
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import soundfile

from kernelport import Client
from kernelport.supervisor.stack import Stack

APPLICATION = Path(__file__).resolve().parents[2] / "docs" / "examples" / "narrated_notes.py"
LONG = "The river turned slowly past the old mills, and the boats went with it as they had for years."


class Person:
    """Somebody who talks to the application."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=60)
        self._lines = self._socket.makefile("rb")

    def asks(self, do: str, **request: Any) -> dict[str, Any]:
        """The answer to a request."""
        self.sends(json.dumps({"id": 7, "do": do, **request}).encode())
        answer = self.hears()
        assert answer.pop("id") == 7
        return answer

    def sends(self, line: bytes) -> None:
        self._socket.sendall(line + b"\n")

    def hears(self) -> dict[str, Any]:
        answer: dict[str, Any] = json.loads(self._lines.readline())
        return answer

    def leaves(self) -> None:
        self._lines.close()
        self._socket.close()


@pytest.fixture
def person(stack: Stack, tmp_path: Path) -> Iterator[Person]:
    yield from talking(stack.target, tmp_path)


def talking(target: str, folder: Path) -> Iterator[Person]:
    command = [sys.executable, "-W", "error", APPLICATION, folder, "--target", target, "--listen", "127.0.0.1:0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        person = Person(int(process.stdout.readline().split()[-1]))
        try:
            yield person
        finally:
            person.leaves()
            process.terminate()


def test_notes_are_read_aloud_one_at_a_time_and_all_of_them(person: Person, client: Client, tmp_path: Path) -> None:
    for note, text in (("first", "Good morning."), ("second", "Good evening."), ("third", LONG)):
        assert person.asks("write", note=note, text=text) == {"ok": True}
    said = person.asks("say", note="first")
    assert soundfile.info(tmp_path / said["file"]).duration == pytest.approx(said["seconds"], abs=0.01)
    assert person.asks("say", note="first") == said
    lengths = person.asks("lengths")["seconds"]
    assert list(lengths) == ["first", "second", "third"]
    assert lengths["third"] > lengths["first"] > 0

    begun = person.asks("narrate")
    assert begun["notes"] == 3
    assert person.asks("narrate") == begun
    collected = person.asks("collect", job=begun["job"])
    assert collected["failed"] == []
    assert [Path(file).stem for file in collected["files"]] == ["first", "second", "third"]
    assert person.asks("progress", job=begun["job"]) == {"ok": True, "state": "succeeded", "done": 3, "of": 3}
    client.jobs.delete(begun["job"], delete_outputs=True)


def test_voices_are_kept_and_forgotten(person: Person, client: Client, tmp_path: Path) -> None:
    (tmp_path / "recordings").mkdir()
    client.speak("hibari-en", LONG).save(tmp_path / "recordings" / "me.wav")
    voice = {"voice": "sample-application", "recording": "me.wav", "consent": "recorded for a test", "owner": "tests"}
    assert person.asks("add-voice", **voice)["seconds"] > 1
    assert person.asks("add-voice", **voice)["error"] == "VOICE_EXISTS"
    assert person.asks("add-voice", **voice | {"recording": "you.wav"})["error"] == "NO_SUCH_RECORDING"
    assert voice["voice"] in person.asks("voices")["voices"]
    assert person.asks("forget-voice", voice=voice["voice"])["forgotten"]


def test_mistakes_are_told(person: Person) -> None:
    person.sends(b"hello")
    assert person.hears()["error"] == "BAD_REQUEST"
    for request, error in (
        ({"do": "sing"}, "BAD_REQUEST"),
        ({"do": "say"}, "BAD_REQUEST"),
        ({"do": "say", "note": "nothing"}, "NO_SUCH_NOTE"),
        ({"do": "write", "note": "../up", "text": "a"}, "BAD_NAME"),
        ({"do": "narrate"}, "NO_NOTES"),
        ({"do": "collect", "job": "nothing"}, "JOB_NOT_FOUND"),
    ):
        assert person.asks(**request)["error"] == error


def test_a_front_door_that_is_away_is_told(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as nobody:
        target = f"127.0.0.1:{nobody.getsockname()[1]}"
    for person in talking(target, tmp_path):
        person.asks("write", note="first", text="Good morning.")
        told = person.asks("say", note="first")
        assert (told["ok"], told["error"], told["retry_after_s"]) == (False, "NOT_SERVING", 5.0)
