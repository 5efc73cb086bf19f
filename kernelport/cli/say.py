"""`kernelport say`: text in, audio files out."""

import contextlib
import itertools
import os
import sys
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

import click
from click.core import ParameterSource
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from kernelport import audio
from kernelport.audio import FORMATS, encode_audio, to_pcm, wav_header, write_audio
from kernelport.cli import mistakes, options
from kernelport.cli.texts import Texts
from kernelport.client import Client, Speech
from kernelport.client.item_files import SPLITS, Line, Passage, Problem, Split, chosen, read_passages
from kernelport.client.item_files.values import text_tensor
from kernelport.client.jobs import folders
from kernelport.client.speaking import join, speak
from kernelport.counting import counted
from kernelport.errors import KernelPortError, NotFoundError, UnavailableError
from kernelport.signature import Declared, Signature

_STDOUT = Path("/dev/stdout")


@click.command()
@click.argument("texts", nargs=-1)
@click.option(
    "-f",
    "--file",
    type=click.Path(path_type=Path, exists=True, dir_okay=False, allow_dash=True),
    help="Read the text from a file; - is stdin.",
)
@click.option("--deployment", default="hibari-en", help="The deployment that speaks.")
@click.option("-o", "--out", help="The output file, such as chapter.wav; a folder, as in chapter/; or - for stdout.")
@click.option(
    "--split", type=click.Choice(SPLITS), help="What is spoken at a time; without -o, a file each in speech/."
)
@click.option(
    "--format",
    "ending",
    type=click.Choice([n[1:] for n in FORMATS]),
    default="wav",
    help="Of files in a folder, and of what stdout or a device gets.",
)
@click.option("--stream", "is_stream", is_flag=True, help="Write the WAV file as it is spoken; -o - is stdout.")
@click.option("--spoken", "shows_words", is_flag=True, help="Print the words as they are read.")
@click.option("--overwrite", is_flag=True, help="Replace files that are there already.")
@click.option("--append", is_flag=True, help="Go on behind the files that the folder has.")
@click.option(
    "--encoding", type=options.Encoding(), help="Of the text, such as windows-1252; UTF-8 or UTF-16 by default."
)
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
    is_stream: bool,
    shows_words: bool,
    overwrite: bool,
    append: bool,
    encoding: str | None,
    skip_bad: bool,
    assignments: tuple[str, ...],
    parallel: int,
    target: str,
    timeout: float | None,
) -> None:
    """Speak TEXTS, a file, or stdin (-).

    The text becomes one file (speech.wav unless -o says otherwise) with pauses between its paragraphs. With a folder
    as -o, or with --split, every line, paragraph or sentence becomes a numbered file. With --stream the text is spoken
    as a whole, and can be heard from its first words on: `kernelport say --stream -o - TEXT | aplay`.
    """
    for text in options.among(texts):
        options.note(f"{text} is read out, as it stands behind --; options go before it")
    is_format_named = click.get_current_context().get_parameter_source("ending") is ParameterSource.COMMANDLINE
    if is_stream:
        if is_format_named and ending != "wav":
            raise click.UsageError(f"--stream: expected no --format {ending}, as a stream is WAV")
        if split is not None or append or skip_bad:
            raise click.UsageError("--stream: expected no --split, --append or --skip-bad, as the text is spoken whole")
        lines = Texts(texts, file, encoding).lines
        _stream(lines, deployment, out or "speech.wav", overwrite, assignments, _outputs(shows_words), target, timeout)
        return
    path, is_folder = _place(out, split, ending)
    if is_format_named and not is_folder and path.suffix.lower() in FORMATS and path.suffix.lower() != f".{ending}":
        raise click.UsageError(f"--format {ending}: expected a name that ends in .{ending} as --out, got {path}")
    suffix = path.suffix.lower() if path.suffix.lower() in FORMATS and not is_folder else f".{ending}"
    audio.check(suffix)
    given = Texts(texts, file, encoding)
    if given.hint:
        options.note(given.hint)
    found = read_passages(given.lines, split)
    if split is None and (is_folder or given.file):
        options.note(chosen(given.lines))
    _check_place(path, is_folder, overwrite, append)
    spoken: dict[int, Speech] = {}
    words: dict[int, str] = {}
    outputs = _outputs(shows_words)
    first = _next_number(path) if append else 1
    seconds, done = 0.0, 0
    with Client(target, timeout_s=timeout) as client:
        try:
            signature = client.deployment(deployment).signature
        except KernelPortError:
            _good(found, given, skip_bad)  # what is wrong with the text itself is told first
            raise
        inputs = _inputs(signature, deployment, assignments)
        passages = _good(_checked(found, signature), given, skip_bad)
        patience_s = timeout or client.jobs.patience_s
        with (
            _telling_what_a_break_leaves(path if is_folder else None, lambda: done),
            contextlib.closing(
                _speak(client, deployment, given, passages, inputs, outputs, parallel, patience_s)
            ) as coming,
        ):
            for index, speech in coming:
                done += 1
                seconds += speech.seconds
                if speech.spoken is not None:
                    words[index] = speech.spoken
                if is_folder:
                    _write(path / f"{first + index:0{_width(passages)}}.{ending}", [(passages[index], speech)], suffix)
                else:
                    spoken[index] = speech
    is_written = is_folder or done == len(passages) or (skip_bad and done > 0)
    if is_written and not is_folder:
        seconds = _write(path, [(passages[index], spoken[index]) for index in sorted(spoken)], suffix)
    for index in sorted(words):
        click.echo(words[index], err=path == _STDOUT)
    where = ("stdout" if path == _STDOUT else path) if is_written else "no file was written"
    click.echo(f"{done} of {len(passages)} spoken, {seconds:.1f} s of audio: {where}", err=path == _STDOUT)
    if done < len(passages):
        sys.exit(1)


@contextlib.contextmanager
def _telling_what_a_break_leaves(folder: Path | None, spoken: Callable[[], int]) -> Iterator[None]:
    try:
        yield
    except KeyboardInterrupt:
        some = f"{folder} has what was spoken so far" if folder else "no file was written"
        left = some if spoken() else "nothing was spoken"
        click.echo(f"\n{left}; a job goes on after a break: kernelport jobs submit", err=True)
        raise


def _stream(
    lines: Sequence[Line | Problem],
    deployment: str,
    out: str,
    overwrite: bool,
    assignments: tuple[str, ...],
    outputs: Sequence[str],
    target: str,
    timeout: float | None,
) -> None:
    """Speaks a text into a WAV file, or to stdout, while it is made."""
    if problems := [each for each in lines if isinstance(each, Problem)]:
        raise mistakes.Mistake(str(problems[0]))
    text = "\n".join(each.text for each in lines if isinstance(each, Line))
    path = Path(out)
    if out != "-" and not _is_device(path):
        if path.suffix.lower() != ".wav":
            raise click.UsageError(f"--out: expected - or a name that ends in .wav with --stream; got {path}")
        _check_place(path, False, overwrite, False)
    with Client(target, timeout_s=timeout) as client:
        inputs = _inputs(client.deployment(deployment).signature, deployment, assignments)
        with contextlib.closing(client.stream(deployment, text, outputs=outputs, **inputs)) as pieces:
            first = next(pieces)  # what is wrong with the text is told before there is a file
            with _opened(path, out) as file:
                samples = write_wav(file, _told(itertools.chain([first], pieces), to_stderr=out == "-"))
    click.echo(f"{samples / first.sample_rate:.1f} s of audio: {'stdout' if out == '-' else path}", err=out == "-")


def _told(pieces: Iterable[Speech], to_stderr: bool) -> Iterator[Speech]:
    """The pieces; what was done that nobody asked for is shown, and the words, if they come."""
    ends_line = True
    for piece in pieces:
        for warning in piece.warnings:
            click.echo(warning, err=True)
        if piece.spoken is not None:
            click.echo(piece.spoken, nl=False, err=to_stderr)
            ends_line = False
        yield piece
    if not ends_line:
        click.echo(err=to_stderr)


def _opened(path: Path, out: str) -> contextlib.AbstractContextManager[IO[bytes]]:
    if out == "-":
        return contextlib.nullcontext(sys.stdout.buffer)
    path.parent.mkdir(parents=True, exist_ok=True)
    return path.open("wb")


def _speak(
    client: Client,
    deployment: str,
    given: Texts,
    passages: Sequence[Passage],
    inputs: Mapping[str, Any],
    outputs: Sequence[str],
    parallel: int,
    patience_s: float,
) -> Generator[tuple[int, Speech]]:
    """Yields the speech of passages, with their indices, as it comes; shows how many there are, and why others fail.

    Raises:
        KernelPortError: when no other passage would fare better than one that failed.
    """
    columns = (TextColumn("speaking"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    texts, in_the_way = [passage.text for passage in passages], ""
    with Progress(*columns, console=Console(stderr=True)) as progress:
        bar = progress.add_task("", total=len(passages))

        def on_retry(error: KernelPortError) -> None:
            nonlocal in_the_way
            if in_the_way != error.message:
                in_the_way = error.message
                progress.print(f"trying again: {in_the_way}", markup=False, soft_wrap=True)

        with contextlib.closing(
            speak(client, deployment, texts, inputs, outputs, parallel, patience_s, on_retry)
        ) as coming:
            for index, speech in coming:
                if isinstance(speech, KernelPortError) and _is_of_all(speech):
                    raise speech
                told = [speech] if isinstance(speech, KernelPortError) else speech.warnings
                for finding in told:
                    place = given.place(passages[index].line)
                    progress.print(f"{place}: {finding}", markup=False, soft_wrap=True)
                if not isinstance(speech, KernelPortError):
                    in_the_way = ""
                    progress.advance(bar)
                    yield index, speech


def _is_of_all(error: KernelPortError) -> bool:
    """Whether every passage would fail alike: it is not the text that is at fault."""
    others = (each.field for each in error.violations if not each.field.startswith(('inputs["text"]', "text")))
    return isinstance(error, (NotFoundError, UnavailableError)) or any(others)


def _outputs(shows_words: bool) -> Sequence[str]:
    """What is wanted beside the sound."""
    return ("spoken",) if shows_words else ()


def _inputs(signature: Signature, deployment: str, assignments: tuple[str, ...]) -> dict[str, Any]:
    """The inputs beside the text."""
    known = [spec.name for spec in signature.inputs if spec.name != "text"]
    for name, _ in map(options.parse_assignment, assignments):
        if name not in known:
            expected = f"expected one of {', '.join(known)}" if known else "expected none"
            raise click.UsageError(f"--set {name}: {expected}, which is what {deployment} takes beside the text")
    return options.read_assignments(assignments, signature)


def _checked(found: Sequence[Passage | Problem], signature: Signature) -> Iterator[Passage | Problem]:
    """The same, with what is wrong with those passages that the deployment is known to refuse."""
    specs = [spec for spec in signature.inputs if spec.name == "text"]
    declared = Declared(specs)
    for passage in found:
        if isinstance(passage, Problem):
            yield passage
            continue
        finding = next(declared.violations([text_tensor("text", passage.text)]), None) if specs else None
        yield passage if finding is None else Problem(passage.line, "", finding.description)


def _good(found: Iterable[Passage | Problem], given: Texts, skip_bad: bool) -> list[Passage]:
    """The passages that can be spoken; what is wrong with others is told.

    Raises:
        mistakes.Mistake: when there are others and they are not to be left out, or nothing else.
    """
    found = list(found)
    problems = [each for each in found if isinstance(each, Problem)]
    for problem in problems:
        click.echo(given.told(problem), err=True)
    if any(problem.fatal for problem in problems) or (problems and not skip_bad):
        bad = counted(len(problems), f"bad {given.unit}")
        raise mistakes.Mistake(f"{bad}; nothing was spoken; --skip-bad leaves them out")
    passages = [each for each in found if isinstance(each, Passage)]
    if not passages:
        raise mistakes.Mistake("there is nothing to say")
    return passages


def _place(out: str | None, split: Split | None, ending: str) -> tuple[Path, bool]:
    """Where the speech goes, and whether that is a folder."""
    if out is None:
        return (Path(f"speech.{ending}"), False) if split is None else (Path("speech"), True)
    path = Path(out)
    if out == "-" or path == _STDOUT:
        return _STDOUT, False
    if _is_device(path):
        return path, False
    if out.endswith(("/", os.sep)) or path.is_dir() or not path.suffix:
        return path, True
    if path.suffix.lower() not in FORMATS:
        expected = f"expected a folder, or a name that ends in one of {', '.join(FORMATS)}"
        raise click.UsageError(f"--out: {expected}; got {path}")
    return path, False


def _is_device(path: Path) -> bool:
    """Whether something is at a place that is no file and no folder, such as a pipe or /dev/null."""
    return path.exists() and not (path.is_file() or path.is_dir())


def _write(path: Path, spoken: Sequence[tuple[Passage, Speech]], suffix: str) -> float:
    """Writes speech into a file, which appears when it is complete, or to stdout or a device; gives its seconds.

    Args:
        suffix: one of FORMATS.
    """
    try:
        speech = join(spoken)
        if path == _STDOUT:
            sys.stdout.buffer.write(encode_audio(speech.audio, speech.sample_rate, suffix))
        elif _is_device(path):
            path.write_bytes(encode_audio(speech.audio, speech.sample_rate, suffix))
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_audio(path, speech.audio, speech.sample_rate)
    except ValueError as error:  # of a sample rate that no such file has
        raise click.ClickException(f"{path}: {error}") from error
    return speech.seconds


def _check_place(path: Path, is_folder: bool, overwrite: bool, append: bool) -> None:
    """Refuses to replace what is there, before anything is spoken."""
    if append and (overwrite or not is_folder):
        raise click.UsageError("--append: expected a folder as --out, and no --overwrite")
    if overwrite or append or path == _STDOUT or _is_device(path):
        return
    if is_folder:
        try:
            folders.check(path)
        except FileExistsError as error:
            raise mistakes.Mistake(f"--out: {error}: choose another folder, --append or --overwrite") from error
    else:
        mistakes.check_new(path, overwrite)


def _next_number(folder: Path) -> int:
    """Behind the highest number that names a file of the folder."""
    names = (path.stem for path in folder.glob("*")) if folder.is_dir() else iter(())
    return 1 + max((int(name) for name in names if name.isdecimal() and name.isascii()), default=0)


def _width(passages: Sequence[Passage]) -> int:
    return max(4, len(str(len(passages))))


def write_wav(file: IO[bytes], pieces: Iterable[Speech]) -> int:
    """Writes pieces of one speech as they come, each at once; a file's header is corrected at the end.

    Args:
        file: a binary file; or a pipe, whose header says that the length is not known.
        pieces: at least one; all of one sample rate.

    Returns:
        how many samples there are.
    """
    samples = sample_rate = 0
    for piece in pieces:
        if not sample_rate:
            sample_rate = piece.sample_rate
            file.write(wav_header(sample_rate, None))
        file.write(to_pcm(piece.audio).astype("<i2", copy=False).tobytes())
        file.flush()
        samples += piece.audio.size
    if file.seekable():
        file.seek(0)
        file.write(wav_header(sample_rate, 2 * samples))
    return samples
