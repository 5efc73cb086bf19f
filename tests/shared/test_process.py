"""How a process lets others go first."""

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from kernelport.process import stand_back

SAYS = (
    "import os, sys; from kernelport.process import stand_back; stand_back(5); "
    "print(os.getpriority(os.PRIO_PROCESS, 0))"
)
AUTOGROUP = Path("/proc/self/autogroup")


def said(*before: str, **options: bool) -> str:
    """What a process says that has stood back."""
    command = [*before, sys.executable, "-c", SAYS]
    return subprocess.run(command, capture_output=True, text=True, check=True, **options).stdout.strip()


def test_it_has_the_lower_priority() -> None:
    assert said() == str(max(5, os.getpriority(os.PRIO_PROCESS, 0)))


def test_what_has_a_lower_priority_already_keeps_it() -> None:
    assert said("nice", "-n", "12") == str(min(19, 12 + os.getpriority(os.PRIO_PROCESS, 0)))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root becomes another user")
def test_whoever_may_not_raise_a_priority_keeps_a_lower_one() -> None:
    nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
    assert said("nice", "-n", "12", *nobody) == str(min(19, 12 + os.getpriority(os.PRIO_PROCESS, 0)))


@pytest.mark.skipif(not AUTOGROUP.exists(), reason="sessions share no cores here")
def test_a_session_of_its_own_stands_back_as_a_whole() -> None:
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, start_new_session=True)
    try:
        stand_back(7, child.pid)
        assert Path(f"/proc/{child.pid}/autogroup").read_text().split()[-1] == "7"
        stand_back(3, child.pid)
        assert Path(f"/proc/{child.pid}/autogroup").read_text().split()[-1] == "7"
    finally:
        child.communicate(b"\n")


def test_threads_that_end_meanwhile_are_no_error() -> None:
    over = threading.Event()

    def start_short_ones() -> None:
        while not over.is_set():
            threading.Thread(target=int).start()

    starter = threading.Thread(target=start_short_ones)
    starter.start()
    try:
        for _ in range(100):
            stand_back(os.getpriority(os.PRIO_PROCESS, 0))
    finally:
        over.set()
        starter.join()
