"""The rooms of the house: who may import whom, and what each needs installed."""

import ast
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent
PACKAGES = {
    "kernelport": "kernelport",
    "kernelport_api": "api/kernelport_api",
    "kernelport_workers": "workers/kernelport_workers",
    "kernelport_ops": "ops/kernelport_ops",
}
# What the modules of each room may import beside their own room's. A module belongs to the room with the longest name
# that it begins with; `kernelport`, `kernelport_api` and `kernelport_workers` are those that lie in no other room.
SHARED = {"kernelport", *(f"kernelport.{room}" for room in ("access", "broker", "config", "jobs", "telemetry"))}
ALLOWED: Mapping[str, set[str]] = {
    "kernelport": {"kernelport.config", "kernelport.text"},
    "kernelport.v1": set(),
    "kernelport.internal": {"kernelport.v1"},
    "kernelport.open_inference": set(),
    "kernelport.text": set(),
    "kernelport.config": {"kernelport", "kernelport.broker"},
    "kernelport.broker": {"kernelport", "kernelport.config"},
    "kernelport.telemetry": {"kernelport", "kernelport.config", "kernelport.broker"},
    "kernelport.jobs": {"kernelport", "kernelport.config", "kernelport.telemetry", "kernelport.broker"},
    "kernelport.access": {"kernelport", "kernelport.config", "kernelport.broker"},
    "kernelport.certificates": {"kernelport", "kernelport.config"},
    "kernelport.client": {"kernelport", "kernelport.config", "kernelport.client.item_files"},
    "kernelport.client.item_files": {"kernelport", "kernelport.text"},
    "kernelport.supervisor": {
        "kernelport",
        "kernelport.config",
        "kernelport.telemetry",
        "kernelport.broker",
        "kernelport.client",
    },
    "kernelport.cli": SHARED
    | {"kernelport.certificates", "kernelport.client", "kernelport.client.item_files", "kernelport.supervisor"},
    "kernelport_api": SHARED
    | {"kernelport.certificates"}
    | {f"kernelport_api.{room}" for room in ("access", "doors", "services", "queueing")},
    "kernelport_api.access": SHARED | {"kernelport_api"},
    "kernelport_api.doors": SHARED
    | {"kernelport_api", "kernelport_api.access", "kernelport_api.services"}
    | {"kernelport.certificates", "kernelport.client.item_files", "kernelport.text"},
    "kernelport_api.services": SHARED | {"kernelport_api", "kernelport_api.access", "kernelport_api.queueing"},
    "kernelport_api.queueing": SHARED | {"kernelport_api"},
    "kernelport_workers": SHARED
    | {"kernelport.supervisor"}
    | {f"kernelport_workers.{room}" for room in ("backends", "consumer", "execution", "pipelines")},
    "kernelport_workers.consumer": SHARED | {"kernelport_workers.backends", "kernelport_workers.execution"},
    "kernelport_workers.execution": SHARED | {"kernelport_workers.backends"},
    "kernelport_workers.backends": {
        "kernelport",
        "kernelport.config",
        "kernelport.telemetry",
        "kernelport_workers.kernels",
        "kernelport_workers.row_proof",
    },
    "kernelport_workers.row_proof": set(),
    "kernelport_workers.kernels": {"kernelport"},
    "kernelport_workers.speech": {"kernelport", "kernelport.text"},
    "kernelport_workers.luxtts": {
        "kernelport",
        "kernelport.text",
        "kernelport_workers.kernels",
        "kernelport_workers.speech",
    },
    "kernelport_workers.pipelines": SHARED
    | {f"kernelport_workers.{room}" for room in ("backends", "luxtts", "speech")}
    | {"kernelport.text"},
    "kernelport_ops": SHARED | {"kernelport.cli", "kernelport.client", "kernelport.supervisor", "kernelport.text"},
    # It has the worker speak whole requests, which nothing that is shipped does.
    "kernelport_ops.bench.streaming": SHARED
    | {"kernelport_ops", "kernelport.supervisor"}
    | {f"kernelport_workers.{room}" for room in ("backends", "pipelines")},
    # It measures the engine itself, not a stack.
    "kernelport_ops.bench.gpu": SHARED
    | {"kernelport_ops", "kernelport_workers"}
    | {f"kernelport_workers.{room}" for room in ("backends", "luxtts", "kernels", "pipelines")},
}
# The public face of the package gives out the clients.
FACES = {"kernelport", "kernelport.aio"}
CONTRACT = {"kernelport.v1", "kernelport.internal", "kernelport.open_inference"}


def test_a_module_imports_only_the_rooms_below_its_own() -> None:
    forbidden = [
        f"{module} imports {imported}: {room} may import {', '.join(sorted(ALLOWED[room])) or 'no other room'}; "
        f"what both need belongs into one of those"
        for module, file in _modules()
        if (room := _room(module)) not in CONTRACT and module not in FACES
        for imported in sorted(set(_imports(file)))
        if _room(imported) not in {room, *CONTRACT, *ALLOWED[room]}
    ]
    assert not forbidden, "\n".join(forbidden)


def _modules() -> Iterator[tuple[str, Path]]:
    for package, folder in PACKAGES.items():
        for file in (REPOSITORY / folder).rglob("*.py"):
            parts = [package, *file.relative_to(REPOSITORY / folder).with_suffix("").parts]
            yield ".".join(parts[:-1] if parts[-1] == "__init__" else parts), file


def _room(module: str) -> str:
    return max((room for room in ALLOWED if f"{module}.".startswith(f"{room}.")), key=len)


def _imports(file: Path) -> Iterator[str]:
    """The modules of ours that a file imports, wherever in it. What is imported out of a room is the room's."""
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        yield from (name for name in names if name.partition(".")[0] in PACKAGES)


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
