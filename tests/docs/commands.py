"""The shell commands in a page of the docs."""

import re
import shlex
from pathlib import Path

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
    """Each command of a page once, in order: the lines of its shell blocks, and those inside backticks in its text."""
    text = (DOCS / page).read_text()
    blocks = re.findall(r"^```\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    prose = re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)
    lines = [line for block in blocks for line in block.splitlines()] + re.findall(r"`([^`\n]+)`", prose)
    found = [re.sub(r"\s+#.*", "", part).strip() for line in lines for part in line.split(" && ")]
    return list(dict.fromkeys(command for command in found if _is_command(command)))


def _is_command(text: str) -> bool:
    try:
        words = shlex.split(text)
    except ValueError:
        return False
    names = [word for word in words if not re.fullmatch(r"[A-Z_]+=\S*", word)]
    # A lone name, such as `kernelport`, speaks of the program.
    return len(names) > 1 and names[0] in PROGRAMS
