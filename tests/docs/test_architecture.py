"""docs/architecture.md names what is there."""

import re
from pathlib import Path

import pytest

from tests.docs.pages import REPOSITORY
from tests.docs.test_words import places

PAGE = REPOSITORY / "docs" / "architecture.md"
# `Class.method` or `function`, then the file that it is in.
NAMED = re.compile(r"`([A-Za-z_.]+)`(?:, `([A-Za-z_.]+)`)* \(\[[^\]]+\]\(([^)]+\.py)\)")

OF_GRPC = {"BadRequest", "ErrorInfo", "RetryInfo"}


@pytest.mark.parametrize("link", sorted(set(re.findall(r"\]\((\.\./[^)#]+)\)", PAGE.read_text()))))
def test_every_link_leads_to_a_file(link: str) -> None:
    assert (PAGE.parent / link).exists()


@pytest.mark.parametrize(("name", "_", "file"), NAMED.findall(PAGE.read_text()))
def test_every_function_of_a_walk_is_in_the_file_beside_it(name: str, _: str, file: str) -> None:
    text = (PAGE.parent / file).read_text()
    for part in name.split("."):
        assert re.search(rf"(class|def) {part}\b", text), f"{file} has no {part}"


def test_every_room_is_in_the_tree_once() -> None:
    tree = PAGE.read_text().split("```text")[2].split("```")[0]
    sections = re.split(r"^(\w\S+/) ", tree, flags=re.MULTILINE)[1:]
    for package, told in zip(sections[::2], sections[1::2], strict=True):
        rooms = [room for line in re.findall(r"^  ((?:\w+/ )+)", told, re.MULTILINE) for room in line.split()]
        assert sorted(rooms) == sorted(f"{path.name}/" for path in (REPOSITORY / package).iterdir() if _is_room(path))


def _is_room(path: Path) -> bool:
    return path.is_dir() and any(path.rglob("*.py"))


@pytest.mark.parametrize(
    "name", sorted(set(re.findall(r"`([A-Z][a-z]\w+)`", PAGE.read_text().partition("## Words")[2])))
)
def test_every_word_is_a_name_of_the_code(name: str) -> None:
    messages = {each for each in (REPOSITORY / "proto").rglob("*.proto") if f"message {name} " in each.read_text()}
    assert name in OF_GRPC or name in places() or messages
