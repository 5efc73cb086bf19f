"""`python -m kernelport_ops.bench.heard`: what a recognizer hears of sentences that each voice speaks."""

import json
import shutil
import subprocess
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from kernelport import Client
from kernelport.config.settings import Settings, bundled_deployments
from kernelport.signature import is_speech
from kernelport.supervisor.stack import Stack
from kernelport_ops.bench.heard import recognizer
from kernelport_ops.bench.heard.joins import MODEL, Streams, spoken
from kernelport_ops.bench.heard.words import Difference, differences, words
from kernelport_ops.bench.report import write_json
from kernelport_ops.bench.systems import START_TIMEOUT_S
from kernelport_ops.bench.terminal import new_console, prepare_process, progress_bar
from kernelport_ops.bench.texts import mixed_lines, sentences


@dataclass
class Hearing:
    """What was heard of one voice.

    Attributes:
        words: how many were written.
        errors: how many were heard otherwise, not at all, or where there were none.
        differences: by the sentence that they are of.
    """

    sentences: int = 0
    words: int = 0
    errors: int = 0
    differences: dict[str, list[Difference]] = field(default_factory=dict)

    def note(self, sentence: str, heard: str) -> None:
        """Counts one sentence."""
        written = words(sentence)
        found = differences(written, words(heard))
        self.sentences += 1
        self.words += len(written)
        self.errors += sum(each.errors for each in found)
        if found:
            self.differences[sentence] = found

    @property
    def rate(self) -> float:
        """Errors a word."""
        return self.errors / self.words


@click.command()
@click.option("--recognizer", "python", required=True, help="Python of an environment that has the recognizer.")
@click.option("--target", help="A running stack; by default one is started, with hibari-en.")
@click.option("--sentences", "count", type=click.IntRange(1, 10_000), default=200, show_default=True)
@click.option("--streams", type=click.IntRange(0, 1000), default=100, show_default=True)
@click.option("--out", type=click.Path(path_type=Path), default=Path("out/heard"), show_default=True)
def main(python: str, target: str | None, count: int, streams: int, out: Path) -> None:
    """Speak sentences with every voice of a stack that needs no recording, or has one registered, and count the words
    that are heard otherwise. Stream longer texts, and look for words that are lost or doubled where pieces meet."""
    prepare_process()
    console, texts = new_console(), sentences(count)
    with _stack(target, out / "stack") as place, Client(place, timeout_s=120) as client:
        heard = {
            name: _heard(client, console, python, name, inputs, texts, out) for name, inputs in _voices(client).items()
        }
        joined = _streamed(client, console, python, mixed_lines(streams), out / "streams")
    _show(console, heard)
    _show_joins(console, joined)
    voices = {name: {**asdict(each), "rate": each.rate} for name, each in heard.items()}
    write_json(out / "heard.json", {"voices": voices, "streams": asdict(joined)})


@contextmanager
def _stack(target: str | None, folder: Path) -> Iterator[str]:
    """Where a stack answers."""
    if target:
        yield target
        return
    shutil.rmtree(folder, ignore_errors=True)
    settings = replace(Settings(), listen="127.0.0.1:0", deployments_file=bundled_deployments())
    with Stack(settings, [MODEL], folder) as stack:
        stack.wait_ready(START_TIMEOUT_S)
        yield stack.target


def _voices(client: Client) -> dict[str, Mapping[str, Any]]:
    """By their names, the deployment that speaks with each voice and its further inputs."""
    found: dict[str, Mapping[str, Any]] = {}
    for deployment in client.deployments():
        if not deployment.workers or not is_speech(deployment.signature):
            continue
        if any(spec.names_voice for spec in deployment.signature.inputs):
            found |= {f"{deployment.name}/{voice.name}": {"voice": voice.name} for voice in client.voices()}
        else:
            found[deployment.name] = {}
    return found


def _heard(
    client: Client,
    console: Console,
    python: str,
    name: str,
    inputs: Mapping[str, Any],
    texts: Sequence[str],
    out: Path,
) -> Hearing:
    folder = (out / name).resolve()
    folder.mkdir(parents=True, exist_ok=True)
    files = {str(folder / f"{number:04}.wav"): text for number, text in enumerate(texts, 1)}
    hearing = Hearing()
    with progress_bar(console) as progress:
        speaking = progress.add_task(f"{name} speaks", total=len(files))
        for file, text in files.items():
            client.speak(name.partition("/")[0], text, **inputs).save(file)
            progress.advance(speaking)
        listening = progress.add_task("the recognizer hears", total=len(files))
        for answer in _recognized(python, list(files)):
            hearing.note(files[answer["file"]], answer["text"])
            progress.advance(listening)
    return hearing


def _streamed(client: Client, console: Console, python: str, texts: Sequence[str], folder: Path) -> Streams:
    found = Streams()
    with progress_bar(console) as progress:
        speaking = progress.add_task("streams", total=len(texts))
        made = []
        for each in spoken(client, texts, folder.resolve()):
            made.append(each)
            progress.advance(speaking)
        files = [str(file) for stream, whole, _ in made for file in (stream, whole)]
        listening = progress.add_task("the recognizer hears", total=len(files))
        heard: dict[str, str] = {}
        for answer in _recognized(python, files) if files else ():
            heard[answer["file"]] = answer["text"]
            progress.advance(listening)
    for text, (stream, whole, joins) in zip(texts, made, strict=True):
        found.note(text, joins, heard[str(stream)], heard[str(whole)])
    return found


def _recognized(python: str, files: Sequence[str]) -> Iterator[dict[str, Any]]:
    """What is heard in each file, as it comes."""
    command = [python, str(Path(recognizer.__file__).resolve()), *files]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        for line in process.stdout or ():
            yield json.loads(line)
    if process.returncode:
        raise click.ClickException(f"the recognizer ended with {process.returncode}")


def _show(console: Console, heard: Mapping[str, Hearing]) -> None:
    summary = Table("voice", "sentences", "words", "errors", "word error rate")
    for name, each in heard.items():
        summary.add_row(name, str(each.sentences), str(each.words), str(each.errors), f"{each.rate:.2%}")
    console.print(summary)
    for name, each in heard.items():
        failing = Counter(difference for found in each.differences.values() for difference in found)
        table = Table("written", "heard", "times", title=f"{name}: what was heard otherwise", title_justify="left")
        for difference, times in failing.most_common():
            table.add_row(" ".join(difference.written), " ".join(difference.heard), str(times))
        console.print(table)


def _show_joins(console: Console, found: Streams) -> None:
    console.print(
        f"{found.texts} streams with {found.joins} joins, {found.words} words: {found.errors} are heard otherwise,"
        f" {found.whole_errors} of the same texts whole; at joins alone {sum(map(len, found.at_joins.values()))}"
    )
    for new in found.at_joins.values():
        for each in new:
            console.print(f"  {' '.join(each.written) or '(nothing)'} → {' '.join(each.heard) or '(nothing)'}")


if __name__ == "__main__":
    main()
