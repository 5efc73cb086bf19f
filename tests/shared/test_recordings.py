"""Recordings: what is decoded, what is refused, and what a bad one costs."""

import io
import resource
from pathlib import Path

import numpy as np
import pytest
import soundfile

from kernelport import recordings
from kernelport.recordings import RecordingError, decode
from kernelport.tensors import Array


def flac(samples: Array, rate: int = 8_000) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, samples, rate, format="FLAC")
    return file.getvalue()


def test_a_recording_is_the_mean_of_its_channels() -> None:
    left, right = np.full(4_000, 0.5), np.full(4_000, -0.25)
    decoded = decode(flac(np.stack([left, right], axis=1)), max_seconds=1)
    assert (decoded.format, decoded.sample_rate, decoded.channels, decoded.seconds) == ("FLAC", 8_000, 2, 0.5)
    assert decoded.peak == pytest.approx(0.5, abs=1e-3)
    np.testing.assert_allclose(decoded.samples, 0.125, atol=1e-3)


def test_a_small_file_that_unpacks_to_hours_is_refused_for_its_length_and_takes_no_memory() -> None:
    hours = flac(np.zeros(2 * 3600 * 8_000, np.int16))
    assert len(hours) < 500_000
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(RecordingError, match="expected at most 60 s"):
        decode(hours, max_seconds=60)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 20_000, "KiB"


@pytest.mark.parametrize("program", ["import os; os.abort()", "bytearray(2**40)", "print()", "while True: pass"])
def test_a_decoder_that_dies_or_never_ends_costs_an_error(
    program: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "decoder.py").write_text(program)
    monkeypatch.setattr(recordings, "_DECODER", tmp_path / "decoder.py")
    monkeypatch.setattr(recordings, "PATIENCE_S", 2.0)
    with pytest.raises(RecordingError, match="decoded"):
        decode(b"any", max_seconds=60)
