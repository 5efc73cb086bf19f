"""`kernelport up` is killed and started again, and what ran beside it goes over."""

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
from redis import Redis

from kernelport import Client, KernelPortError
from kernelport.broker import keys
from kernelport.supervisor.running_file import Running, find_running
from tests.conftest import START_TIMEOUT_S
from tests.stack.models import pipeline, write_deployments
from tests.waiting import wait_for

STOP_S = 300  # which a worker has to finish what it began


def test_a_worker_with_work_in_hand_goes_over_to_the_next_stack_at_once(tmp_path: Path) -> None:
    file, state = write_deployments(tmp_path, ours=pipeline("Sleeper"), theirs=pipeline("Sleeper")), tmp_path / "state"
    up = ["up", "--deployments", "ours", "--deployments-file", str(file), "--listen", "127.0.0.1:0"]
    with _terminal(up, state) as first:
        running = _wait_for_stack(state)
        with _terminal(["worker", "theirs"], state), Client(running.target, timeout_s=60) as client:
            _wait_for_worker(client)
            caller = threading.Thread(target=_sleep, args=(client,))
            caller.start()
            with Redis.from_url(running.redis_url) as redis:
                wait_for(lambda: redis.hlen(keys.UNACKED), what="the worker has the call in hand")
            first.kill()
            first.wait()
            with _terminal(up, state), Client(_wait_for_stack(state).target, timeout_s=60) as again:
                _wait_for_worker(again)
    caller.join()


@contextmanager
def _terminal(command: list[str], state: Path) -> "Iterator[subprocess.Popen[bytes]]":
    known = {name: text for name, text in os.environ.items() if not name.startswith("KERNELPORT_")}
    told = {"KERNELPORT_STATE_DIR": str(state), "KERNELPORT_HTTP_LISTEN": "", "KERNELPORT_STOP_S": str(STOP_S)}
    process = subprocess.Popen([sys.executable, "-m", "kernelport.cli", *command], env=known | told)
    try:
        yield process
    finally:
        process.terminate()
        process.wait(60)


def _wait_for_stack(state: Path) -> Running:
    return wait_for(lambda: find_running(state), START_TIMEOUT_S, "a stack")


def _wait_for_worker(client: Client) -> None:
    def is_served() -> bool:
        with suppress(KernelPortError):  # while the front door starts
            return client.deployment("theirs").live_workers > 0
        return False

    wait_for(is_served, START_TIMEOUT_S, "a worker beside the stack")


def _sleep(client: Client) -> None:
    with suppress(KernelPortError):
        client.infer("theirs", {"seconds": np.array([120], np.float32)})
