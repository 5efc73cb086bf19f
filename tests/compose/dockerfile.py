"""The stages of the Dockerfile."""

import re
import shlex
from dataclasses import dataclass, field

from tests.compose.resolve import COMPOSE


@dataclass
class Stage:
    """One stage: the name of what it is built on, and its instructions in order."""

    base: str
    instructions: list[tuple[str, str]] = field(default_factory=list)

    def last(self, keyword: str) -> str | None:
        """The argument of the last instruction of a kind here; None when there is none."""
        return next((text for word, text in reversed(self.instructions) if word == keyword), None)


def stages() -> dict[str, Stage]:
    """The stages by name; under the empty name what stands before the first."""
    found = {"": Stage("")}
    text = re.sub(r"\\\n\s*", "", (COMPOSE / "Dockerfile").read_text())
    name = ""
    for line in text.splitlines():
        if not line.strip() or line.startswith("#"):
            continue
        keyword, _, argument = line.partition(" ")
        if keyword == "FROM":
            base, _, name = argument.partition(" AS ")
            found[name] = Stage(base)
        else:
            found[name].instructions.append((keyword, argument.strip()))
    return found


def lineage(name: str) -> list[Stage]:
    """A stage and those it is built on, down to the base image."""
    every = stages()
    line = []
    while name in every:
        line.append(every[name])
        name = every[name].base
    return line


def environment(target: str) -> dict[str, str]:
    """The variables that the stages of a target set."""
    told = [text for stage in reversed(lineage(target)) for word, text in stage.instructions if word == "ENV"]
    return dict(pair.split("=", 1) for text in told for pair in shlex.split(text))


def pip_install(target: str) -> list[str]:
    """The arguments of the one `pip install` that fills the environment of a target."""
    lines = [text for word, text in stages()[f"build-{target}"].instructions if word == "RUN"]
    assert len(lines) == 1
    words = shlex.split(lines[0])
    start = words.index("pip")
    assert all(word.startswith("--mount=type=cache") for word in words[:start])
    return words[start + 1 :]


def target_of(image: str) -> str:
    """The target that builds an image of ours."""
    name = image.removeprefix("kernelport-").replace(":", "-")
    return name if name in stages() else name.rpartition("-")[0]
