"""The backend of CONTRIBUTING.md does what the page says."""

import re
from pathlib import Path

import pytest

from kernelport.supervisor.stack import Stack
from tests.cli.running import called
from tests.conftest import START_TIMEOUT_S, discard, stack_settings
from tests.docs.pages import REPOSITORY, blocks


def test_the_backend_reverses_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = (REPOSITORY / "CONTRIBUTING.md").read_text()
    text = {block.language: block.text for block in blocks("CONTRIBUTING.md")}
    (tmp_path / "reverser.py").write_text(text["python"])
    (tmp_path / "deployments.yaml").write_text(text["yaml"])
    monkeypatch.chdir(tmp_path)  # where a worker looks for modules of one's own
    with Stack(stack_settings(tmp_path / "deployments.yaml"), ["reverser"], tmp_path / "state") as stack:
        try:
            stack.wait_ready(START_TIMEOUT_S)
            ((command, printed),) = re.findall(r"`(kernelport infer .+?)`: it prints `(.+?)`", page)
            told = called(*command.split()[1:], KERNELPORT_TARGET=stack.target)
            assert told.stdout == f"{printed}\n"
        finally:
            discard(stack.children.values())
