"""`python -m kernelport_ops.bench.heard.formats`: whether every word is heard in each format that HTTP gives, whole and
streamed."""

import json
import subprocess
import sys
import urllib.request
import wave
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import click
from rich.table import Table

from kernelport.config.settings import Settings, bundled_deployments
from kernelport.speech_request import FORMATS
from kernelport.supervisor.stack import Stack
from kernelport_ops.bench.heard import recognizer
from kernelport_ops.bench.heard.words import differences, words
from kernelport_ops.bench.systems import START_TIMEOUT_S
from kernelport_ops.bench.terminal import new_console, prepare_process

MODEL = "hibari-en"
PCM_RATE = 24_000
TIMEOUT_S = 120.0
SENTENCES = (
    "The boats lay still in the water.",
    "She closed the window and went to bed.",
    "There is a letter on the kitchen table.",
    "He walked along the river every morning.",
    "The children are playing in the garden.",
    "We have been waiting for the train.",
    "It was a cold night in the middle of winter.",
    "My brother works in a small shop.",
    "They sat by the fire and told old stories.",
    "Please open the door for the doctor.",
)


@click.command()
@click.option("--recognizer", "python", required=True, help="Python of an environment that has the recognizer.")
@click.option("--url", help="A running front door over HTTP; by default a stack is started, with hibari-en.")
@click.option("--out", type=click.Path(path_type=Path), default=Path("out/heard/formats"), show_default=True)
def main(python: str, url: str | None, out: Path) -> None:
    """Speak ten sentences one by one, which come whole, and all in one, which is streamed; count what is misheard."""
    prepare_process()
    out.mkdir(parents=True, exist_ok=True)
    texts = {"whole": SENTENCES, "streamed": (" ".join(SENTENCES),)}
    with _serving(url, out / "stack") as place:
        files = {
            _spoken(place, text, name, out / f"{kind}-{number}"): (name, kind, text)
            for name in FORMATS
            for kind, these in texts.items()
            for number, text in enumerate(these)
        }
    errors = dict.fromkeys(((name, kind) for name, kind, _ in files.values()), 0)
    told: list[str] = []
    for file, heard in _recognized(python, files):
        name, kind, text = files[file]
        for each in differences(words(text), words(heard)):
            errors[name, kind] += each.errors
            told.append(f"{name}, {kind}: {each.written} is heard as {each.heard}")
    counts = Table("format", "sent", "words", "misheard")
    for (name, kind), count in errors.items():
        counts.add_row(name, kind, str(sum(len(words(text)) for text in SENTENCES)), str(count))
    console = new_console()
    console.print(counts)
    for line in told:
        console.print(line, markup=False)
    sys.exit(1 if told else 0)


@contextmanager
def _serving(url: str | None, folder: Path) -> Iterator[str]:
    if url:
        yield url
        return
    settings = replace(
        Settings(), listen="127.0.0.1:0", http_listen="127.0.0.1:0", deployments_file=bundled_deployments()
    )
    with Stack(settings, [MODEL], folder) as stack:
        stack.wait_ready(START_TIMEOUT_S)
        yield stack.url


def _spoken(url: str, text: str, name: str, path: Path) -> str:
    """Speaks a text; gives the file. Samples without a header are given one, as the recognizer reads files."""
    body = json.dumps({"model": MODEL, "input": text, "response_format": name}).encode()
    headers = {"Content-Type": "application/json"}
    request = urllib.request.Request(f"{url}/v1/audio/speech", body, headers)  # noqa: S310 (of this benchmark)
    with urllib.request.urlopen(request, timeout=TIMEOUT_S) as answer:  # noqa: S310
        data = answer.read()
    file = path.with_name(f"{path.name}-{name}{'.wav' if name == 'pcm' else FORMATS[name][0]}").absolute()
    if name == "pcm":
        with wave.open(str(file), "wb") as written:
            written.setnchannels(1)
            written.setsampwidth(2)
            written.setframerate(PCM_RATE)
            written.writeframes(data)
    else:
        file.write_bytes(data)
    return str(file)


def _recognized(python: str, files: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Each file, and what is heard in it."""
    command = [python, str(Path(recognizer.__file__).resolve()), *files]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        for line in process.stdout or ():
            heard = json.loads(line)
            yield heard["file"], heard["text"]
    if process.returncode:
        raise click.ClickException(f"the recognizer ended with {process.returncode}")


if __name__ == "__main__":
    main()
