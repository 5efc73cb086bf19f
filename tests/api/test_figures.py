"""The figures of deployments: percentiles, and an hour that does not grow."""

import itertools
import math
import time
from collections import Counter
from typing import Any

import pytest

from kernelport_api.services import figures
from kernelport_api.services.figures import Figures, percentile


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time, which tests set."""
    clock = [1_700_000_000.0]
    monkeypatch.setattr(time, "time", lambda: clock[0])
    return clock


@pytest.fixture
def counted() -> Figures:
    nothing: Any = None
    return Figures(["speech"], nothing, nothing)


def test_percentiles_are_those_of_the_times_to_a_tenth(counted: Figures) -> None:
    for milliseconds in range(1, 1001):
        counted.observe("speech", milliseconds / 1000, failed=False)
    told = counted.shown("speech")
    assert told["p50_s"] == pytest.approx(0.5, rel=0.1)
    assert told["p95_s"] == pytest.approx(0.95, rel=0.1)
    assert percentile(Counter(), 0.5) is None


@pytest.mark.parametrize("seconds", [0.0, 1e-9, 1e5])
def test_times_of_any_length_are_counted(counted: Figures, seconds: float) -> None:
    counted.observe("speech", seconds, failed=True)
    told = counted.shown("speech")
    assert told["minute"]["failed"] == 1
    assert math.isfinite(told["p50_s"])


def test_an_hour_is_kept_and_no_more(counted: Figures, now: list[float]) -> None:
    for _ in range(1000):
        counted.observe("speech", 0.1, failed=False)
        now[0] += 60
    assert len(counted.minutes("speech")) <= figures.MINUTES
    assert sum(map(len, counted._minutes.values())) <= figures.MINUTES
    now[0] += 3600
    assert counted.minutes("speech") == []
    assert counted.shown("speech")["minute"] is None


def test_minutes_without_anything_are_left_out(counted: Figures, now: list[float]) -> None:
    for _ in range(3):
        counted.observe("speech", 0.1, failed=False)
        now[0] += 600
    starts = [minute["unix_s"] for minute in counted.minutes("speech")]
    assert [second - first for first, second in itertools.pairwise(starts)] == [600, 600]
