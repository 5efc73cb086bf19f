"""`kernelport health`, as an orchestrator asks."""

import pytest

from kernelport.supervisor.stack import Stack
from tests.cli.running import called


@pytest.mark.parametrize(
    "arguments",
    [[], ["--deployment", "identity-onnx"], ["--worker"], ["--worker", "--deployment", "identity-onnx"]],
    ids=" ".join,
)
def test_what_serves_is_healthy(stack: Stack, arguments: list[str]) -> None:
    where = {"KERNELPORT_TARGET": stack.target, "KERNELPORT_REDIS_URL": stack.settings.redis_url}
    printed = called("health", *arguments, **where)
    assert printed.stdout == "serving\n"


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--deployment", "luxtts"], "luxtts: NOT_SERVING"),
        (["--deployment", "no-such"], "NOT_FOUND: it has no deployment no-such"),
        (["--worker", "--deployment", "luxtts"], "serves luxtts"),
        (["--target", "127.0.0.1:1"], "UNAVAILABLE"),
        (["--worker", "--redis-url", "redis://127.0.0.1:1/0"], "Redis cannot be asked"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_does_not_serve_is_not_and_says_why(stack: Stack, arguments: list[str], complaint: str) -> None:
    where = {"KERNELPORT_TARGET": stack.target, "KERNELPORT_REDIS_URL": stack.settings.redis_url}
    assert complaint in called("health", *arguments, expect=1, **where).stderr
