"""The deployments file in the state folder of a running stack: it includes the one that the stack was started with, and
has what was added since."""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from kernelport.config.schema import as_yaml, read_yaml
from kernelport.supervisor.state_folder import open_private, private_folder, write_private


def own_file(state_dir: Path) -> Path:
    """Where the file is: under a name of its own, as the one that it includes may lie in the folder, too."""
    return state_dir.absolute() / "added-deployments.yaml"


def begin_own_file(state_dir: Path, include: Path) -> None:
    """A stack starts: nothing has been added yet."""
    _write(state_dir, {"include": str(include.absolute()), "deployments": {}})


def added(state_dir: Path) -> dict[str, Any]:
    """The entries that were added, by name."""
    entries: dict[str, Any] = _read(state_dir)["deployments"]
    return entries


def add(state_dir: Path, name: str, entry: dict[str, Any]) -> None:
    """Adds an entry, or replaces one that was added."""
    with _changing(state_dir) as entries:
        entries[name] = entry


def remove(state_dir: Path, name: str) -> None:
    """Takes out an entry that was added."""
    with _changing(state_dir) as entries:
        del entries[name]


def write_manifest(state_dir: Path, name: str, model: Path, backend: str) -> Path:
    """Writes a manifest of a model file; returns where it is."""
    folder = private_folder(state_dir.absolute() / "served") / name
    folder.mkdir(exist_ok=True)
    path = folder / "manifest.yaml"
    content = {
        "id": name.lower(),
        "source": {"kind": "local", "path": str(model.absolute().parent)},
        "format": "onnx",
        "backend": backend,
        "files": {"model": model.name},
    }
    path.write_text(as_yaml(content))
    return path


@contextmanager
def _changing(state_dir: Path) -> Iterator[dict[str, Any]]:
    """The entries that were added, written as they are in the end. Other processes that change them wait meanwhile."""
    with open(state_dir / "added-deployments.lock", "w", opener=open_private) as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        file = _read(state_dir)
        yield file["deployments"]
        _write(state_dir, file)


def _read(state_dir: Path) -> dict[str, Any]:
    file: dict[str, Any] = read_yaml(own_file(state_dir))
    return file


def _write(state_dir: Path, file: dict[str, Any]) -> None:
    write_private(own_file(state_dir), as_yaml(file))
