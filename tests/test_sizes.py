"""A module is as long as its thought: none is too long to be held in mind, and none is a fragment of another one."""

import ast
from collections.abc import Iterator
from pathlib import Path

from tests.test_layers import PACKAGES, REPOSITORY

LONGEST, SHORTEST = 400, 40
# Modules below the shortest, and why they are no part of another one.
SHORT = {
    "api/kernelport_api/access/deployments.py": "every service and both doors ask it",
    "api/kernelport_api/aside.py": "every room of the front door has work for it",
    "api/kernelport_api/doors/http/forms.py": "OpenAI's routes and ours read the same forms",
    "api/kernelport_api/queueing/redis_errors.py": "all that asks Redis tells callers so",
    "api/kernelport_api/services/jobs/waiting.py": "calls, watches and the view of operations show jobs",
    "api/kernelport_api/services/tenants.py": "lists of jobs and of voices show the same tenants",
    "api/kernelport_api/turns.py": "whatever waits for Redis takes turns, which are the event loop's",
    "kernelport/access/tokens.py": "front door, commands and the autoscaler make or read keys",
    "kernelport/aio.py": "a name that users import",
    "kernelport/broker/memory.py": "calls and jobs share the memory of Redis by it",
    "kernelport/broker/tallies.py": "workers and front doors count, front doors show",
    "kernelport/broker/tenants.py": "the stores of jobs and of voices, and what sweeps them, go through tenants",
    "kernelport/cli/__main__.py": "an entry point",
    "kernelport/cli/autoscale.py": "a command",
    "kernelport/cli/bench.py": "a command",
    "kernelport/cli/certs.py": "a command",
    "kernelport/cli/process_command.py": "commands of three processes, and of the autoscaler",
    "kernelport/cli/restart.py": "a command",
    "kernelport/cli/tables.py": "every command that lists",
    "kernelport/cli/usage.py": "a command",
    "kernelport/counting.py": "messages of every program count things",
    "kernelport/health.py": "what a front door says, and its probes and supervisor read",
    "kernelport/items.py": "clients, the store and workers reckon alike",
    "kernelport/jobs/webhooks/signing.py": "the front door checks the secrets that the notifier signs with",
    "kernelport/process.py": "both programs that carry messages",
    "kernelport/sink.py": "an encoder of sound and an archive of files write to it",
    "kernelport/speech_pace.py": "workers measure it, and front doors go by it",
    "kernelport/supervisor/worker_command.py": "stacks, the autoscaler, benchmarks and tests start workers by it",
    "kernelport/telemetry/audit.py": "front door, TLS and autoscaler write to one log",
    "workers/kernelport_workers/__main__.py": "an entry point",
    "workers/kernelport_workers/kernels/environment.py": "must be imported before any kernel is",
    "workers/kernelport_workers/luxtts/marks.py": "about marks of texts, where the tokenizer is about phonemes",
    "workers/kernelport_workers/luxtts/solver.py": "eager, graphs and ONNX take the same steps",
    "workers/kernelport_workers/speech/long_words.py": "two engines cut words alike",
}
# Packages whose `__init__.py` does more than say what they are and give out names.
SPEAKING = {
    "kernelport/cli/__init__.py": "the entry point, and the table of commands",
    "kernelport/cli/jobs/__init__.py": "the group that its commands are of",
    "kernelport/client/calling/__init__.py": "must come before gRPC is imported",
    "workers/kernelport_workers/luxtts/__init__.py": "gives names out when they are asked for: torch takes seconds",
    "workers/kernelport_workers/luxtts/kernels/__init__.py": "the choice that all kernels share",
}


def modules(*packages: str) -> Iterator[tuple[str, str]]:
    """Every module that nothing generates, and its text."""
    for package in packages:
        for path in sorted((REPOSITORY / PACKAGES[package]).rglob("*.py")):
            if not path.stem.endswith(("_pb2", "_pb2_grpc")):
                yield str(path.relative_to(REPOSITORY)), path.read_text()


def test_no_module_is_too_long() -> None:
    lengths = {name: text.count("\n") for name, text in modules(*PACKAGES)}
    assert not (long := [f"{name}: {count}" for name, count in lengths.items() if count > LONGEST]), (
        f"expected at most {LONGEST} lines, got {', '.join(long)}: a second thought has a module of its own"
    )


def test_no_module_is_a_fragment() -> None:
    shipped = ("kernelport", "kernelport_api", "kernelport_workers")
    short = {
        name: text.count("\n")
        for name, text in modules(*shipped)
        if text.count("\n") < SHORTEST and Path(name).name != "__init__.py"
    }
    fragments = [f"{name}: {count}" for name, count in short.items() if name not in SHORT]
    assert not fragments, (
        f"expected {SHORTEST} lines or more, got {', '.join(fragments)}: a part of the module that uses it, or of its "
        "neighbour, unless it has a reason in SHORT"
    )
    assert not (gone := [name for name in SHORT if not (REPOSITORY / name).exists()]), f"take them out of SHORT: {gone}"


def test_a_package_only_says_what_it_is() -> None:
    told = {
        name
        for name, text in modules(*PACKAGES)
        if Path(name).name == "__init__.py" and any(map(_does_something, ast.parse(text).body))
    }
    assert not (more := sorted(told - SPEAKING.keys())), f"expected a docstring and names in {', '.join(more)}"
    assert not (less := sorted(SPEAKING.keys() - told)), f"take them out of SPEAKING: {less}"


def _does_something(statement: ast.stmt) -> bool:
    """Whether a statement is neither a docstring, an import nor a name such as `__all__`."""
    if isinstance(statement, ast.Assign):
        return not all(isinstance(each, ast.Name) and each.id.startswith("__") for each in statement.targets)
    return not isinstance(statement, ast.Import | ast.ImportFrom | ast.Expr)
