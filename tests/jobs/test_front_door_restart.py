"""A command that submits, watches and fetches outlives the front door that it talks to."""

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import grpc

from kernelport import UnavailableError
from kernelport.supervisor.processes import Child
from kernelport.v1 import job_pb2 as pb
from kernelport.v1 import job_pb2_grpc
from tests.data_plane.conftest import Plane
from tests.stack.models import HELD
from tests.waiting import is_running, wait_for

ITEMS = 8


def kill(child: Child) -> None:
    """Returns when it has been started again."""
    pid = child.pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    wait_for(lambda: child.pid not in (None, pid), 30)


def answers(running: Plane) -> bool:
    """Whether the front door has started."""
    try:
        running.client.deployments()
    except UnavailableError:
        return False
    return True


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
    assert "the connection was lost; watching on: " in "".join(said)


def test_a_front_door_that_stops_does_not_wait_for_the_end_of_a_watch(running: Plane) -> None:
    wait_for(lambda: answers(running), what="a front door, after those that were killed")
    job = running.client.jobs.submit("journal", [{"number": 1, "seconds": HELD}])
    told: list[BaseException | str] = []

    def watch() -> None:
        calls = job_pb2_grpc.JobServiceStub(channel)
        try:
            told.extend("an event" for _ in calls.WatchJob(pb.WatchJobRequest(job_id=job.id)))
        except grpc.RpcError as error:
            told.append(error)

    pid = running.stack.children["front-door"].pid
    assert pid is not None
    with grpc.insecure_channel(running.stack.target) as channel:
        watcher = threading.Thread(target=watch)
        watcher.start()
        wait_for(lambda: told, what="the first event")
        os.kill(pid, signal.SIGTERM)
        wait_for(lambda: not is_running(pid), running.stack.settings.stop_s / 2, "its end, long before its limit")
        watcher.join()
    assert isinstance(told[-1], grpc.RpcError)
    assert (told[-1].code(), "the front door stops" in told[-1].details()) == (grpc.StatusCode.UNAVAILABLE, True)
    running.release()
    wait_for(lambda: answers(running), what="the next front door")
    assert running.client.jobs.wait(job.id).progress.succeeded == 1
