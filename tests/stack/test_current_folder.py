"""Files in the folder where a stack is started: a pipeline there loads, and nothing else there is imported."""

import json
import os
import subprocess
from pathlib import Path

import pytest

from kernelport.supervisor.processes import module_command

PIPELINE = "from kernelport_workers.backends.base import Backend\n\n\nclass Mine(Backend):\n    pass\n"


@pytest.mark.parametrize(
    "arguments", [["kernelport_workers.check"], ["kernelport_workers", "-A", "kernelport_workers.app", "report"]]
)
def test_a_pipeline_in_the_folder_loads_and_no_file_stands_for_a_library(tmp_path: Path, arguments: list[str]) -> None:
    for name in ("redis.py", "queue.py", "kombu.py"):
        (tmp_path / name).write_text("raise SystemExit('imported')\n")
    (tmp_path / "mine.py").write_text(PIPELINE)
    table = tmp_path / "deployments.yaml"
    table.write_text("deployments: {mine: {pipeline: 'mine:Mine', backend: onnx, image: local}}\n")
    finished = subprocess.run(
        module_command(*arguments),
        cwd=tmp_path,
        env={**os.environ, "KERNELPORT_DEPLOYMENTS_FILE": str(table)},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert finished.returncode == 0, finished.stderr
    if arguments == ["kernelport_workers.check"]:
        assert [json.loads(line) for line in finished.stdout.splitlines()] == [{}, {"mine": None}]
