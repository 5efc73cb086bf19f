"""docs/http.md has every route below /api."""

import re

from kernelport_api.access.needs import ROUTES
from tests.docs.commands import DOCS

PAGE = DOCS / "http.md"


def test_the_table_has_each_route_below_api_and_no_other() -> None:
    """The routes are those of the table of access, which tests/access/test_walk.py holds against a front door."""
    served = {re.sub(r"{(\w+?)(:path)?}", lambda part: part[1].upper(), route) for route in ROUTES if " /api/" in route}
    cells = re.findall(r"^\| (`[A-Z]+ /api/.*?) \|", PAGE.read_text(), re.MULTILINE)
    told = {route for cell in cells for route in re.findall(r"`([^`]+)`", cell)}
    missing, needless = ", ".join(sorted(served - told)), ", ".join(sorted(told - served))
    assert told == served, f"expected a row in {PAGE} for {missing or 'no more'}, none for {needless or 'others'}"
