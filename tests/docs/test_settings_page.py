"""docs/settings.md is what the code reads, and no page names a variable that nothing reads."""

import re

import pytest

from kernelport.cli import cli
from kernelport.config import described
from tests.cli.tree import below
from tests.docs.pages import PAGES, REPOSITORY
from tests.docs.settings_page import OTHERS, PAGE, page

FILES = [*PAGES, "docs/settings.md", "docs/metrics.md", "SECURITY.md", "CONTRIBUTING.md"]


def test_the_catalogue_is_the_code() -> None:
    assert PAGE.read_text() == page(), "run python -m tests.docs.settings_page"


@pytest.mark.parametrize("file", FILES)
def test_a_page_names_variables_that_are_read(file: str) -> None:
    settings = {described.variable(name) for name in described.defaults()}
    options = {parameter.envvar for command in below(cli).values() for parameter in command.params if parameter.envvar}
    named = set(re.findall(r"\bKERNELPORT_[A-Z][A-Z_]*[A-Z]\b", (REPOSITORY / file).read_text()))
    assert named <= settings | options | OTHERS.keys() | {"KERNELPORT_WEBHOOK_SECRET"}, "the latter is an example's"
