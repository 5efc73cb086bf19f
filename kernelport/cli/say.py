"""`kernelport say`: text in, audio files out."""

import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from kernelport.audio import FORMATS, write_audio
from kernelport.cli import options
from kernelport.client import Client, Speech
from kernelport.errors import KernelPortError, NotFoundError
from kernelport.item_files import SPLITS, Line, Passage, Problem, Split, chosen, read_passages
from kernelport.item_files.lines import read_lines
from kernelport.item_files.opening import STDIN, open_utf8
from kernelport.job_client import folders
from kernelport.speaking import join, speak


@click.command()
@click.argument("texts", nargs=-1)
@click.option(
    "-f",
    "--file",
    type=click.Path(path_type=Path, exists=True, dir_okay=False, allow_dash=True),
    help="Read the text from a file; - is stdin.",
)
@click.option("--deployment", default="hibari-en", help="The deployment that speaks.")
@click.option("-o", "--out", help="The output file, such as chapter.wav; or a folder, as in chapter/.")
@click.option(
    "--split", type=click.Choice(SPLITS), help="What is spoken at a time; without -o, a file each in speech/."
)
@click.option(
    "--format", "ending", type=click.Choice([n[1:] for n in FORMATS]), default="wav", help="Of files in a folder."
)
@click.option("--overwrite", is_flag=True, help="Replace files that are there already.")
@click.option("--append", is_flag=True, help="Go on behind the files that the folder has.")
@click.option("--skip-bad", is_flag=True, help="Leave out what cannot be spoken instead of refusing the text.")
@click.option(
    "--set",
    "assignments",
    multiple=True,
    metavar="NAME=VALUE",
    help="A further input, such as speed=1.1 or prompt_audio=@me.wav.",
)
@click.option("--parallel", type=click.IntRange(1, 256), default=8, help="Passages in flight at a time.")
@options.target
@options.timeout
def say(
    texts: tuple[str, ...],
    file: Path | None,
    deployment: str,
    out: str | None,
    split: Split | None,
    ending: str,
    overwrite: bool,
    append: bool,
    skip_bad: bool,
    assignments: tuple[str, ...],
    parallel: int,
    target: str,
    timeout: float | None,
) -> None:
    """Speak TEXTS, a file, or stdin.

    The text becomes one file (speech.wav unless -o says otherwise) with pauses between its paragraphs. With a folder
    as -o, or with --split, every line, paragraph or sentence becomes a numbered file.
    """
    path, is_folder = _place(out, split, ending)
    lines = list(_lines(texts, file))
    passages = _passages(lines, str(file or "TEXTS"), split, skip_bad)
    if split is None and (is_folder or not texts):
        options.note(chosen(lines))
    _check_place(path, is_folder, overwrite, append)
    spoken: dict[int, Speech] = {}
    first = _next_number(path) if append else 1
    seconds, console = 0.0, Console(stderr=True)
    columns = (TextColumn("speaking"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Client(target, timeout_s=timeout) as client, Progress(*columns, console=console) as progress:
        inputs = _inputs(client, deployment, assignments)
        bar = progress.add_task("", total=len(passages))
        done = 0
        for index, speech in speak(client, deployment, [passage.text for passage in passages], inputs, parallel):
            if isinstance(speech, NotFoundError):
                raise speech  # no other line fares better
            if isinstance(speech, KernelPortError):
                progress.print(f"line {passages[index].line}: {speech}", markup=False, soft_wrap=True)
                continue
            for warning in speech.warnings:
                progress.print(f"line {passages[index].line}: {warning}", markup=False, soft_wrap=True)
            progress.update(bar, completed=(done := done + 1))
            seconds += speech.seconds
            if is_folder:
                path.mkdir(parents=True, exist_ok=True)
                write_audio(path / f"{first + index:0{_width(passages)}}.{ending}", speech)
            else:
                spoken[index] = speech
    if not is_folder and done == len(passages):
        whole = join([(passage, spoken[index]) for index, passage in enumerate(passages)])
        seconds = whole.seconds
        path.parent.mkdir(parents=True, exist_ok=True)
        write_audio(path, whole)
    where = path if is_folder or done == len(passages) else "no file was written"
    click.echo(f"{done} of {len(passages)} spoken, {seconds:.1f} s of audio: {where}")
    if done < len(passages):
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


def _passages(lines: Sequence[Line | Problem], source: str, split: Split | None, skip_bad: bool) -> list[Passage]:
    found = read_passages(lines, split)
    problems = [each for each in found if isinstance(each, Problem)]
    for problem in problems:
        click.echo(f"{source}:{problem}", err=True)
    if any(problem.fatal for problem in problems) or (problems and not skip_bad):
        raise click.UsageError(f"{len(problems)} bad lines; nothing was spoken; --skip-bad leaves them out")
    passages = [each for each in found if isinstance(each, Passage)]
    if not passages:
        raise click.UsageError("there is nothing to say")
    return passages


def _lines(texts: Sequence[str], file: Path | None) -> Iterator[Line | Problem]:
    """The lines of a file, or of stdin; or of texts, each a paragraph of its own."""
    if texts and file is not None:
        raise click.UsageError("expected TEXTS or --file, not both")
    if not texts and file is None:
        if sys.stdin is None or sys.stdin.isatty():
            raise click.UsageError("expected TEXTS, --file, or text on stdin")
        file = STDIN
    if file is not None:
        with open_utf8(file) as source:
            yield from read_lines(source)
        return
    number = 0
    for text in texts:
        for line in [*text.splitlines(), ""]:
            yield Line(number := number + 1, line)


def _place(out: str | None, split: Split | None, ending: str) -> tuple[Path, bool]:
    """Where the speech goes, and whether that is a folder."""
    if out is None:
        return (Path(f"speech.{ending}"), False) if split is None else (Path("speech"), True)
    path = Path(out)
    if out.endswith(("/", os.sep)) or path.is_dir() or not path.suffix:
        return path, True
    if path.suffix.lower() not in FORMATS:
        expected = f"expected a folder, or a name that ends in one of {', '.join(FORMATS)}"
        raise click.UsageError(f"--out: {expected}; got {path}")
    return path, False


def _check_place(path: Path, is_folder: bool, overwrite: bool, append: bool) -> None:
    """Refuses to replace what is there, before anything is spoken."""
    if append and (overwrite or not is_folder):
        raise click.UsageError("--append: expected a folder as --out, and no --overwrite")
    if overwrite or append:
        return
    if is_folder:
        try:
            folders.check(path)
        except FileExistsError as error:
            raise click.UsageError(f"--out: {error}: choose another folder, --append or --overwrite") from error
    elif path.exists():
        raise click.UsageError(f"--out: {path} is there already: choose another name, or --overwrite")


def _next_number(folder: Path) -> int:
    """Behind the highest number that names a file of the folder."""
    names = (path.stem for path in folder.glob("*")) if folder.is_dir() else iter(())
    return 1 + max((int(name) for name in names if name.isdecimal() and name.isascii()), default=0)


def _width(passages: Sequence[Passage]) -> int:
    return max(4, len(str(len(passages))))
