"""`python -m tests.docs.security_page` writes the tables of docs/security.md that the code has, between their marks."""

import re
from collections.abc import Callable, Iterator, Mapping

from kernelport.access.principals import SCOPES
from kernelport_api.access.needs import METHODS, ROUTES, Need
from tests.docs.pages import REPOSITORY

PAGE = REPOSITORY / "docs" / "security.md"


def scopes() -> Iterator[str]:
    yield from ("| scope | lets its bearer |", "|---|---|")
    yield from (f"| `{scope}` | {meaning} |" for scope, meaning in SCOPES.items())


def needs() -> Iterator[str]:
    yield from ("| needs | methods and routes |", "|---|---|")
    for need, names in _by_need({**METHODS, **ROUTES}).items():
        told = f"{need.told}, or a signed address" if need.is_signable else need.told
        yield f"| {told} | {', '.join(f'`{_short(name)}`' for name in names)} |"


_TABLES: Mapping[str, Callable[[], Iterator[str]]] = {"scopes": scopes, "needs": needs}


def page(text: str) -> str:
    """The page with its tables as the code has them."""
    for name, rows in _TABLES.items():
        table = "\n".join(rows())
        mark, end = f"<!-- {name} -->", f"<!-- end of {name} -->"
        text, count = re.subn(rf"{mark}\n.*?{end}", lambda _: f"{mark}\n{table}\n{end}", text, flags=re.DOTALL)  # noqa: B023
        if count != 1:
            raise ValueError(f"{PAGE}: expected {mark} and {end} once")
    return text


def _by_need(table: Mapping[str, Need]) -> dict[Need, list[str]]:
    found: dict[Need, list[str]] = {}
    for name, need in table.items():
        found.setdefault(need, []).append(name)
    return found


def _short(name: str) -> str:
    return name.removeprefix("inference.").replace(":path}", "}")


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text()))
