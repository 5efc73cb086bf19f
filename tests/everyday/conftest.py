"""One stack for all of these tests: commands find it by the environment."""

import json
from pathlib import Path

import pytest

from kernelport.supervisor.stack import Stack

UNSPEAKABLE = "<style>p</style>"
"""What a worker refuses, though nobody reads so closely before: it has letters, but none that are said."""
FOREIGN = "Тишина."
"""Letters that the voice is known not to say."""


@pytest.fixture(autouse=True)
def target(stack: Stack, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("KERNELPORT_TARGET", stack.target)
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.chdir(tmp_path)


def text_file(path: Path, *lines: str) -> Path:
    path.write_text("\n".join(lines) + "\n", "utf-8")
    return path


def tensor_file(path: Path, count: int) -> Path:
    """Items of identity-onnx, which take no time."""
    rows = ({"id": f"t-{number}", "x": [[[[number, 1.0], [2.0, 3.0]]]]} for number in range(count))
    return text_file(path, *map(json.dumps, rows))
