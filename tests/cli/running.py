"""Runs the command line as its user does."""

import io
import os
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout

import pytest

from kernelport.cli import main


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


def called(
    *arguments: object, stdin: str = "", expect: int = 0, **environment: str
) -> "subprocess.CompletedProcess[str]":
    """The same of a command that ends soon, without the second that a process of its own takes to start."""
    out, err = io.StringIO(), io.StringIO()
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(err):
        patch.setattr(sys, "argv", ["kernelport", *map(str, arguments)])
        patch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin.encode())))
        for name, value in environment.items():
            patch.setenv(name, value)
        mask = os.umask(0o077)  # which some commands set for themselves
        os.umask(mask)
        try:
            with pytest.raises(SystemExit) as ended:
                main()
        finally:
            os.umask(mask)
    code = ended.value.code or 0
    assert code == expect, out.getvalue() + err.getvalue()
    return subprocess.CompletedProcess(sys.argv, code, out.getvalue(), err.getvalue())
