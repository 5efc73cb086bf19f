"""Stopping takes no longer than it may."""

import time
from dataclasses import replace
from pathlib import Path

import pytest

from kernelport.config.settings import bundled_deployments
from kernelport.supervisor.stack import Stack
from tests.conftest import START_TIMEOUT_S, discard, stack_settings

STOP_S = 0.5
# What is done at the end of every Python process, and does not end.
HANGING = "import atexit, threading\natexit.register(threading.Event().wait, 90)\n"


def test_a_front_door_in_which_something_hangs_ends_in_time_and_its_log_shows_what(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "sitecustomize.py").write_text(HANGING)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=":")
    settings = replace(stack_settings(bundled_deployments()), stop_s=STOP_S)
    with Stack(settings, [], tmp_path / "state") as stack:
        stack.wait_ready(START_TIMEOUT_S)
        front_door = stack.children["front-door"]
        started = time.monotonic()
        front_door.terminate()
        front_door.join(60)
        assert time.monotonic() - started < 15
        assert "Timeout" in front_door.log_tail(100)
        assert "threading.py" in front_door.log_tail(100)
        discard(stack.children.values())
