"""Environments with nothing of this one's."""

import os
import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]


class Clean:
    """A new environment that `pip install '.[EXTRA]'` has filled."""

    def __init__(self, folder: Path, extra: str = "") -> None:
        self.bin = folder / "bin"
        run(sys.executable, "-m", "venv", str(folder))
        self._pip = [str(self.bin / "python"), "-m", "pip", "--disable-pip-version-check"]
        run(*self._pip, "install", "-q", "-c", "constraints.txt", f".[{extra}]" if extra else ".", cwd=REPOSITORY)

    def packages(self) -> set[str]:
        """The names of what is installed, in small letters."""
        return {line.split("==")[0].lower() for line in run(*self._pip, "list", "--format=freeze").splitlines()}

    def run(self, command: str, *arguments: str) -> str:
        """The output of one of its commands, which must succeed."""
        return run(str(self.bin / command), *arguments)

    def refusal(self, command: str, *arguments: str) -> str:
        """What one of its commands says when it ends with 1."""
        finished = _finished([str(self.bin / command), *arguments])
        assert finished.returncode == 1, finished.stdout + finished.stderr
        return finished.stderr


def run(*command: str, cwd: Path | None = None) -> str:
    """The output of a command that must succeed, without this environment's modules."""
    finished = _finished(command, cwd)
    assert finished.returncode == 0, finished.stderr
    return finished.stdout


def _finished(command: list[str] | tuple[str, ...], cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False)
