"""The blocks of code in the README and docs/, in the order in which a reader meets them."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

REPOSITORY = Path(__file__).resolve().parents[2]
README = (REPOSITORY / "README.md").read_text()
# The README, then the other pages as it names them.
PAGES = list(dict.fromkeys(["README.md", *re.findall(r"\]\((docs/\w+\.md)", README)]))


class Block(NamedTuple):
    """A block of code.

    Attributes:
        line: of the page, where it begins; from 1.
        language: as the page marks it: sh, python, yaml, text, ...; empty where it does not.
    """

    page: str
    line: int
    language: str
    text: str

    @property
    def commands(self) -> list[str]:
        """The lines of a shell's block without what they say to the reader; the whole of any other."""
        if self.language != "sh":
            return [self.text]
        whole = re.sub(r" \\\n\s*", " ", self.text)
        lines = (re.sub(r"(^|\s+)#.*", "", line) for line in whole.splitlines())
        return [line for line in lines if line]


def blocks(page: str) -> Iterator[Block]:
    """The blocks of a page."""
    text = (REPOSITORY / page).read_text()
    for found in re.finditer(r"^```(\w*)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
        yield Block(page, text.count("\n", 0, found.start()) + 1, found[1], found[2])
