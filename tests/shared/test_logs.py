"""Lines of the log, in both forms."""

import io
import json
import logging
from typing import Any

import pytest

from kernelport.config.settings import Settings, SettingsError
from kernelport.telemetry import logs
from tests.waiting import wait_for


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


def test_a_line_for_people_ends_with_its_ids_and_is_one_entry_whatever_it_says() -> None:
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(logs.TextFormatter())
    log = logging.Logger("test")
    log.addHandler(handler)
    with logs.about(lambda: {"request_id": "two words", "requests": ["a", 'b"'], "job": ""}):
        log.warning(
            "slow\n2026-01-31T12:00:00.000+00:00 INFO test: forged", extra=logs.fields(seconds=0.5, queue_s=0.0)
        )
    first, second = stream.getvalue().splitlines()
    assert first.endswith(" WARNING test: slow")
    assert second.startswith("    2026-01-31")
    assert second.endswith('forged [request_id="two words" requests=a,"b\\"" seconds=0.5 queue_s=0.0]')


def test_a_traceback_is_part_of_its_line(lines: Any) -> None:
    log, read = lines
    try:
        raise ValueError("of this")
    except ValueError:
        log.exception("failed")
    (line,) = read()
    assert "ValueError: of this" in line["exception"]


@pytest.mark.parametrize("inputs", [False, True])
def test_the_text_of_an_exception_is_shown_where_inputs_may_be(inputs: bool) -> None:
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(logs.JsonFormatter(inputs))
    log = logging.Logger("test")
    log.addHandler(handler)
    try:
        try:
            int("secret")
        except ValueError as error:
            raise RuntimeError("no secret number") from error
    except RuntimeError:
        log.exception("the model failed", extra=logs.WITHOUT_TEXT)
    told = json.loads(stream.getvalue())["exception"]
    assert ("no secret number" in told.splitlines()[-1]) == inputs
    assert ("invalid literal" in told) == inputs
    assert "RuntimeError" in told
    assert "ValueError" in told
    assert "test_logs.py" in told


def test_a_storm_of_failures_is_bounded_and_counted(lines: Any) -> None:
    log, read = lines
    log.addFilter(logs.RateLimit(lines_a_s=10, burst=5))
    for number in range(1000):
        log.warning("failed", extra=logs.fields(number=number))
    log.info("well")
    assert 5 <= len(read()) < 50
    wait_for(lambda: log.warning("again") or read()[-1].get("left_out"))
    told = read()
    assert told[0]["number"] == 0
    assert [line for line in told if line["message"] == "well"]
    missing = 1000 - sum(line["message"] == "failed" for line in told)
    assert sum(line.get("left_out", 0) for line in told) >= missing


def test_ids_are_made_only_for_a_line(lines: Any) -> None:
    def never() -> Any:
        raise AssertionError

    with logs.about(never):
        pass


def test_a_format_that_is_none_is_named() -> None:
    assert Settings.from_environment({"KERNELPORT_LOG_FORMAT": "json"}).log_format == "json"
    with pytest.raises(SettingsError, match="KERNELPORT_LOG_FORMAT: expected one of text, json, got 'xml'"):
        Settings.from_environment({"KERNELPORT_LOG_FORMAT": "xml"})
