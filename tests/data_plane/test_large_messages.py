"""Requests and responses that are too large for the queue: they travel beside it and leave nothing behind."""

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from kernelport import DeadlineExceededError
from kernelport.broker.shared_folder import SharedFolder
from tests.data_plane.conftest import Plane, serving_plane
from tests.stack.models import HELD
from tests.waiting import wait_for

Start = Callable[..., Plane]
EVERYTHING = {"claim_bytes": 10}


@pytest.fixture(scope="module")
def shared_plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Plane]:
    """A plane on which everything is too large for the queue."""
    with serving_plane(tmp_path_factory.mktemp("plane"), settings=EVERYTHING) as started:
        yield started


def messages(running: Plane) -> list[str]:
    """What lies in the shared folder."""
    return [name for name in os.listdir(running.stack.settings.shared_dir) if name != "id"]


def test_on_one_machine_they_travel_through_memory(running: Plane) -> None:
    with ThreadPoolExecutor() as pool:
        calls = [pool.submit(running.infer, number, 0.3) for number in range(3)]
        wait_for(lambda: len(messages(running)) >= 2)
        assert not running.redis.keys("kp:claim:*")
        assert [call.result() for call in calls] == [0, 1, 2]
    wait_for(lambda: not messages(running))


def test_without_a_shared_folder_they_travel_through_redis(plane: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kernelport.broker.shared_folder.MEMORY", Path("/nonexistent"))
    running = plane(settings=EVERYTHING)
    assert running.stack.settings.shared_dir == ""
    with ThreadPoolExecutor() as pool:
        calls = [pool.submit(running.infer, number, 0.3) for number in range(3)]
        wait_for(lambda: running.redis.keys("kp:claim:*"))
        assert [call.result() for call in calls] == [0, 1, 2]
    wait_for(lambda: not running.redis.keys("kp:claim:*"))


def test_a_worker_that_does_not_see_the_folder_gets_them_through_redis(running: Plane) -> None:
    """It comes up on another machine while the requests wait: they were put where the first worker sees them."""
    with ThreadPoolExecutor() as pool:
        long = pool.submit(running.infer, 0, HELD)
        wait_for(lambda: running.entries() == [0])
        waiting = pool.submit(running.infer, 1)
        wait_for(lambda: running.redis.llen("kp.journal") == 1)
        assert len(messages(running)) == 2
        elsewhere = running.start_worker(running.stack.settings.to_environment() | {"KERNELPORT_SHARED_DIR": ""})
        try:
            assert waiting.result() == 1
            assert running.infer(2) == 2
            running.release()
            assert long.result() == 0
        finally:
            elsewhere.terminate()
            elsewhere.wait(30)
    wait_for(lambda: not messages(running))
    wait_for(lambda: not running.redis.keys("kp:claim:*"))


@pytest.mark.parametrize("shared", [True, False])
def test_callers_who_give_up_before_a_worker_has_room_leave_nothing_behind(
    plane: Start, monkeypatch: pytest.MonkeyPatch, shared: bool
) -> None:
    if not shared:
        monkeypatch.setattr("kernelport.broker.shared_folder.MEMORY", Path("/nonexistent"))
    running = plane(settings=EVERYTHING, batching={"max_batch": 1})
    with ThreadPoolExecutor() as pool:
        long = pool.submit(running.infer, 0, HELD)
        wait_for(lambda: running.entries() == [0])
        for late in [pool.submit(running.infer, number, timeout_s=1) for number in range(1, 9)]:
            with pytest.raises(DeadlineExceededError):
                late.result()
        running.release()
        assert long.result() == 0
    wait_for(lambda: not running.redis.keys("kp:claim:*"))
    wait_for(lambda: not shared or not messages(running))


def test_messages_whose_owners_died_go_in_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kernelport.broker.shared_folder.MEMORY", tmp_path)
    path = SharedFolder.create("shared")
    folder = SharedFolder.open(str(path))
    assert folder is not None
    lasting = folder.put("a", [b"1"], ttl_s=60)
    expired = folder.put("b", [b"2"], ttl_s=-60)
    assert lasting is not None
    assert expired is not None
    folder.sweep()
    assert folder.get(lasting) == b"1"
    assert folder.get(expired) is None


@pytest.mark.parametrize("name", ["../precious", "{folder}/precious", "1-x/../../precious", "", "id"])
def test_a_name_that_is_no_message_names_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setattr("kernelport.broker.shared_folder.MEMORY", tmp_path)
    folder = SharedFolder.open(str(SharedFolder.create("here")))
    assert folder is not None
    (tmp_path / "precious").write_text("precious")
    name = name.format(folder=tmp_path)
    assert folder.get(name) is None
    folder.discard(name)
    assert (tmp_path / "precious").exists()
    assert (tmp_path / "here" / "id").exists()
    message = folder.put("worker:batch:0", [b"mess", b"age"], 10)
    assert message is not None
    assert folder.get(message) == b"message"
