"""What keeps one deployment from running here keeps no other from it."""

from dataclasses import replace
from pathlib import Path

import pytest

from kernelport.config.settings import Settings
from kernelport.supervisor import runnable
from kernelport.supervisor.runnable import problems_by_deployment

MODULES = {
    "a_leaves": "import os; os._exit(5)",
    "b_crashes": "import ctypes; ctypes.string_at(0)",
    "c_noisy": "import os, sys; os.write(1, b'no JSON'); print('noise', file=sys.stderr); raise ValueError('no file')",
    "d_busy": "import threading, time; threading.Thread(target=time.sleep, args=(1000,)).start()\n"
    "from kernelport_workers.backends.base import Backend\nclass Model(Backend): pass",
    "e_hangs": "import threading; threading.Event().wait()",
}


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Of deployments whose modules do something odd when they are imported."""
    monkeypatch.chdir(tmp_path)
    lines = ["deployments:"]
    for name, text in MODULES.items():
        (tmp_path / f"{name}.py").write_text(text)
        lines.append(f'  {name}: {{pipeline: "{name}:Model", backend: onnx, image: local}}')
    (tmp_path / "deployments.yaml").write_text("\n".join(lines))
    return replace(Settings.from_environment(), deployments_file=tmp_path / "deployments.yaml")


def test_a_module_that_ends_its_process_is_what_keeps_its_own_deployment_from_running(settings: Settings) -> None:
    problems = problems_by_deployment(settings, list(MODULES)[:4])
    assert problems == {
        "a_leaves": "importing its code ends the process with code 5",
        "b_crashes": "importing its code crashes: Segmentation fault",
        "c_noisy": "cannot import 'c_noisy:Model': ValueError: no file",
        "d_busy": None,
    }


def test_a_module_that_hangs_is_given_up(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runnable, "LONGEST_SILENCE_S", 1.0)
    assert problems_by_deployment(settings, ["e_hangs"]) == {"e_hangs": "importing its code takes longer than 1 s"}
