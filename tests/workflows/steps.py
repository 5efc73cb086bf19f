"""The shell steps of the workflows."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import yaml

REPOSITORY = Path(__file__).resolve().parents[2]
WORKFLOWS = sorted((REPOSITORY / ".github" / "workflows").glob("*.yml"))


@dataclass(frozen=True)
class Step:
    """A step that runs a script, and its job's name."""

    job: str
    name: str
    script: str


def steps(workflow: Path) -> Iterator[Step]:
    """The shell steps of a workflow, in order."""
    for job, content in yaml.safe_load(workflow.read_text())["jobs"].items():
        for step in content["steps"]:
            if "run" in step:
                yield Step(job, step["name"], step["run"])
