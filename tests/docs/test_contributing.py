"""The backend of CONTRIBUTING.md does what the page says."""

from pathlib import Path

import pytest

from kernelport import Client
from kernelport.supervisor.stack import Stack
from tests.conftest import START_TIMEOUT_S, discard, stack_settings
from tests.docs.pages import blocks


def test_the_backend_reverses_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = {block.language: block.text for block in blocks("CONTRIBUTING.md")}
    (tmp_path / "reverser.py").write_text(text["python"])
    (tmp_path / "deployments.yaml").write_text(text["yaml"])
    monkeypatch.chdir(tmp_path)  # where a worker looks for modules of one's own
    with Stack(stack_settings(tmp_path / "deployments.yaml"), ["reverser"], tmp_path / "state") as stack:
        try:
            stack.wait_ready(START_TIMEOUT_S)
            with Client(stack.target) as client:
                assert client.infer("reverser", "hello")["reversed"].tolist() == [b"olleh"]
        finally:
            discard(stack.children.values())
