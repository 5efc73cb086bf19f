"""The commands that a page of the docs names in its text, between backticks, and those in its blocks."""

import re
import shlex
from pathlib import Path

from tests.docs.pages import blocks

DOCS = Path(__file__).resolve().parents[2] / "docs"
PROGRAMS = (
    "kernelport",
    "celery",
    "docker",
    "make",
    "pip",
    "prometheus",
    "git",
    "tar",
    "mkdir",
    "echo",
    "cd",
    "redis-cli",
)


def commands(page: str) -> list[str]:
    """Each command of a page once: those of its blocks, then those of its text."""
    lines = [line for block in blocks(f"docs/{page}") if block.language == "sh" for line in block.commands]
    found = [part.strip() for line in lines for part in line.split(" && ")]
    return list(dict.fromkeys([*filter(_is_command, found), *commands_in_text(page)]))


def commands_in_text(page: str) -> list[str]:
    """Each command of a page's text once, in order."""
    text = re.sub(r"^```.*?^```$", "", (DOCS / page).read_text(), flags=re.MULTILINE | re.DOTALL)
    found = [part.strip() for line in re.findall(r"`([^`\n]+)`", text) for part in line.split(" && ")]
    return list(dict.fromkeys(filter(_is_command, found)))


def _is_command(text: str) -> bool:
    try:
        words = shlex.split(text)
    except ValueError:
        return False
    names = [word for word in words if not re.fullmatch(r"[A-Z_]+=\S*", word)]
    # A lone name, such as `kernelport`, speaks of the program.
    return len(names) > 1 and names[0] in PROGRAMS
