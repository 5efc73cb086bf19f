"""What happens to a batch when its worker dies, stalls, or takes long."""

import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest

from kernelport import InternalError
from kernelport.broker import keys
from tests.data_plane.conftest import Plane
from tests.stack.models import HELD
from tests.waiting import is_running, wait_for

Start = Callable[..., Plane]
LEASE_S = 2.0  # short, for these tests sit it out, and far above the half second between renewals
LONG_LEASE_S = 60.0  # nothing comes back through it while a test runs


@contextmanager
def one_more_worker(running: Plane) -> Iterator["subprocess.Popen[bytes]"]:
    """A worker that nobody looks after, live."""
    before = running.client.deployment("journal").live_workers
    worker = running.start_worker()
    try:
        wait_for(lambda: running.client.deployment("journal").live_workers > before)
        yield worker
    finally:
        worker.kill()
        worker.wait(30)


def check_that_a_request_outlives_its_worker(running: Plane, within_s: float) -> None:
    """Kills a worker that runs a request while there is another, which has to answer it in time."""
    with one_more_worker(running) as first, ThreadPoolExecutor() as pool:
        call = pool.submit(running.infer, 1, HELD)
        wait_for(lambda: running.entries() == [1])
        with one_more_worker(running):
            first.kill()
            running.release()
            assert call.result(timeout=within_s) == 1
    assert running.entries() == [1, 1]


def test_what_a_killed_worker_of_the_stack_had_is_answered_once_it_is_back(plane: Start) -> None:
    running = plane(settings={"lease_s": LONG_LEASE_S})
    with ThreadPoolExecutor() as pool:
        call = pool.submit(running.infer, 1, HELD)
        wait_for(lambda: running.entries() == [1])
        os.kill(running.worker_pid(), signal.SIGKILL)
        running.release()
        wait_for(lambda: running.client.deployment("journal").live_workers == 0)
        wait_for(lambda: running.client.deployment("journal").live_workers == 1)
        assert call.result(timeout=3) == 1
    assert running.entries() == [1, 1]


def test_what_any_killed_worker_had_is_answered_before_its_heartbeat_is_overdue(plane: Start) -> None:
    running = plane(workers=False, settings={"lease_s": LONG_LEASE_S, "heartbeat_ttl_s": 10.0})
    check_that_a_request_outlives_its_worker(running, within_s=7.0)  # it beats every 2 s


def test_a_worker_whose_connections_are_closed_is_not_taken_for_dead(plane: Start) -> None:
    running = plane(settings={"lease_s": LONG_LEASE_S, "heartbeat_ttl_s": 5.0})
    with one_more_worker(running), ThreadPoolExecutor() as pool:
        call = pool.submit(running.infer, 1, 4.0)
        wait_for(lambda: running.entries() == [1])
        running.redis.client_kill_filter(_type="normal", skipme=True)
        assert call.result() == 1
    assert running.entries() == [1]


def test_a_worker_that_comes_back_under_its_name_runs_again_what_it_had(plane: Start) -> None:
    running = plane(workers=False, settings={"lease_s": LONG_LEASE_S, "heartbeat_ttl_s": 60.0, "worker_id": "fixed"})
    with one_more_worker(running) as first, ThreadPoolExecutor() as pool:
        call = pool.submit(running.infer, 1, HELD)
        wait_for(lambda: running.entries() == [1])
        first.kill()
        running.release()
        second = running.start_worker()
        try:
            assert call.result(timeout=30) == 1
        finally:
            second.kill()
            second.wait(30)
    assert running.entries() == [1, 1]


def test_a_worker_that_finishes_what_it_has_is_not_taken_for_dead(plane: Start) -> None:
    running = plane(workers=False, settings={"lease_s": LONG_LEASE_S, "heartbeat_ttl_s": 1.0})
    with one_more_worker(running) as first, ThreadPoolExecutor() as pool:
        call = pool.submit(running.infer, 1, 4.0)
        wait_for(lambda: running.entries() == [1])
        first.terminate()
        wait_for(lambda: running.client.deployment("journal").live_workers == 0)
        assert call.result() == 1
        assert first.wait(30) == 0
    assert running.entries() == [1]
    assert running.redis.smembers(keys.WORKERS) == set()


def test_a_batch_comes_back_through_its_lease_though_nobody_knows_of_the_death(plane: Start) -> None:
    running = plane(workers=False, settings={"lease_s": LEASE_S, "heartbeat_ttl_s": 60.0})
    check_that_a_request_outlives_its_worker(running, within_s=LEASE_S + 10)


def test_a_request_longer_than_five_leases_runs_once(plane: Start) -> None:
    running = plane(settings={"lease_s": LEASE_S})
    assert running.infer(1, 5 * LEASE_S) == 1
    assert running.entries() == [1]


def test_a_poisonous_request_fails_alone_and_becomes_a_dead_letter(plane: Start) -> None:
    running = plane(limits={"max_attempts": 2}, settings={"lease_s": 1.5})
    with ThreadPoolExecutor(7) as pool:
        first = pool.submit(running.infer, 0, HELD)  # keeps the worker busy while the others gather
        wait_for(lambda: running.entries() == [0])
        second = pool.submit(running.infer, 1)
        wait_for(lambda: running.redis.llen("kp.journal") == 1)
        calls = [pool.submit(running.infer, number, -1.0 if number == 4 else 0.0) for number in range(2, 7)]
        wait_for(lambda: running.waiting() == 7)
        running.release()
        assert [call.result() for call in (first, second, *calls[:2], *calls[3:])] == [0, 1, 2, 3, 5, 6]
        with pytest.raises(InternalError, match="dead letter") as refused:
            calls[2].result()

    (letter,) = running.client.dead_letters("journal")
    assert letter.id in refused.value.message
    assert "workers died over it alone" in letter.reason
    assert len(letter.attempts) == 3, "the one that ran it with others is told, too"
    assert running.entries().count(4) == 3

    (running.journal.parent / "mercy").touch()
    wait_for(lambda: running.client.deployment("journal").live_workers == 1)  # the next one may still be starting
    assert int(running.client.replay_dead_letter("journal", letter.id)["number"][0]) == 4
    assert running.client.dead_letters("journal") == []


def test_a_dead_letter_that_kills_again_is_the_same_one_with_a_longer_history(plane: Start) -> None:
    running = plane(limits={"max_attempts": 1}, settings={"lease_s": 1.5})
    with pytest.raises(InternalError, match="dead letter"):
        running.infer(1, -1.0)
    (letter,) = running.client.dead_letters("journal")
    wait_for(lambda: running.client.deployment("journal").live_workers == 1)
    with pytest.raises(InternalError, match=f"dead letter {letter.id}"):
        running.client.replay_dead_letter("journal", letter.id)
    (again,) = running.client.dead_letters("journal")
    assert again.id == letter.id
    assert again.unix_us > letter.unix_us
    assert [*again.attempts][:1] == [*letter.attempts]
    assert len(again.attempts) == 2


def test_with_one_attempt_a_request_that_kills_takes_no_other_along(plane: Start) -> None:
    running = plane(limits={"max_attempts": 1}, settings={"lease_s": 1.5})
    with ThreadPoolExecutor(8) as pool:
        first = pool.submit(running.infer, 0, HELD)  # keeps the worker busy while the others gather
        wait_for(lambda: running.entries() == [0])
        calls = [pool.submit(running.infer, number, -1.0 if number == 3 else 0.0) for number in range(1, 8)]
        wait_for(lambda: running.waiting() == 8)
        running.release()
        assert first.result() == 0
        assert [call.result() for call in calls if call is not calls[2]] == [1, 2, 4, 5, 6, 7]
        with pytest.raises(InternalError, match="workers died over it alone"):
            calls[2].result()
    assert running.entries().count(3) == 2, "once with others, once alone"
    assert len(running.client.dead_letters("journal")) == 1


def test_a_stalled_workers_late_answer_is_dropped(running: Plane) -> None:
    """A process stopped for longer than its lease is as good as dead, until it goes on and answers after all."""
    first = running.worker_pid()
    with ThreadPoolExecutor() as pool:
        call = pool.submit(running.infer, 1, HELD)
        wait_for(lambda: running.entries() == [1])
        os.kill(first, signal.SIGSTOP)
        try:
            running.release()
            wait_for(lambda: running.client.deployment("journal").live_workers == 0)
            second = running.start_worker()
            try:
                assert call.result() == 1
                assert running.entries() == [1, 1]
                # It may have answered before the front door has looked again who lives.
                wait_for(lambda: running.client.deployment("journal").live_workers == 1)
                os.kill(first, signal.SIGCONT)
                wait_for(lambda: running.unanswered() == 0)
                assert running.infer(2) == 2
                assert running.entries() == [1, 1, 2]
            finally:
                second.terminate()
                second.wait(30)
        finally:
            os.kill(first, signal.SIGCONT)


def test_a_worker_whose_model_hangs_is_ended_and_its_request_given_up(plane: Start) -> None:
    running = plane(timeouts={"step_s": 1.0}, limits={"max_attempts": 1})
    hung = running.worker_pid()
    with pytest.raises(InternalError, match="dead letter"):
        running.infer(1, 10_000.0)
    assert not is_running(hung)
    wait_for(lambda: running.client.deployment("journal").live_workers == 1)
    assert running.infer(2) == 2


def test_a_batch_that_vanished_on_its_way_to_a_worker_is_sent_again(running: Plane) -> None:
    """A worker killed between Redis giving a message out and the delivery being noted takes the message with it."""
    with ThreadPoolExecutor() as pool:
        first = pool.submit(running.infer, 1, HELD)
        wait_for(lambda: running.entries() == [1])
        second = pool.submit(running.infer, 2)
        wait_for(lambda: running.redis.llen("kp.journal") == 1)
        assert running.redis.rpop("kp.journal") is not None
        running.release()
        assert (first.result(), second.result()) == (1, 2)
    assert running.entries() == [1, 2]
