"""What lists things: whole cells in plain columns for programs, objects as `/api` has them, and a table for people."""

import json
import os
import pty
import subprocess
import sys

import pytest

from kernelport import Client
from kernelport.supervisor.stack import Stack
from tests.cli.running import called
from tests.http.calls import ask

LONG = "Down, down, down. Would the fall never come to an end? " * 5


@pytest.fixture(autouse=True)
def target(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KERNELPORT_TARGET", stack.target)


@pytest.fixture(scope="module")
def job_id(stack: Stack) -> str:
    """A job with a long text, over by now."""
    with Client(stack.target, timeout_s=60) as client:
        job = client.jobs.submit("hibari-en", [LONG])
        for event in client.jobs.watch(job.id):
            if event.job.finished_unix_us:
                return str(job.id)
    raise AssertionError("the job has not ended")


LISTINGS = {
    ("jobs", "list"): "/api/jobs",
    ("jobs", "items", "{job}"): "/api/jobs/{job}/items?inputs=true",
    ("deployments", "list"): "/api/deployments",
    ("voices", "list"): "/api/voices",
    ("dlq", "list", "hibari-en"): "/api/dead-letters/hibari-en",
}


@pytest.mark.parametrize("command", LISTINGS, ids=" ".join)
def test_a_pipe_gets_whole_cells_between_tabs(command: tuple[str, ...], job_id: str) -> None:
    words = [word.format(job=job_id) for word in command]
    lines = called(*words).stdout.splitlines()
    told = [json.loads(line) for line in called(*words, "--json").stdout.splitlines()]
    assert len(lines) == len(told)
    for line, each in zip(lines, told, strict=True):
        cells = line.split("\t")
        assert cells[0] == (each.get("id") or each["name"])
        assert len(cells) >= 5
        assert not set(line) & set("─│┃…")


def test_a_long_text_is_cut_nowhere_but_on_a_terminal(job_id: str, stack: Stack) -> None:
    (line,) = called("jobs", "items", job_id).stdout.splitlines()
    assert line.split("\t")[4] == LONG.strip()
    assert LONG.strip()[:-20] not in " ".join(on_a_terminal("jobs", "items", job_id).split())


@pytest.mark.parametrize(("command", "path"), LISTINGS.items(), ids=lambda told: " ".join(told))
def test_json_has_the_shapes_of_the_api(command: tuple[str, ...], path: str, job_id: str, stack: Stack) -> None:
    told = [
        json.loads(line)
        for line in called(*(word.format(job=job_id) for word in command), "--json").stdout.splitlines()
    ]
    (listed,) = (
        value for value in ask(stack.url, "GET", path.format(job=job_id)).json().values() if isinstance(value, list)
    )
    assert [each.keys() for each in told] == [each.keys() for each in listed]
    assert [each.get("id") or each["name"] for each in told] == [each.get("id") or each["name"] for each in listed]


def test_doctor_tells_a_pipe_a_fact_a_line() -> None:
    facts = dict(line.split("\t", 1) for line in called("doctor").stdout.splitlines())
    assert facts["Python"] == ".".join(map(str, sys.version_info[:3]))
    assert facts["identity-onnx"].split("\t") == ["yes", ""]
    told = json.loads(called("doctor", "--json").stdout)
    assert told["python"] == facts["Python"]


def test_a_terminal_shows_a_table(job_id: str) -> None:
    shown = on_a_terminal("jobs", "list")
    assert "┃" in shown
    assert job_id in shown


def on_a_terminal(*arguments: str) -> str:
    """What a command shows to a person."""
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "kernelport.cli", *arguments]
    with subprocess.Popen(command, stdout=theirs, stderr=theirs, env={**os.environ, "COLUMNS": "160"}) as process:
        os.close(theirs)
        shown = b""
        try:
            while part := os.read(ours, 65536):
                shown += part
        except OSError:  # the other end is closed
            pass
    os.close(ours)
    assert process.returncode == 0, shown
    return shown.decode()
