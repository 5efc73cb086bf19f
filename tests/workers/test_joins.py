"""How pieces of speech are joined."""

import numpy as np
import pytest

from kernelport.tensors import Array
from kernelport_workers.speech.joins import AUDIBLE, joinable

RATE = 24_000


def tone(head_s: float, tail_s: float) -> Array:
    sound = 0.3 * np.sin(np.arange(RATE // 2) * 0.2 + 1).astype(np.float32)
    return np.concatenate(
        [np.zeros(round(head_s * RATE), np.float32), sound, np.zeros(round(tail_s * RATE), np.float32)]
    )


@pytest.mark.parametrize("pause_s", [0.04, 0.1, 0.12, 0.25, 0.45, 2.0])
@pytest.mark.parametrize("around_s", [0.0, 0.01, 0.4])
def test_the_pause_is_as_long_as_asked(pause_s: float, around_s: float) -> None:
    one = tone(around_s, around_s)
    joined = np.concatenate([joinable(one, pause_s, RATE), joinable(one, 0, RATE)])
    heard = np.flatnonzero(np.abs(joined) > AUDIBLE)
    assert np.diff(heard).max() / RATE == pytest.approx(pause_s, abs=0.01)


def test_the_head_is_trimmed_and_no_edge_clicks() -> None:
    joined = joinable(tone(0.3, 0.3), 0.25, RATE)
    assert np.flatnonzero(np.abs(joined) > AUDIBLE)[0] <= 0.02 * RATE
    assert joined[0] == joined[-1] == 0


def test_a_sound_without_quiet_ends_joins_without_a_click() -> None:
    loud = np.full(4_800, 0.5, np.float32)
    joined = np.concatenate([[0], joinable(loud, 0.1, RATE), joinable(loud, 0, RATE), [0]])
    assert np.abs(np.diff(joined)).max() < 0.01


@pytest.mark.parametrize("around_s", [0.006, 0.02, 0.4])
def test_what_is_heard_of_a_sound_with_quiet_ends_stays_as_it_is(around_s: float) -> None:
    heard = tone(0, 0)
    joined = joinable(tone(around_s, around_s), 0.25, RATE)
    start = np.flatnonzero(joined)[0]
    np.testing.assert_array_equal(joined[start : start + heard.size], heard)


@pytest.mark.parametrize("samples", [1, 50, 200])
def test_of_a_sound_as_short_as_the_fades_no_edge_clicks(samples: int) -> None:
    joined = joinable(np.full(samples, 0.5, np.float32), 0.1, RATE)
    assert np.abs(np.diff(joined)).max() < 0.01


def test_of_silence_the_pause_is_left() -> None:
    assert joinable(np.zeros(5000, np.float32), 0.25, RATE).tolist() == [0] * (RATE // 4)
