"""The workflows are valid, and their steps run what is here."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

from tests.workflows.steps import REPOSITORY, WORKFLOWS, steps

BIN = Path(sys.executable).parent


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: str(path.name))
def test_actionlint_finds_nothing(workflow: Path) -> None:
    command = [BIN / "actionlint", f"-shellcheck={BIN / 'shellcheck'}", workflow]
    finished = subprocess.run(command, capture_output=True, text=True, check=False, cwd=REPOSITORY)
    assert finished.returncode == 0, finished.stdout + finished.stderr


def test_actionlint_would_find_something(tmp_path: Path) -> None:
    broken = tmp_path / "broken.yml"
    broken.write_text("on: push\njobs: {a: {runs-on: ubuntu-24.04, steps: [{run: 'test $unquoted = 1'}]}}\n")
    command = [BIN / "actionlint", f"-shellcheck={BIN / 'shellcheck'}", broken]
    assert "SC2086" in subprocess.run(command, capture_output=True, text=True, check=False).stdout


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: str(path.name))
def test_every_action_is_pinned_to_a_commit(workflow: Path) -> None:
    uses = re.findall(r"uses: (\S+)", workflow.read_text())
    assert uses
    assert all(re.fullmatch(r"[\w./-]+@[0-9a-f]{40}", action) for action in uses)


def test_the_suite_runs_on_every_python_that_the_package_names() -> None:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    named = [found[1] for each in project["classifiers"] if (found := re.fullmatch(r".*:: Python :: (3\.\d+)", each))]
    jobs = yaml.safe_load((REPOSITORY / ".github" / "workflows" / "ci.yml").read_text())["jobs"]
    assert jobs["test"]["strategy"]["matrix"]["python"] == named
    assert project["requires-python"] == f">={named[0]}"


def test_the_targets_and_scripts_that_ci_runs_exist() -> None:
    scripts = [step.script for step in steps(REPOSITORY / ".github" / "workflows" / "ci.yml")]
    scripts.append((REPOSITORY / ".ci" / "run").read_text())
    targets = {target for script in scripts for target in re.findall(r"^make (\S+)", script, re.MULTILINE)}
    assert {"lint", "test", "demo", "check-monitoring"} <= targets
    subprocess.run(["make", "--dry-run", *targets], cwd=REPOSITORY, check=True, stdout=subprocess.DEVNULL)
    assert all((REPOSITORY / script).stat().st_mode & 0o111 for script in scripts if script.startswith(".ci/"))
