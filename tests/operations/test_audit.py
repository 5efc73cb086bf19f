"""The audit log tells of each change: who, what, when and from where."""

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from kernelport import Client, NotFoundError
from kernelport.config.settings import bundled_deployments
from kernelport.supervisor.stack import Stack
from kernelport_ops.chaos.disk import recording
from tests.conftest import serving_stack, stack_settings
from tests.http.calls import ask
from tests.waiting import wait_for

LINES, WRITERS, MOST_BYTES = 200, 3, 15_000
# What a process is told to do: to write lines of its own.
WRITE = f"""
import pathlib, sys
from kernelport.telemetry.log_files import append_shared
for number in range({LINES}):
    append_shared(pathlib.Path(sys.argv[1]), f"{{sys.argv[2]}} {{number}} {"x" * 40}\\n".encode(), {MOST_BYTES})
"""


@pytest.fixture(scope="module")
def door(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A front door without workers, whose log is for people and says little."""
    settings = replace(stack_settings(bundled_deployments()), log_level="ERROR")
    with serving_stack(settings, [], tmp_path_factory.mktemp("audited")) as stack:
        yield stack


def changes(stack: Stack) -> list[dict[str, Any]]:
    file = Path(stack.settings.audit_file)
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


def test_each_change_has_a_line_whichever_door_it_came_by(door: Stack) -> None:
    with Client(door.target) as client:
        job = client.jobs.submit("identity-onnx", [{"x": [[[[1.0]]]]}])
        client.add_voice("anna", recording(1), consent="signed in March", owner="speech@example.org")
        client.jobs.cancel(job.id)
    assert ask(door.url, "DELETE", "/api/voices/anna").status == 200
    wait_for(lambda: ask(door.url, "DELETE", f"/api/jobs/{job.id}").status == 200)  # once it is over
    lines = changes(door)
    told = [(line["action"], line["resource"], line["actor"], line["outcome"]) for line in lines]
    assert told == [
        ("voice.add", "anna", "anybody", "DONE"),
        ("job.cancel", job.id, "anybody", "DONE"),
        ("voice.delete", "anna", "anybody", "DONE"),
        ("job.delete", job.id, "anybody", "DONE"),
    ]
    assert all(line["source"].startswith("127.0.0.1:") and line["time"] and line["request_id"] for line in lines)
    assert "signed in March" not in json.dumps(lines)
    assert Path(door.settings.audit_file).stat().st_mode & 0o077 == 0


def test_what_was_refused_or_changed_nothing_has_none(door: Stack) -> None:
    before = changes(door)
    with Client(door.target) as client:
        assert not client.delete_voice("nobody")
        with pytest.raises(NotFoundError):
            client.jobs.cancel("nothing")
    assert changes(door) == before


def test_processes_share_a_file_whose_lines_stay_whole_and_whose_size_is_bounded(tmp_path: Path) -> None:
    file = tmp_path / "audit.log"
    writers = [subprocess.Popen([sys.executable, "-c", WRITE, file, str(number)]) for number in range(WRITERS)]
    assert [writer.wait() for writer in writers] == [0] * WRITERS
    files = [tmp_path / "audit.log.1", file]
    assert all(each.stat().st_size < MOST_BYTES + 60 for each in files)
    lines = [line.split() for each in files for line in each.read_text().splitlines()]
    assert all(len(line) == 3 and line[2] == "x" * 40 for line in lines)
    for writer in range(WRITERS):  # the last lines of each, in order and none left out
        own = [int(number) for name, number, _ in lines if int(name) == writer]
        assert own == list(range(LINES - len(own), LINES))
