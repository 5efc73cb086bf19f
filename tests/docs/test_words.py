"""One word a thing: names that once stood for other things than the field's are in no identifier without a reason."""

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
ROOMS = ("kernelport", "api", "workers", "ops")
# By a word that is not to be used for it: what it once meant, and what that is called.
PRIVATE = {
    "Beside": "Overlap",
    "Claim": "IdempotencyHold",
    "Claims": "Payloads, IdempotencyHold",
    "Group": "BatchQueue",
    "Held": "SliceLease",
    "Line": "Multiplexer; connection",
    "Ran": "BatchOutcome",
    "Take": "UnackedRecord",
    "answers": "errors of gRPC",
    "by_hand": "what is in it",
    "claim": "hold on a request id",
    "checking": "what is in it",
    "consuming": "consumer",
    "crowd": "expected_concurrency",
    "delivery": "batch handler",
    "delivery_note": "UnackedRecord",
    "excuses": "allowed errors",
    "finish": "epilogue",
    "gathering": "batcher",
    "held": "leased",
    "hold": "lease; IdempotencyHold",
    "house": "layout",
    "is_served": "live workers",
    "line": "connection",
    "live_workers": "live workers",
    "look": "what it looks for",
    "noted": "recorded",
    "observation": "gauges",
    "outages": "retry policy",
    "pause": "delay",
    "ran": "outcome",
    "room": "package",
    "runner": "execution",
    "running": "what is in it",
    "settle": "resolve, release, join, await",
    "storm": "fault injector",
    "tap": "reply monitor",
    "upkeep": "what is in it",
    "verdict": "check",
    "words": "what they tell",
    "workers_now": "live workers",
}
# Good words where they mean what they say.
MEANT = {
    "Line": "a line of a text",
    "answers": "what was answered, in order",
    "claim": "the claim check of a large message; a folder that one job has for itself",
    "delivery": "of a message by the broker",
    "finish": "the last step of what has a first",
    "hold": "on a request id, or of a lock",
    "is_served": "of a deployment: it has live workers",
    "line": "of a text",
    "live_workers": "the one word for them",
    "pause": "in speech, and between two tries",
    "running": "what runs just now",
    "verdict": "proven, unknown or refuted; faster or slower",
    "words": "of a language",
}
PARTS = re.compile("[A-Z]?[a-z]+|[A-Z]+")
# Those that mean nothing else here are no part of a longer name, either.
NOWHERE = ("crowd", "excuse", "gathering", "settle", "settled", "storm", "upkeep")


def names(path: Path) -> Iterator[str]:
    """Of a module, and of the classes, functions, parameters, attributes and constants in it."""
    yield from path.with_suffix("").relative_to(REPOSITORY).parts
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.name
        elif isinstance(node, ast.arg):
            yield node.arg
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            yield node.attr
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            yield node.target.id
        if isinstance(node, ast.ClassDef | ast.Module):
            targets = (target for each in node.body if isinstance(each, ast.Assign) for target in each.targets)
            yield from (each.id for target in targets for each in ast.walk(target) if isinstance(each, ast.Name))


@cache
def places() -> dict[str, set[str]]:
    """The files that have a name, by its letters."""
    found: dict[str, set[str]] = {}
    for room in ROOMS:
        for path in (REPOSITORY / room).rglob("*.py"):
            if not path.stem.endswith(("_pb2", "_pb2_grpc")):
                for name in names(path):
                    found.setdefault(name.strip("_"), set()).add(str(path.relative_to(REPOSITORY)))
    return found


@pytest.mark.parametrize("word", sorted(PRIVATE))
def test_a_private_word_has_a_reason_or_is_gone(word: str) -> None:
    where = sorted(places().get(word, ()))
    if word in MEANT:
        assert where, f"nothing is called {word!r} any more: take it out of MEANT"
    else:
        assert not where, f"say {PRIVATE[word]} instead of {word!r}"


@pytest.mark.parametrize("word", NOWHERE)
def test_a_private_word_is_no_part_of_a_name(word: str) -> None:
    where = {name: files for name, files in places().items() if word in map(str.lower, PARTS.findall(name))}
    assert not where, f"say what is meant instead of {word!r}: {where}"
