"""Lines of the access log: those of calls that went well are written many at a time."""

import asyncio
import io
import logging
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from kernelport.config.settings import Settings
from kernelport.telemetry import logs
from kernelport_api.calls import MOST_LATE, AccessLog
from tests.waiting import wait_for

ANSWERS = """
import asyncio, sys
from dataclasses import replace
from kernelport.config.settings import Settings
from kernelport.telemetry import logs
from kernelport_api.calls import AccessLog

logs.set_up(replace(Settings(), log_file=sys.argv[1], log_format=sys.argv[2]))
log = AccessLog("door", 1.0)

async def answer():
    for number in range(3):
        call = log.begin("InferenceService/Infer")
        call.request_id = f"call-{number}"
        log.answered(call)
    log.failed(call, __import__("kernelport").UnavailableError("away"))
    log.write()

asyncio.run(answer())
"""


async def answered(log: AccessLog, count: int) -> None:
    for number in range(count):
        call = log.begin("InferenceService/Infer")
        call.request_id = f"call-{number}"
        log.answered(call)


async def test_a_line_comes_soon_and_says_when_it_was(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    began = time.time()
    await answered(AccessLog("door", 1.0), 2)
    over = time.time()
    assert not caplog.records
    await asyncio.to_thread(wait_for, lambda: len(caplog.records) == 2)
    assert all(began <= record.created <= over for record in caplog.records)
    assert [vars(record)["fields"]["request_id"] for record in caplog.records] == ["call-0", "call-1"]


async def test_no_more_wait_than_may(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    log = AccessLog("door", 1.0)
    await answered(log, MOST_LATE + 1)
    assert len(caplog.records) == MOST_LATE
    log.write()
    assert len(caplog.records) == MOST_LATE + 1


async def test_a_share_of_them_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    log = AccessLog("door", 0.5)
    await answered(log, 1000)
    log.write()
    assert len(caplog.records) == pytest.approx(500, abs=100)


class Full(io.StringIO):
    """A disk that is full."""

    def write(self, text: str) -> int:
        raise OSError("No space left on device")


async def test_a_log_that_cannot_be_written_fails_no_call(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    with monkeypatch.context() as patch:
        patch.setattr(sys, "stderr", Full())
        logs.set_up(Settings())
    try:
        await answered(AccessLog("door", 1.0), MOST_LATE)
    finally:
        root.handlers[:] = before
        root.setLevel(level)
    assert "No space left" in capsys.readouterr().err


@pytest.mark.parametrize("form", ["text", "json"])
def test_lines_that_are_written_together_are_as_others(tmp_path: Path, form: str) -> None:
    file = tmp_path / "door.log"
    subprocess.run([sys.executable, "-c", ANSWERS, file, form], check=True, timeout=60)
    names = [re.findall(r'(\w+)(?:=|":)', line) for line in file.read_text().splitlines()]
    assert len(names) == 4, "three that went well, and before them, as it is not late, one that failed"
    assert [name for name in names[0] if name != "reason"] == names[1] == names[2] == names[3]
