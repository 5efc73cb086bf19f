"""Runs the command line as its user does."""

import os
import subprocess
import sys


def kernelport(
    *arguments: object, stdin: str = "", expect: int = 0, **environment: str
) -> "subprocess.CompletedProcess[str]":
    """What a command printed; it must end with the code `expect`, and never with a traceback."""
    finished = subprocess.run(
        [sys.executable, "-m", "kernelport.cli", *map(str, arguments)],
        input=stdin,
        capture_output=True,
        text=True,
        timeout=100,
        env={**os.environ, **environment},
        check=False,
    )
    assert finished.returncode == expect, finished.stdout + finished.stderr
    assert "Traceback" not in finished.stderr
    return finished
