"""A run of drains that is ended early."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.waiting import wait_for


@pytest.mark.thorough
def test_a_run_that_is_ended_early_shows_what_it_has_counted(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "kernelport_ops.chaos.drains", "--callers", "16", "--out", str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as run:
        records = tmp_path / "drains" / "callers-0.jsonl"
        wait_for(lambda: records.exists() and records.read_text().count("\n") > 5, 250)
        run.send_signal(signal.SIGTERM)
        told, _ = run.communicate(timeout=250)
    assert "of 200 drains: calls under way are in no figure" in told
    document = json.loads((tmp_path / "drains.json").read_text())
    assert sum(document["calls"].values()) > 5
    assert run.returncode == bool(document["found"])
