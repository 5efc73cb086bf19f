"""`make check-ci`: the shell steps of ci.yml, run in a fresh clone as a runner would, job by job.

It runs the whole suite, so it is no part of it. Steps that need Docker or install system packages are left out.
"""

import os
import subprocess
from itertools import groupby
from pathlib import Path

import pytest

from tests.workflows.steps import REPOSITORY, Step, steps

pytestmark = pytest.mark.timeout(3600)
JOBS = {job: list(each) for job, each in groupby(steps(REPOSITORY / ".github/workflows/ci.yml"), lambda step: step.job)}
ELSEWHERE = ("docker", "sudo")


@pytest.mark.parametrize("job", JOBS)
def test_the_steps_of_a_job_succeed(job: str, tmp_path: Path) -> None:
    here = [step for step in JOBS[job] if not step.script.startswith(ELSEWHERE)]
    if not here:
        pytest.skip("every step needs Docker")
    subprocess.run(["git", "clone", "--quiet", REPOSITORY, tmp_path / "clone"], check=True)
    for step in here:
        _run(step, tmp_path / "clone")


def _run(step: Step, clone: Path) -> None:
    print(f"{step.job}: {step.name}", flush=True)
    shell = ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", step.script]
    subprocess.run(shell, cwd=clone, env=dict(os.environ), check=True)
