"""Ports for services that are about to listen."""

import subprocess
import sys

import pytest

from kernelport.supervisor import ports


def test_a_port_that_one_process_was_given_is_given_to_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    given = ports.free_port()
    only = f"import random; random.sample = lambda *_: [{given}]; from kernelport.supervisor import ports; "
    other = subprocess.run(
        [sys.executable, "-c", only + "print(ports.free_port())"], capture_output=True, text=True, check=True
    )
    assert int(other.stdout) != given
    monkeypatch.setattr("random.sample", lambda *_: [given])
    assert ports.free_port() != given
