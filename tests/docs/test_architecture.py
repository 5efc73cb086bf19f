"""docs/architecture.md names what is there."""

import re
from pathlib import Path

import pytest

from tests.docs.pages import REPOSITORY
from tests.test_layers import ALLOWED, PACKAGES

PAGE = REPOSITORY / "docs" / "architecture.md"
# `Class.method` or `function`, then the file that it is in.
NAMED = re.compile(r"`([A-Za-z_.]+)`(?:, `([A-Za-z_.]+)`)* \(\[[^\]]+\]\(([^)]+\.py)\)")


@pytest.mark.parametrize("link", sorted(set(re.findall(r"\]\((\.\./[^)#]+)\)", PAGE.read_text()))))
def test_every_link_leads_to_a_file(link: str) -> None:
    assert (PAGE.parent / link).exists()


@pytest.mark.parametrize(("name", "_", "file"), NAMED.findall(PAGE.read_text()))
def test_every_function_of_a_walk_is_in_the_file_beside_it(name: str, _: str, file: str) -> None:
    text = (PAGE.parent / file).read_text()
    for part in name.split("."):
        assert re.search(rf"(class|def) {part}\b", text), f"{file} has no {part}"


def test_every_room_is_in_the_tree() -> None:
    tree = PAGE.read_text().split("```text")[2].split("```")[0]
    folders = {Path(line.split()[0]).name for line in tree.splitlines() if line and not line.startswith(" " * 20)}
    rooms = {room.rpartition(".")[2] for room in ALLOWED if room not in PACKAGES and "bench" not in room}
    told = folders | set(re.findall(r"(\w+)/", tree))
    assert rooms <= told, f"not in the tree: {sorted(rooms - told)}"
