"""The README names what is there."""

import re

from kernelport.cli import COMMANDS
from tests.docs.pages import PAGES, README, REPOSITORY


def test_the_table_of_commands_has_each_of_them() -> None:
    rows = re.findall(r"^\| `kernelport (.*?) \|", README, re.MULTILINE)
    named = {command for row in rows for command in re.findall(r"(?:^|`)([a-z-]+)", row)}
    assert sorted(COMMANDS.keys() - named) == []


def test_every_page_of_the_docs_is_linked() -> None:
    there = {str(path.relative_to(REPOSITORY)) for path in (REPOSITORY / "docs").glob("*.md")}
    assert sorted(there - set(PAGES)) == []


def test_a_plain_install_has_the_commands_that_it_says() -> None:
    plain = {name for name, where in COMMANDS.items() if not where.extra}
    sentence = re.search(r"a plain `pip install \.` is enough: the client, and (.*?), without", README, re.DOTALL)
    assert sentence is not None
    assert set(re.findall(r"`([a-z-]+)`", sentence[1])) == plain
