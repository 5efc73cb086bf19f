"""A command that submits, watches and fetches outlives the front door that it talks to."""

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

from kernelport.stack.processes import Child
from tests.data_plane.conftest import Plane
from tests.waiting import wait_for

ITEMS = 8


def kill(child: Child) -> None:
    """Returns when it has been started again."""
    pid = child.pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    wait_for(lambda: child.pid not in (None, pid), 30)


def test_submit_with_watch_and_out_goes_on_when_the_front_door_is_killed(running: Plane, tmp_path: Path) -> None:
    rows = (f"{number},{number},0.4" for number in range(ITEMS))
    (tmp_path / "items.csv").write_text("\n".join(["id,number,seconds", *rows]))
    out = tmp_path / "out"
    arguments = ["submit", str(tmp_path / "items.csv"), "--deployment", "journal", "--out", str(out), "--watch"]
    command = [sys.executable, "-m", "kernelport.cli", "jobs", *arguments, "--target", running.stack.target]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as watching:
        said: list[str] = []
        assert watching.stdout is not None
        reader = threading.Thread(target=said.extend, args=(watching.stdout,))
        reader.start()
        for count in (1, 3):
            wait_for(lambda count=count: len(list(out.glob("*.npz"))) >= count, 30)  # type: ignore[misc]
            kill(running.stack.children["front-door"])
        assert watching.wait(60) == 0, "".join(said)
        reader.join()
    assert {path.name for path in out.iterdir()} == {
        *(f"{number}.npz" for number in range(ITEMS)),
        *(".kernelport-job", "manifest.jsonl", "summary.json"),
    }
    assert "trying again: " in "".join(said)
