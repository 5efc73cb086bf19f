"""What was begun and left is counted while it waits, and goes after a time."""

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from redis import Redis

from kernelport.broker import keys, shared_folder
from kernelport.broker.shared_folder import SharedFolder
from kernelport.config.settings import Settings
from kernelport.jobs.artifacts import Artifacts
from kernelport.jobs.leftovers import Leftovers
from kernelport.jobs.storage import SharedStorage
from kernelport.names import MANIFEST
from kernelport.telemetry import metrics
from kernelport.v1 import job_pb2 as pb
from tests.data_plane.conftest import Plane, serving_plane
from tests.jobs.calls import JobCalls, journal_item

ABANDONED_S = 3600.0
SETTINGS = Settings(abandoned_s=ABANDONED_S)
HALF = ".a.wav.1.part"


@pytest.fixture(scope="module")
def shared_plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Plane]:
    """A plane whose jobs do not stay open for long."""
    with serving_plane(tmp_path_factory.mktemp("plane"), settings={"abandoned_s": 2.0}) as started:
        yield started


def counted(kind: str) -> float:
    return metrics.ABANDONED.value(kind) or 0


def age(folder: Path, seconds: float) -> None:
    os.utime(folder, (time.time() - seconds,) * 2)


def test_half_written_outputs_of_jobs_that_are_gone_go_and_others_stay(running: Plane, tmp_path: Path) -> None:
    artifacts = Artifacts(str(tmp_path))
    left, waits, kept, known, whole = (f"0190b8e0000-0000000{number}" for number in range(5))
    for folder in (left, waits, kept, known, "of-somebody-else"):
        artifacts.create(f"{folder}/{HALF}", b"aud")
    artifacts.create(f"{kept}/{MANIFEST}", b"")
    artifacts.create(f"{whole}/a.wav", b"audio")  # deleted without its outputs, say, when no manifest could be written
    for folder in (left, kept, known, whole, "of-somebody-else"):
        age(tmp_path / folder, 2 * ABANDONED_S)
    with Redis.from_url(running.stack.settings.redis_url.removesuffix("/0") + "/1") as redis:
        redis.hset(keys.job(known), "state", "running")
        leftovers = Leftovers(redis, [], artifacts, SharedStorage(redis, artifacts), None, SETTINGS)
        leftovers.run_once()
        redis.delete(keys.job(known))
    assert {path.name for path in tmp_path.iterdir()} == {waits, kept, known, whole, "of-somebody-else"}
    assert counted("output_folders") == 2


def test_a_folder_that_cannot_be_deleted_keeps_none_behind_it(
    running: Plane, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    artifacts = Artifacts(str(tmp_path))
    for number in range(3):
        artifacts.create(f"0190b8e0000-0000000{number}/{HALF}", b"aud")
    first = next(artifacts.names(""))[0]
    (tmp_path / first / HALF).unlink()
    (tmp_path / first).rmdir()
    (tmp_path / first).touch()  # not even root deletes it as a folder
    for path in tmp_path.iterdir():
        age(path, 2 * ABANDONED_S)
    Leftovers(running.redis, [], artifacts, SharedStorage(running.redis, artifacts), None, SETTINGS).run_once()
    assert [path.name for path in tmp_path.iterdir()] == [first]
    assert counted("output_folders") == 1
    assert f"cannot delete {tmp_path / first}" in caplog.text


def test_an_open_job_is_counted_and_expires(
    running: Plane, jobs_of: Callable[[Plane], JobCalls], tmp_path: Path
) -> None:
    jobs = jobs_of(running)
    job = jobs.submit("journal", [journal_item(1)], open=True)
    artifacts = Artifacts(str(tmp_path / "outputs"))
    leftovers = Leftovers(
        running.redis, ["journal"], artifacts, SharedStorage(running.redis, artifacts), None, SETTINGS
    )
    leftovers.run_once()
    assert counted("open_jobs") == 1
    over = jobs.wait(job.id)
    assert over.state == pb.JOB_STATE_EXPIRED
    assert "left open" in over.reason
    leftovers.run_once()
    assert counted("open_jobs") == 0


def test_an_open_job_without_items_is_counted_and_expires(
    running: Plane, jobs_of: Callable[[Plane], JobCalls], tmp_path: Path
) -> None:
    jobs = jobs_of(running)
    left = jobs.submit("journal", [], open=True)
    late = jobs.submit("journal", [], open=True, deadline_unix_us=round((time.time() + 1) * 1e6))
    artifacts = Artifacts(str(tmp_path / "outputs"))
    Leftovers(running.redis, ["journal"], artifacts, SharedStorage(running.redis, artifacts), None, SETTINGS).run_once()
    assert counted("open_jobs") == 2
    assert "left open" in jobs.wait(left.id).reason
    assert "deadline" in jobs.wait(late.id).reason


def test_a_folder_in_memory_that_nobody_uses_goes_when_the_next_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shared_folder, "MEMORY", tmp_path)
    folders = {name: SharedFolder.create(name) for name in ("stack-1-a", "stack-1-b", "stack-2-c")}
    for folder in folders.values():
        assert folder is not None
        (folder / "message").write_bytes(b"large")
        age(folder, 2 * shared_folder.UNUSED_S)
    used = SharedFolder.open(str(folders["stack-1-b"]))
    assert used is not None
    used.sweep()  # as its front door does
    SharedFolder.create("stack-1-d")
    assert {path.name for path in tmp_path.iterdir()} == {"stack-1-b", "stack-1-d", "stack-2-c"}
