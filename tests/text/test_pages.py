"""Whole pages, and what a careful reader says of each."""

from pathlib import Path

import pytest

from kernelport.text import read

PAGES = Path(__file__).parent / "pages"


@pytest.mark.parametrize("name", sorted(path.stem for path in PAGES.glob("*.txt")))
def test_a_page_is_read_as_a_careful_reader_would(name: str) -> None:
    page, spoken = ((PAGES / f"{name}{ending}").read_text(encoding="utf-8") for ending in (".txt", ".spoken"))
    assert read(page).spoken == spoken.rstrip("\n")
