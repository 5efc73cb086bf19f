"""The rooms of the house: who may import whom, and what each needs installed."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent
ALLOWED = {
    "kernelport": {"kernelport"},
    "api/kernelport_api": {"kernelport", "kernelport_api"},
    "workers/kernelport_workers": {"kernelport", "kernelport_workers"},
    "ops/kernelport_ops": {"kernelport", "kernelport_ops"},
    # It measures the engine itself, not a stack.
    "ops/kernelport_ops/bench/gpu": {"kernelport", "kernelport_ops", "kernelport_workers"},
}
OURS = {"kernelport", "kernelport_api", "kernelport_workers", "kernelport_ops"}


@pytest.mark.parametrize("room", ALLOWED)
def test_a_room_imports_only_those_it_may(room: str) -> None:
    inner = [REPOSITORY / other for other in ALLOWED if other.startswith(f"{room}/")]
    files = [file for file in (REPOSITORY / room).rglob("*.py") if not set(inner) & set(file.parents)]
    assert files
    forbidden = {
        f"{file.relative_to(REPOSITORY)} imports {name}"
        for file in files
        for name in _imports(file)
        if name in OURS and name not in ALLOWED[room]
    }
    assert not forbidden


def test_the_english_front_end_imports_nothing_else_of_ours() -> None:
    imports = re.compile(r"^(?:from|import) (kernelport[\w.]*)", re.MULTILINE)
    files = list((REPOSITORY / "kernelport/text").glob("*.py"))
    found = {name for file in files for name in imports.findall(file.read_text())}
    assert found
    assert all(f"{name}.".startswith("kernelport.text.") for name in found)


def _imports(file: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module.partition(".")[0]


@pytest.mark.parametrize(
    ("module", "without"),
    [
        ("kernelport_api.app", ["onnxruntime", "torch", "helion", "hibari", "onnx"]),
        ("kernelport.cli", ["onnxruntime", "torch", "helion", "hibari", "onnx"]),
        ("kernelport_workers.backends.onnx", ["torch", "helion", "onnx"]),
        ("kernelport_workers.pipelines.hibari", ["torch", "helion", "onnx"]),
        ("kernelport_workers.check", ["onnxruntime", "torch", "helion", "hibari", "onnx"]),
    ],
)
def test_a_process_starts_without_what_it_does_not_need(module: str, without: list[str]) -> None:
    block = f"import sys; sys.modules.update(dict.fromkeys({without!r}))"
    subprocess.run([sys.executable, "-c", f"{block}; import {module}"], check=True, timeout=60)
