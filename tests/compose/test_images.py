"""The Dockerfile keeps to good practice, and builds every image that the deployments name."""

import re
import subprocess
import sys
import tomllib
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from kernelport.config.deployments import load_deployments
from kernelport.config.settings import bundled_deployments
from tests.compose.dockerfile import lineage, pip_install, stages, target_of
from tests.compose.resolve import COMPOSE, REPOSITORY

TARGETS = ("front-door", "onnx-cpu", "helion-gpu", "luxtts-gpu", "luxtts-cpu")
each_target = pytest.mark.parametrize("target", TARGETS)


def test_hadolint_finds_nothing() -> None:
    finished = subprocess.run(
        [Path(sys.executable).with_name("hadolint"), COMPOSE / "Dockerfile"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert finished.returncode == 0, finished.stdout + finished.stderr


def test_every_image_of_the_deployments_has_a_target() -> None:
    images = {deployment.image for deployment in load_deployments(bundled_deployments()).values()}
    assert images
    assert {target_of(image) for image in images} <= set(TARGETS)
    assert {f"build-{target}" for target in TARGETS} == {name for name in stages() if name.startswith("build-")}


@each_target
def test_an_image_runs_as_nobody_of_importance_and_says_how_it_is(target: str) -> None:
    line = lineage(target)
    assert next(user for stage in line if (user := stage.last("USER"))) == "10001"
    health = next(check for stage in line if (check := stage.last("HEALTHCHECK")))
    assert health.endswith('CMD ["kernelport", "health"]' if target == "front-door" else '"health", "--worker"]')


@each_target
def test_only_the_environment_leaves_the_stages_that_build(target: str) -> None:
    line = lineage(target)
    assert all(stage is not stages()["build"] for stage in line)
    copies = [text for stage in line for word, text in stage.instructions if word in ("COPY", "ADD")]
    assert copies == [f"--from=build-{target} /opt/kernelport /opt/kernelport"]


def test_the_base_is_pinned_and_no_layer_holds_a_secret() -> None:
    every = stages()
    base = every[""].last("ARG")
    assert base is not None
    assert "@sha256:" in base
    assert {stage.base for stage in every.values()} <= {"", "${PYTHON}", *every}
    text = (COMPOSE / "Dockerfile").read_text().upper()
    assert not any(word in text for word in ("TOKEN", "PASSWORD", "SECRET", "API_KEY"))


@each_target
def test_an_environment_is_installed_from_extras_that_exist_at_pinned_versions(target: str) -> None:
    constraints, requirement = pip_install(target)[-2:]
    assert pip_install(target) == ["install", "-c", constraints, requirement]
    assert constraints == "constraints.txt"
    extras = requirement.removeprefix(".[").removesuffix("]").split(",")
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    assert set(extras) <= set(project["optional-dependencies"])
    copied = [text.split()[:-1] for word, text in stages()["build"].instructions if word == "COPY"]
    assert all((REPOSITORY / name).exists() for names in copied for name in names)
    listed = REPOSITORY / ".dockerignore"
    assert ".git" in listed.read_text().splitlines()


@each_target
def test_everything_an_image_installs_has_one_version(target: str) -> None:
    pinned = re.findall(r"^([\w.-]+)==", (REPOSITORY / "constraints.txt").read_text(), re.MULTILINE)
    names = {canonicalize_name(name) for name in pinned}
    needed = _needed(Requirement(f"kernelport{pip_install(target)[-1].removeprefix('.')}"))
    assert len(needed) > 30
    assert needed - names == set()
    assert ("torch" in needed) == (target not in ("front-door", "onnx-cpu"))
    assert ("onnxruntime" in needed) == (target not in ("front-door", "helion-gpu"))


def _needed(wanted: Requirement) -> set[str]:
    """The distributions below a requirement, as the metadata of what is installed here has them."""
    found: set[str] = set()
    seen: set[tuple[str, str]] = set()
    waiting = [wanted]
    while waiting:
        requirement = waiting.pop()
        name = canonicalize_name(requirement.name)
        for extra in ("", *requirement.extras):
            if (name, extra) in seen:
                continue
            seen.add((name, extra))
            for line in metadata.requires(name) or ():
                below = Requirement(line)
                if below.marker is None or below.marker.evaluate({"extra": extra}):
                    waiting.append(below)
        found.add(name)
    return found - {"kernelport"}
