"""The unit files for systemd, read as systemd does as far as the tests need it."""

from collections import defaultdict
from pathlib import Path

from tests.docs.pages import REPOSITORY

FOLDER = REPOSITORY / "ops" / "systemd"
UNITS = sorted(FOLDER.iterdir())
# Where the units expect the command to be.
COMMAND = "/opt/kernelport/bin/kernelport"


def options(unit: Path) -> dict[str, list[str]]:
    """The options of a unit's `[Service]`, each as often as it is there."""
    found: dict[str, list[str]] = defaultdict(list)
    section = ""
    for line in unit.read_text().splitlines():
        if line.startswith("["):
            section = line
        elif section == "[Service]" and line and not line.startswith("#"):
            name, _, value = line.partition("=")
            found[name].append(value)
    return found


def environment(unit: Path, state: Path, cache: Path) -> dict[str, str]:
    """What a unit sets by itself."""
    words = [word for line in options(unit)["Environment"] for word in line.split()]
    pairs = (word.split("=", 1) for word in words)
    return {name: value.replace("%S", str(state)).replace("%C", str(cache)) for name, value in pairs}
