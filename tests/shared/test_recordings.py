"""Recordings: what is decoded, what is refused, and what a bad one costs."""

import io
import resource
from pathlib import Path

import numpy as np
import pytest
import soundfile

from kernelport import recordings
from kernelport.recordings import RecordingError, decode, judged
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


@pytest.mark.parametrize("text", ["Hello there.".encode(codec) for codec in ("utf-8", "utf-16", "utf-16-be")])
def test_text_is_no_recording(text: bytes) -> None:
    with pytest.raises(RecordingError, match=r"^expected a WAV, FLAC, OGG or MP3 file, got something else$"):
        decode(text, max_seconds=60)


def test_of_a_recording_that_is_too_short_nothing_else_is_told() -> None:
    with pytest.raises(RecordingError, match=r"^expected at least 0\.5 s of speech, got 0\.00 s$"):
        judged(flac(np.full(1, 0.5)), max_seconds=60, is_transcribed=False)


@pytest.mark.parametrize("program", ["import os; os.abort()", "bytearray(2**40)", "print()", "while True: pass"])
def test_a_decoder_that_dies_or_never_ends_costs_an_error(
    program: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "decoder.py").write_text(program)
    monkeypatch.setattr(recordings, "_DECODER", tmp_path / "decoder.py")
    monkeypatch.setattr(recordings, "PATIENCE_S", 2.0)
    with pytest.raises(RecordingError, match="decoded"):
        decode(b"any", max_seconds=60)


def audio_file(kind: str, subtype: str | None) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, np.sin(np.arange(96_000) / 20) / 2, 48_000, format=kind, subtype=subtype)
    return file.getvalue()


@pytest.mark.parametrize("lost", [1 / 20, 1 / 3, 2 / 3])
@pytest.mark.parametrize(
    ("kind", "subtype"),
    [("WAV", "PCM_16"), ("WAVEX", "FLOAT"), ("FLAC", None), ("OGG", "VORBIS"), ("OGG", "OPUS"), ("MP3", None)],
)
def test_a_recording_that_is_cut_short_is_refused(kind: str, subtype: str | None, lost: float) -> None:
    whole = audio_file(kind, subtype)
    assert decode(whole, max_seconds=60).seconds == pytest.approx(2, abs=0.01)
    with pytest.raises(RecordingError, match=r"cut short|malformed|lost sync"):
        decode(whole[: int(len(whole) * (1 - lost))], max_seconds=60)


def test_a_wav_file_that_was_written_to_a_pipe_is_whole() -> None:
    """Who wrote it did not know its size."""
    whole = bytearray(audio_file("WAV", "PCM_16"))
    for unknown in (0xFFFFFFFF, 0x7FFFFFFF):
        whole[40:44] = unknown.to_bytes(4, "little")
        assert decode(bytes(whole), max_seconds=60).seconds == 2


def test_what_follows_the_samples_of_a_wav_file_may_be_anything() -> None:
    assert decode(audio_file("WAV", "PCM_16") + b"LIST\x04\0\0\0INFO", max_seconds=60).seconds == 2


@pytest.mark.parametrize("rate", [48_000, 384_000])
def test_the_longest_voice_of_any_rate_is_judged_within_the_memory_of_the_decoder(rate: int) -> None:
    voice = (np.sin(np.arange(60 * rate) / (rate / 1000)) * 8_000).astype(np.int16)
    facts = judged(flac(voice, rate), max_seconds=60, is_transcribed=False)
    assert (facts.seconds, facts.sample_rate) == (60, rate)


def test_a_recording_is_judged_though_no_core_idles(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recordings, "IDLE_PATIENCE_S", 0.01)
    assert judged(flac(np.sin(np.arange(16_000) / 8)), max_seconds=60, is_transcribed=False).seconds == 2
