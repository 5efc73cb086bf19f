"""The blocks of docs/python.md run, one after the other, as one program, and its links lead somewhere."""

import re
import subprocess
import sys
from pathlib import Path

from kernelport.supervisor.stack import Stack
from tests.docs.commands import DOCS

TEXT = (DOCS / "python.md").read_text()
BLOCKS = re.findall(r"^```python\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)


def test_every_block_runs(stack: Stack, tmp_path: Path) -> None:
    program = "".join(BLOCKS).replace("127.0.0.1:50051", stack.target)
    command = [sys.executable, "-W", "error", "-c", program]
    ran = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=100)
    assert ran.returncode == 0, ran.stderr
    assert (tmp_path / "morning.flac").exists()
    assert 'inputs["x"] INVALID_REQUEST' in ran.stdout
    assert len(list((tmp_path / "out").glob("*.wav"))) == 2


def test_links_lead_somewhere() -> None:
    for target in re.findall(r"\]\(([^)#]+)", TEXT):
        assert (DOCS / target).exists(), target
