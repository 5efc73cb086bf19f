"""Environments with nothing of this one's but what they are given."""

import os
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import Distribution, distribution
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

REPOSITORY = Path(__file__).resolve().parents[2]


class Environment:
    """A new environment without pip, which is empty."""

    def __init__(self, folder: Path) -> None:
        self.python = folder / "bin" / "python"
        run(sys.executable, "-m", "venv", "--without-pip", str(folder))

    def run(self, command: str, *arguments: str) -> str:
        """The output of one of its commands, which must succeed."""
        return run(str(self.python.with_name(command)), *arguments)

    def refusal(self, command: str, *arguments: str) -> str:
        """What one of its commands says when it ends with 1."""
        finished = _finished([str(self.python.with_name(command)), *arguments])
        assert finished.returncode == 1, finished.stdout + finished.stderr
        return finished.stderr


class Installed(Environment):
    """One that `pip install '.[EXTRA]'` has filled."""

    def __init__(self, folder: Path, extra: str = "") -> None:
        super().__init__(folder)
        what = f".[{extra}]" if extra else "."
        self._pip("install", "-q", "--no-compile", "-c", "constraints.txt", what)

    def packages(self) -> set[str]:
        """The names of what is installed, in small letters."""
        return {line.split("==")[0].lower() for line in self._pip("list", "--format=freeze").splitlines()}

    def _pip(self, *arguments: str) -> str:
        pip = ("-m", "pip", "--disable-pip-version-check", "--python", str(self.python))
        return run(sys.executable, *pip, *arguments, cwd=REPOSITORY)


class Linked(Environment):
    """One that has this tree and links to what `pip install '.[EXTRA]'` would bring, as far as this one's metadata
    tell: made in a second, from what is here already."""

    def __init__(self, folder: Path, extra: str) -> None:
        super().__init__(folder)
        (site,) = folder.glob("lib/python*/site-packages")
        self.packages = _required(f"kernelport[{extra}]")
        for name in self.packages:
            for path, target in _files(distribution(name)):
                if name == "kernelport" and not path.parts[0].endswith(".dist-info"):
                    continue  # its modules are those of the tree
                link = site / path
                link.parent.mkdir(parents=True, exist_ok=True)
                link.symlink_to(target)
        tree = [REPOSITORY, *(REPOSITORY / room for room in ("api", "workers", "ops"))]
        (site / "tree.pth").write_text("\n".join(map(str, tree)))


def _required(requirement: str) -> set[str]:
    """The names of all packages that a requirement brings with it, as pip spells them."""
    found, waiting = set[tuple[str, str]](), [Requirement(requirement)]
    while waiting:
        wanted = waiting.pop()
        for extra in wanted.extras or {""}:
            if (key := (canonicalize_name(wanted.name), extra)) not in found:
                found.add(key)
                asked = map(Requirement, distribution(wanted.name).requires or ())
                waiting += [each for each in asked if not each.marker or each.marker.evaluate({"extra": extra})]
    return {name for name, _ in found}


def _files(package: Distribution) -> Iterator[tuple[Path, Path]]:
    """Where the files of a package lie below site-packages, and where they are."""
    for file in package.files or ():
        target = Path(str(package.locate_file(file)))
        if ".." not in file.parts and target.exists():
            yield Path(*file.parts), target


def run(*command: str, cwd: Path | None = None) -> str:
    """The output of a command that must succeed, without this environment's modules."""
    finished = _finished(command, cwd)
    assert finished.returncode == 0, finished.stderr
    return finished.stdout


def _finished(command: list[str] | tuple[str, ...], cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False)
