"""States are honest: what was cancelled or expired is not done."""

import subprocess
import sys
from pathlib import Path

from kernelport import Client
from kernelport.config.settings import bundled_deployments
from tests.cli.running import called
from tests.conftest import serving_stack, stack_settings
from tests.everyday.conftest import text_file
from tests.waiting import wait_for

LONG = "The river turned slowly past the old mills, and nobody counted the boats. " * 6


def test_a_cancelled_job_counts_what_it_made_apart_from_what_was_cancelled(tmp_path: Path, client: Client) -> None:
    job = called("jobs", "submit", text_file(tmp_path / "lines.txt", *[LONG] * 200)).stdout.strip()
    wait_for(lambda: client.jobs.get(job).progress.succeeded)
    called("jobs", "cancel", job)
    printed = called("jobs", "watch", job, expect=3)
    progress = client.jobs.get(job).progress
    counts = f"{progress.succeeded}/200 ({progress.succeeded // 2} %), 0 failed, {progress.cancelled} cancelled"
    assert f"cancelled: {counts}" in printed.stdout
    assert f"{progress.cancelled} cancelled" in printed.stderr
    assert f"{progress.succeeded} succeeded, {progress.cancelled} cancelled" in called("jobs", "show", job).stdout
    row = next(line for line in called("jobs", "list").stdout.splitlines() if job in line)
    assert f"{progress.succeeded}/200" in row
    assert f"{progress.cancelled} cancelled" in row


def test_what_a_deadline_has_stopped_was_not_cancelled(tmp_path: Path) -> None:
    source = text_file(tmp_path / "lines.txt", *[LONG] * 200)
    printed = called("jobs", "submit", source, "--deadline", "1s", "--watch", expect=4)
    assert " not run" in printed.stderr
    assert "cancelled" not in printed.stdout + printed.stderr


def test_a_job_that_no_live_worker_serves_says_so_and_goes_on_when_one_comes(tmp_path: Path) -> None:
    waits = 'no live worker serves "hibari-en"; it waits'
    with serving_stack(stack_settings(bundled_deployments()), [], tmp_path / "state") as stack:
        where = {"KERNELPORT_TARGET": stack.target}
        job = called("jobs", "submit", text_file(tmp_path / "lines.txt", "One.", "Two."), **where).stdout.strip()
        assert f"{job}: pending: {waits}" in called("jobs", "show", job, **where).stdout
        watching = subprocess.Popen(
            [sys.executable, "-m", "kernelport.cli", "jobs", "watch", job, "--target", stack.target],
            stdout=subprocess.PIPE,
            text=True,
        )
        assert watching.stdout is not None
        with watching.stdout:
            assert watching.stdout.readline().rstrip().endswith(waits)
            stack.add_worker("hibari-en", roll=False)
            rest = watching.stdout.read()
        assert watching.wait(60) == 0
        assert waits not in rest
        assert "succeeded: 2 of 2 items" in rest
