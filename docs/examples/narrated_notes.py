"""Narrated notes: a sample application on KernelPort.

A service that keeps short notes and reads them aloud. People talk to it over TCP in lines of JSON: they write notes,
hear one at once, or have all of them narrated in the background, and may register voices.

    python narrated_notes.py FOLDER --target 127.0.0.1:50051 --listen 127.0.0.1:8090

A request names what to do, and the answer repeats its "id":

    {"id": 1, "do": "write", "note": "shopping", "text": "Bread, and something for the cat."}
    {"id": 1, "ok": true}
    {"id": 2, "do": "say", "note": "shopping"}
    {"id": 2, "ok": true, "file": "spoken/shopping-5f1c.wav", "seconds": 2.4}
    {"id": 3, "do": "say", "note": "recipes"}
    {"id": 3, "ok": false, "error": "NO_SUCH_NOTE", "message": "there is no note \"recipes\""}
"""

import argparse
import asyncio
import contextlib
import hashlib
import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias, cast

import kernelport
from kernelport import aio

Json: TypeAlias = Mapping[str, object]
Do: TypeAlias = Callable[[Json], Awaitable[Json]]

DEPLOYMENT = "hibari-en"
SAY_TIMEOUT_S = 30.0
NARRATE_TIMEOUT_S = 600.0
MOST_AT_A_TIME = 8
LONGEST_LINE_BYTES = 64 * 2**10
LONGEST_NOTE = 2000
NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,60}")


class Refused(Exception):
    """What somebody asked for cannot be done.

    Attributes:
        reason: the situation in a word.
    """

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


@dataclass(frozen=True)
class Note:
    """A text to read aloud, and its name."""

    name: str
    text: str

    @property
    def digest(self) -> str:
        """What tells this text from another under the same name."""
        return hashlib.sha256(f"{self.name}\n{self.text}".encode()).hexdigest()


class Notebook:
    """The notes of a folder, each a text file."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def write(self, name: str, text: str) -> Note:
        """Keeps a note, in place of the one that had its name."""
        if not NAME.fullmatch(name):
            raise Refused("BAD_NAME", f"expected lower-case letters, digits and dashes as a name, got {name!r}")
        if not 0 < len(text.strip()) <= LONGEST_NOTE:
            raise Refused("BAD_TEXT", f"expected a text of 1 to {LONGEST_NOTE} characters, got {len(text)}")
        self._path(name).write_text(text, "utf-8")
        return Note(name, text)

    def read(self, name: str) -> Note:
        """The note of a name."""
        if not NAME.fullmatch(name) or not self._path(name).exists():
            raise Refused("NO_SUCH_NOTE", f'there is no note "{name}"')
        return Note(name, self._path(name).read_text("utf-8"))

    def all(self) -> list[Note]:
        """Every note, sorted by name."""
        return [self.read(path.stem) for path in sorted(self._folder.glob("*.txt"))]

    def _path(self, name: str) -> Path:
        return self._folder / f"{name}.txt"


class Narrator:
    """Speaks notes, and keeps what it has spoken.

    Args:
        client: shared by all who ask.
        folder: where the audio files go.
    """

    def __init__(self, client: aio.Client, folder: Path) -> None:
        self._client = client
        self._spoken = folder / "spoken"
        self._narrations = folder / "narrations"
        self._at_a_time = asyncio.Semaphore(MOST_AT_A_TIME)
        self._spoken.mkdir(parents=True, exist_ok=True)

    async def say(self, note: Note) -> tuple[Path, float]:
        """The audio file of a note and its length in seconds. A text that was spoken before is not spoken again."""
        file = self._spoken / f"{note.name}-{note.digest[:8]}.wav"
        if file.exists():
            outputs = await asyncio.to_thread(kernelport.load_outputs, file)
            return file, len(outputs["audio"]) / int(outputs["sample_rate"][0])
        async with self._at_a_time:
            # Two who ask for the same note at the same time have it spoken once: they share the request id.
            speech = await self._client.speak(
                DEPLOYMENT, note.text, timeout_s=SAY_TIMEOUT_S, request_id=f"note-{note.digest}"
            )
        await asyncio.to_thread(speech.save, file)
        return file, speech.seconds

    async def lengths(self, notes: list[Note]) -> AsyncIterator[tuple[Note, float]]:
        """How long each note takes to read, in their order, without keeping the audio."""
        results = self._client.map(DEPLOYMENT, [note.text for note in notes], concurrency=MOST_AT_A_TIME)
        index = 0
        async for result in results:
            yield notes[index], kernelport.Speech.of(result).seconds
            index += 1

    async def begin(self, notes: list[Note]) -> kernelport.Job:
        """A job that narrates notes in the background. The same notes are one job, however often it is begun."""
        digest = hashlib.sha256("".join(note.digest for note in notes).encode()).hexdigest()
        return await self._client.jobs.submit(
            DEPLOYMENT,
            [(note.name, note.text) for note in notes],
            output_format="flac",
            metadata={"application": "narrated-notes"},
            request_id=f"narration-{digest}",
            timeout_s=NARRATE_TIMEOUT_S,
        )

    async def finish(self, job_id: str, on_progress: Callable[[kernelport.Job], None]) -> tuple[Path, list[Json]]:
        """Waits for a narration and fetches its files; returns their folder, and what failed."""
        await self._client.jobs.wait(job_id, timeout_s=NARRATE_TIMEOUT_S, on_progress=on_progress)
        folder = self._narrations / job_id
        await self._client.jobs.fetch_all(job_id, folder)
        failed = self._client.jobs.items(job_id, [kernelport.ItemState.FAILED])
        return folder, [{"note": item.id, "message": item.reason} async for item in failed]


class Service:
    """What people may ask for.

    Args:
        client: of the front door; it is not closed.
        folder: where notes and audio files are kept.
    """

    def __init__(self, client: aio.Client, folder: Path) -> None:
        self._client = client
        self._folder = folder
        self._notebook = Notebook(folder / "notes")
        self._narrator = Narrator(client, folder)
        self._progress: dict[str, kernelport.Job] = {}
        self._does: dict[str, Do] = {
            "write": self._write,
            "say": self._say,
            "lengths": self._lengths,
            "narrate": self._narrate,
            "progress": self._tell_progress,
            "collect": self._collect,
            "add-voice": self._add_voice,
            "voices": self._voices,
            "forget-voice": self._forget_voice,
        }

    async def answer(self, line: bytes) -> Json:
        """The answer to a line: every mistake and every failure is told, none ends the connection."""
        number: object = None
        try:
            request = _parsed(line)
            number = request.get("id")
            do = self._does.get(_text(request, "do"))
            if do is None:
                raise Refused("BAD_REQUEST", f'"do": expected one of {", ".join(self._does)}')
            return {"id": number, "ok": True, **await do(request)}
        except Refused as refused:
            return {"id": number, "ok": False, "error": refused.reason, "message": str(refused)}
        except kernelport.InvalidArgumentError as error:  # the text or the recording is at fault
            told: Json = {"error": error.reason, "message": str(error), "field": error.field}
            return {"id": number, "ok": False, **told}
        except (kernelport.UnavailableError, kernelport.ResourceExhaustedError) as error:
            told = {"error": error.reason, "message": "come back later", "retry_after_s": error.retry_after_s or 5.0}
            return {"id": number, "ok": False, **told}
        except kernelport.KernelPortError as error:
            return {"id": number, "ok": False, "error": error.reason, "message": str(error)}

    async def _write(self, request: Json) -> Json:
        self._notebook.write(_text(request, "note"), _text(request, "text"))
        return {}

    async def _say(self, request: Json) -> Json:
        file, seconds = await self._narrator.say(self._notebook.read(_text(request, "note")))
        return {"file": str(file.relative_to(self._folder)), "seconds": round(seconds, 2)}

    async def _lengths(self, request: Json) -> Json:
        notes = self._notebook.all()
        return {"seconds": {note.name: round(seconds, 2) async for note, seconds in self._narrator.lengths(notes)}}

    async def _narrate(self, request: Json) -> Json:
        notes = self._notebook.all()
        if not notes:
            raise Refused("NO_NOTES", "there is no note to narrate")
        job = await self._narrator.begin(notes)
        return {"job": job.id, "notes": len(notes)}

    async def _tell_progress(self, request: Json) -> Json:
        job_id = _text(request, "job")
        job = self._progress.get(job_id) or await self._client.jobs.get(job_id)
        return {"state": kernelport.JobState.of(job), "done": job.progress.succeeded, "of": job.progress.items}

    async def _collect(self, request: Json) -> Json:
        job_id = _text(request, "job")

        def on_progress(job: kernelport.Job) -> None:
            self._progress[job_id] = job

        try:
            folder, failed = await self._narrator.finish(job_id, on_progress)
        finally:
            self._progress.pop(job_id, None)
        files = sorted(str(path.relative_to(self._folder)) for path in folder.glob("*.flac"))
        return {"files": files, "failed": failed}

    async def _add_voice(self, request: Json) -> Json:
        recording = self._folder / "recordings" / Path(_text(request, "recording")).name
        try:
            voice = await self._client.add_voice(
                _text(request, "voice"), recording, consent=_text(request, "consent"), owner=_text(request, "owner")
            )
        except kernelport.AlreadyExistsError:
            raise Refused("VOICE_EXISTS", f'there is a voice "{_text(request, "voice")}" already') from None
        except OSError as error:
            raise Refused("NO_SUCH_RECORDING", f"{recording.name}: {error.strerror}") from None
        return {"seconds": round(voice.seconds, 2)}

    async def _voices(self, request: Json) -> Json:
        return {"voices": [voice.name for voice in await self._client.voices()]}

    async def _forget_voice(self, request: Json) -> Json:
        return {"forgotten": await self._client.delete_voice(_text(request, "voice"))}


def _parsed(line: bytes) -> dict[str, object]:
    try:
        request: object = json.loads(line)
    except ValueError as error:
        raise Refused("BAD_REQUEST", f"expected a line of JSON: {error}") from None
    if not isinstance(request, dict):
        raise Refused("BAD_REQUEST", "expected an object")
    return cast("dict[str, object]", request)


def _text(request: Json, name: str) -> str:
    value = request.get(name)
    if not isinstance(value, str):
        raise Refused("BAD_REQUEST", f'"{name}": expected a text')
    return value


async def talk(service: Service, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answers the lines of a connection, in their order."""
    with contextlib.suppress(ConnectionError, ValueError):  # somebody hung up, or sent a line without an end
        while line := await reader.readline():
            writer.write(json.dumps(await service.answer(line)).encode() + b"\n")
            await writer.drain()
    writer.close()


async def serve(folder: Path, target: str, listen: str) -> None:
    """Serves until it is cancelled."""
    host, _, port = listen.rpartition(":")
    async with aio.Client(target, timeout_s=SAY_TIMEOUT_S) as client:
        service = Service(client, folder)

        async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await talk(service, reader, writer)

        server = await asyncio.start_server(connected, host, int(port), limit=LONGEST_LINE_BYTES)
        async with server:
            print(f"listens on {server.sockets[0].getsockname()[1]}", flush=True)
            await server.serve_forever()


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description="Notes that are read aloud.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--target", default="127.0.0.1:50051")
    parser.add_argument("--listen", default="127.0.0.1:8090")
    arguments = parser.parse_args()
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(serve(arguments.folder.resolve(), arguments.target, arguments.listen))


if __name__ == "__main__":
    main()
