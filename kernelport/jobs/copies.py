"""Copies of the outputs of jobs, and of the files that callers uploaded: what lies below the root of the storage.

A list beside a copy names each file by its path below the root and by its size, so it can be put below another root,
and what is missing there can be told.
"""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from kernelport.jobs.artifacts import ID_FILE, Artifacts, is_part

_CHUNK_BYTES = 8 * 2**20


class Listed(NamedTuple):
    """A file of a list.

    Attributes:
        path: below the root.
    """

    path: str
    bytes: int


def write_list(artifacts: Artifacts, file: Path, into: Path | None) -> Iterator[Listed]:
    """Writes the list of a storage, and copies its files, one after the other; gives each once that is done.

    Files that come later are left out, and so are those that go meanwhile: their job is deleted.

    Args:
        file: the list, an object a line.
        into: the root of the copies, which is made; None leaves the files where they are.

    Raises:
        `storage_errors`: the storage cannot be read.
        OSError: the copies cannot be written.
    """
    with file.open("x", encoding="utf-8") as lines:
        for listed in _files(artifacts):
            if into is not None:
                try:
                    listed = Listed(listed.path, _copy(artifacts, listed, into / listed.path))
                except FileNotFoundError:
                    continue
            lines.write(json.dumps(listed._asdict(), ensure_ascii=False) + "\n")
            yield listed


def read_list(file: Path) -> Iterator[Listed]:
    """The files of a list.

    Raises:
        ValueError: a line is none of a list.
    """
    with file.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, 1):
            try:
                told = json.loads(line)
                yield Listed(str(told["path"]), int(told["bytes"]))
            except (ValueError, LookupError, TypeError) as error:
                raise ValueError(f"{file}:{number}: expected an object with path and bytes") from error


def put_back(artifacts: Artifacts, listed: Listed, copies: Path) -> bool:
    """Puts a file of a list into a storage, unless one of its size is there; whether it is there now.

    Raises:
        `storage_errors`: the storage cannot be written.
    """
    try:
        if artifacts.size(listed.path) == listed.bytes:
            return True
    except FileNotFoundError:
        pass
    source = copies / listed.path
    if not source.is_file():
        return False
    artifacts.replace(listed.path, source)
    return True


def _files(artifacts: Artifacts) -> Iterator[Listed]:
    if artifacts.exists(ID_FILE):
        yield Listed(ID_FILE, artifacts.size(ID_FILE))
    for folder in artifacts.folders():
        for some in artifacts.sizes(folder):
            yield from (Listed(f"{folder}/{name}", size) for name, size in some.items() if not is_part(name))


def _copy(artifacts: Artifacts, listed: Listed, target: Path) -> int:
    """Copies a file; returns its bytes."""
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    if artifacts.is_local:
        shutil.copyfile(artifacts.url(listed.path), target)
    else:
        with target.open("xb") as opened:
            opened.writelines(artifacts.chunks(listed.path, listed.bytes, _CHUNK_BYTES))
    return target.stat().st_size
