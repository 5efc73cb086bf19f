"""Lines of the log as JSON."""

import io
import json
import logging
from typing import Any

import pytest

from kernelport.config.settings import Settings, SettingsError
from kernelport.telemetry import logs


@pytest.fixture
def lines() -> Any:
    """A logger whose lines are JSON, and a function that reads them."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(logs.JsonFormatter())
    log = logging.Logger("test")
    log.addHandler(handler)
    return log, lambda: [json.loads(line) for line in stream.getvalue().splitlines()]


def test_a_line_tells_what_it_is_about(lines: Any) -> None:
    log, read = lines
    with logs.about(lambda: {"deployment": "hibari-en", "requests": ["a-1", "a-2"], "job": ""}):
        log.warning("slow: %d s", 3)
    log.info("after\nthe block")
    first, second = read()
    assert first == {
        "time": first["time"],
        "level": "WARNING",
        "logger": "test",
        "message": "slow: 3 s",
        "deployment": "hibari-en",
        "requests": ["a-1", "a-2"],
    }
    assert first["time"].endswith("+00:00")
    assert second["message"] == "after\nthe block"
    assert "deployment" not in second


def test_a_traceback_is_part_of_its_line(lines: Any) -> None:
    log, read = lines
    try:
        raise ValueError("of this")
    except ValueError:
        log.exception("failed")
    (line,) = read()
    assert "ValueError: of this" in line["exception"]


def test_ids_are_made_only_for_a_line(lines: Any) -> None:
    def never() -> Any:
        raise AssertionError

    with logs.about(never):
        pass


def test_a_format_that_is_none_is_named() -> None:
    assert Settings.from_environment({"KERNELPORT_LOG_FORMAT": "json"}).log_format == "json"
    with pytest.raises(SettingsError, match="KERNELPORT_LOG_FORMAT: expected one of text, json, got 'xml'"):
        Settings.from_environment({"KERNELPORT_LOG_FORMAT": "xml"})
