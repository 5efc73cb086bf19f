"""`kernelport say`: text in, audio files out."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from kernelport.audio import FORMATS
from kernelport.cli import options
from kernelport.client import Client
from kernelport.item_files import Problem
from kernelport.item_files.lines import read_lines
from kernelport.item_files.opening import STDIN, open_utf8
from kernelport.speaking import Line, speak_lines


@click.command()
@click.argument("texts", nargs=-1)
@click.option(
    "-f",
    "--file",
    type=click.Path(path_type=Path, exists=True, dir_okay=False, allow_dash=True),
    help="Read texts from a file, a line each; - is stdin.",
)
@click.option("--deployment", default="hibari-en", help="The deployment that speaks.")
@click.option(
    "-o", "--out", type=click.Path(path_type=Path), help="The output file; a folder when there are several lines."
)
@click.option(
    "--format", "ending", type=click.Choice([n[1:] for n in FORMATS]), default="wav", help="Of files in a folder."
)
@click.option(
    "--set",
    "assignments",
    multiple=True,
    metavar="NAME=VALUE",
    help="A further input, such as speed=1.1 or prompt_audio=@me.wav.",
)
@click.option("--parallel", type=click.IntRange(1, 256), default=8, help="Lines in flight at a time.")
@options.target
@options.timeout
def say(
    texts: tuple[str, ...],
    file: Path | None,
    deployment: str,
    out: Path | None,
    ending: str,
    assignments: tuple[str, ...],
    parallel: int,
    target: str,
    timeout: float | None,
) -> None:
    """Speak TEXTS, the lines of a file, or stdin.

    One text becomes one file (speech.wav unless -o says otherwise); several become numbered files in a folder (speech/
    unless -o says otherwise).
    """
    lines = _with_paths(_texts(texts, file), out, ending)
    console = Console(stderr=True)
    columns = (TextColumn("speaking"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    failed, seconds = 0, 0.0
    with Client(target, timeout_s=timeout) as client, Progress(*columns, console=console) as progress:
        inputs = _inputs(client, deployment, assignments)
        bar = progress.add_task("", total=len(lines))
        for spoken in speak_lines(client, deployment, lines, inputs, parallel):
            progress.advance(bar)
            seconds += spoken.seconds
            if spoken.error is not None:
                failed += 1
                progress.print(f"{spoken.line.path.name}: {spoken.error}", markup=False)
    written = out or lines[0].path if len(lines) == 1 else lines[0].path.parent
    click.echo(f"{len(lines) - failed} of {len(lines)} spoken, {seconds:.1f} s of audio: {written}")
    if failed:
        sys.exit(1)


def _inputs(client: Client, deployment: str, assignments: tuple[str, ...]) -> dict[str, Any]:
    """The inputs beside the text."""
    if not assignments:
        return {}
    signature = client.deployment(deployment).signature
    known = [spec.name for spec in signature.inputs if spec.name != "text"]
    for name, _ in map(options.parse_assignment, assignments):
        if name not in known:
            expected = f"expected one of {', '.join(known)}" if known else "expected none"
            raise click.UsageError(f"--set {name}: {expected}, which is what {deployment} takes beside the text")
    return options.read_assignments(assignments, signature)


def _texts(texts: tuple[str, ...], file: Path | None) -> list[str]:
    if texts and file is not None:
        raise click.UsageError("expected TEXTS or --file, not both")
    if not texts and file is None:
        if sys.stdin is None or sys.stdin.isatty():
            raise click.UsageError("expected TEXTS, --file, or text on stdin")
        file = STDIN
    lines = list(texts) if file is None else _lines(file)
    if not lines:
        raise click.UsageError("there is nothing to say")
    return lines


def _lines(source: Path) -> list[str]:
    """The lines of a file that are not blank."""
    lines = []
    with open_utf8(source) as file:
        for line in read_lines(file):
            if isinstance(line, Problem):
                raise click.UsageError(f"{source}:{line}")
            lines.append(line.text.strip())
    return list(filter(None, lines))


def _with_paths(texts: Sequence[str], out: Path | None, ending: str) -> list[Line]:
    if len(texts) == 1:
        path = out or Path(f"speech.{ending}")
        if path.suffix.lower() not in FORMATS:
            raise click.UsageError(f"--out: expected a name that ends in one of {', '.join(FORMATS)}, got {path}")
        return [Line(texts[0], path)]
    folder = out or Path("speech")
    width = max(4, len(str(len(texts))))
    return [Line(text, folder / f"{number:0{width}}.{ending}") for number, text in enumerate(texts, 1)]
