"""States are honest: what was cancelled or expired is not done."""

from pathlib import Path

from kernelport import Client
from tests.cli.running import called
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
    assert " expired" in printed.stderr
    assert "cancelled" not in printed.stdout + printed.stderr
