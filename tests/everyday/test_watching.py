"""Whoever watches a job hears of it every ten seconds, and of the connection only when it is lost."""

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from kernelport import Client, UnavailableError
from kernelport.cli.jobs import progress
from kernelport.client.jobs.sync import submitting, watching
from kernelport.client.jobs.sync.calls import JobCalls
from kernelport.v1 import job_pb2 as pb
from tests.cli.running import called
from tests.everyday.conftest import text_file
from tests.waiting import wait_for

RUNNING = pb.Job(state=pb.JOB_STATE_RUNNING, progress=pb.JobProgress(items=3, running=3))


def test_a_line_comes_also_while_nothing_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "LINE_INTERVAL_S", 0.05)
    printed = io.StringIO()
    with progress.Display(Console(file=printed)) as display:
        display.update(RUNNING)
        wait_for(lambda: printed.getvalue().count("running: 0/3") >= 3)
        display.wait(UnavailableError("no route"), 1.0)
        wait_for(lambda: printed.getvalue().count("the connection was lost; watching on: no route") >= 2)
        display.update(RUNNING)
    assert printed.getvalue().splitlines()[-1].startswith("running: 0/3")


def test_the_limit_of_a_stream_is_nothing_to_tell(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    streams, told, stream = [], [], JobCalls.stream

    def counted(calls: JobCalls, *arguments: Any) -> Iterator[Any]:
        streams.append(arguments)
        return stream(calls, *arguments)

    monkeypatch.setattr(JobCalls, "stream", counted)
    monkeypatch.setattr(watching, "STREAM_S", 0.5)
    job = client.jobs.submit("hibari-en", ["This is a sentence that takes a moment to be spoken, as others do."] * 150)
    monkeypatch.setattr(client.jobs, "on_retry", lambda error, pause_s: told.append(error))
    for _ in client.jobs.watch(job.id):
        if len(streams) == 3:
            client.jobs.cancel(job.id)
    assert len(streams) > 2
    assert not told


def test_ctrl_c_in_a_submission_names_the_job_and_what_became_of_it(
    tmp_path: Path, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    ask, asked = submitting._created, []

    def broken_off(*arguments: Any) -> Any:
        asked.append(answer := ask(*arguments))
        if len(asked) == 1:
            raise KeyboardInterrupt
        return answer

    monkeypatch.setattr(submitting, "_created", broken_off)
    source = text_file(tmp_path / "lines.txt", *["This is a sentence that takes a moment to be spoken."] * 40)
    told = called("jobs", "submit", source, "--watch", expect=130).stderr
    job = asked[0].job.id
    assert f"job {job} had all of its items and is cancelled; `kernelport jobs resume {job}` goes on" in told
    client.jobs.wait(job)
    client.jobs.resume(job)
    assert client.jobs.wait(job).progress.succeeded == 40
