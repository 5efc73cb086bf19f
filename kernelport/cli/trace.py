"""`kernelport trace`: what the processes of a stack have logged of one request or job."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import click

from kernelport.cli import options
from kernelport.errors import NotFoundError
from kernelport.telemetry.log_files import log_files

# How the lines of both forms begin; the time is in UTC in both.
_TIME = re.compile(r'(?:\{"time": ?")?(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\+00:00)')
# What else a line may be about, of which the lines are shown, too.
_LINKS = re.compile(r'[" \[](?:job|batch)(?:": ?"|=)([\w.-]+)')


@click.command()
@click.argument("name", metavar="ID")
@options.state_dir
def trace(name: str, state_dir: Path) -> None:
    """Show what the processes of a stack have logged of a request, a batch or a job, in order.

    ID is a request id (the caller's own, or the one that an answer or an error carries), the id of a batch or that of a
    job. It looks through the log files in the state folder: how much they hold of a call is for KERNELPORT_ACCESS_LOG
    and KERNELPORT_LOG_LEVEL to say.
    """
    folder = state_dir / "logs"
    own = _mention([name])
    linked = {link for _, _, entry in _entries(folder) if own.search(entry) for link in _LINKS.findall(entry)}
    wanted = _mention([name, *linked])
    found = sorted(each for each in _entries(folder) if wanted.search(each[2]))
    if not found:
        raise NotFoundError(f"no line in {folder} tells of {name}")
    for _, process, entry in found:
        click.echo(f"{process}: {entry}")


def _entries(folder: Path) -> Iterator[tuple[str, str, str]]:
    """Time, process and text of every entry: a line with those that belong to it."""
    for process, file in log_files(folder):
        time, lines = "", list[str]()
        with file.open(encoding="utf-8", errors="replace") as text:
            for line in text:
                if begins := _TIME.match(line):
                    if lines:
                        yield time, process, "\n".join(lines)
                    time, lines = begins[1], []
                if time:
                    lines.append(line.rstrip("\n"))
        if lines:
            yield time, process, "\n".join(lines)


def _mention(names: list[str]) -> re.Pattern[str]:
    """What finds one of some ids as a word, in either form of the log."""
    escaped = [json.dumps(name, ensure_ascii=ascii_only)[1:-1] for name in names for ascii_only in (True, False)]
    forms = {*names, *escaped}
    return re.compile(rf"(?<![\w.-])(?:{'|'.join(map(re.escape, sorted(forms)))})(?![\w.-])")
