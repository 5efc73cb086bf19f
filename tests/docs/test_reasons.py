"""docs/architecture.md has every reason that an error can tell."""

import ast
import re
from collections.abc import Iterator

from tests.docs.pages import REPOSITORY

ROOMS = ("kernelport", "api/kernelport_api", "workers/kernelport_workers")
TABLE = REPOSITORY / "docs" / "architecture.md"
REASON = re.compile("[A-Z]+(?:_[A-Z]+)*")


def reasons() -> Iterator[str]:
    """Those that the classes of errors have, that errors are made with, and that constants stand for."""
    for room in ROOMS:
        for path in (REPOSITORY / room).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                match node:
                    case (
                        ast.Assign([ast.Name("reason" | "STOPPING" | "OUTPUT_NOT_FOUND")], ast.Constant(str(reason)))
                        | ast.AnnAssign(ast.Name("reason"), value=ast.Constant(str(reason)))
                        | ast.keyword("reason", ast.Constant(str(reason)))
                    ) if REASON.fullmatch(reason):
                        yield reason


def test_the_table_has_every_reason_and_no_other() -> None:
    rows = re.findall(r"^\| [A-Z_]+ \| (.*) \|$", TABLE.read_text(), re.MULTILINE)
    assert set(re.findall(r"`([A-Z_]+)`", " ".join(rows))) == set(reasons())
