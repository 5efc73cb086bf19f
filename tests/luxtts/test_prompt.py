"""The reference recording: every input format, trimming, cutting, loudness, and a voice that survives storage."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from kernelport_workers.luxtts import prompt
from kernelport_workers.luxtts.errors import DependencyError, InvalidInputError
from kernelport_workers.luxtts.prompt import Voice, encoding_key
from kernelport_workers.luxtts.transcribe import FasterWhisper
from tests.luxtts.conftest import audio_file, tone

RATE = 24_000


@pytest.mark.parametrize(
    ("kind", "subtype", "rate", "channels"),
    [
        ("WAV", "PCM_16", 24_000, 1),
        ("WAV", "PCM_24", 44_100, 2),
        ("WAV", "FLOAT", 16_000, 1),
        ("FLAC", "PCM_24", 48_000, 2),
        ("OGG", "VORBIS", 44_100, 1),
        ("MP3", "MPEG_LAYER_III", 44_100, 2),
    ],
)
def test_every_published_format_decodes_to_the_same_sound(kind: str, subtype: str, rate: int, channels: int) -> None:
    wave = tone(1.0, rate)
    decoded = prompt.decode(audio_file(np.stack([wave] * channels, axis=1), rate, kind, subtype))
    expected = tone(1.0, RATE)
    assert decoded.dtype == np.float32
    assert abs(len(decoded) - len(expected)) < 0.06 * RATE
    middle = slice(RATE // 4, 3 * RATE // 4)
    spectra = [np.abs(np.fft.rfft(signal[middle])) for signal in (decoded, expected)]
    assert float(np.corrcoef(spectra[0], spectra[1])[0, 1]) > 0.98


@pytest.mark.parametrize("audio", [b"", b"RIFF", b"not audio at all" * 10, audio_file(np.zeros(0, np.float32))])
def test_unreadable_audio_names_the_input(audio: bytes) -> None:
    with pytest.raises(InvalidInputError, match="prompt_audio"):
        prompt.decode(audio)


def test_samples_that_are_not_finite_are_refused() -> None:
    wave = tone(1.0)
    wave[100] = np.nan
    with pytest.raises(InvalidInputError, match="samples that are finite"):
        prompt.decode(audio_file(wave, subtype="FLOAT"))


def test_absurd_rates_and_lengths_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InvalidInputError, match="got 100 Hz"):
        prompt.decode(audio_file(tone(0.5), 100))
    monkeypatch.setattr(prompt, "MAX_FILE_SECONDS", 1)
    with pytest.raises(InvalidInputError, match="at most 1 s"):
        prompt.decode(audio_file(tone(1.1)))


def test_silence_is_trimmed_at_both_ends() -> None:
    silence = np.zeros(2 * RATE, dtype=np.float32)
    used, _, _ = prompt.prepare(np.concatenate([silence, tone(1.0), silence]), None, 0.01)
    assert 1.0 <= len(used) / RATE <= 1.45
    assert len(prompt.prepare(tone(1.0), None, 0.01)[0]) == RATE


def test_a_long_reference_is_cut_inside_a_pause_not_mid_word() -> None:
    words = [tone(0.9), np.zeros(int(0.2 * RATE), np.float32)] * 8
    cut = prompt.cut_at_pause(np.concatenate(words), 5.0)
    position = len(cut) / RATE % 1.1
    assert 3.0 <= len(cut) / RATE <= 5.0
    assert 0.9 < position < 1.1


def test_loudness_is_measured_as_given_and_a_quiet_reference_raised() -> None:
    _, loud, level = prompt.prepare(tone(1.0, level=0.3), 5.0, 0.01)
    _, quiet, quiet_level = prompt.prepare(tone(1.0, level=0.003), 5.0, 0.01)
    assert quiet_level == pytest.approx(level / 100, rel=1e-3)
    gain = 0.1 * np.log(level / 0.01)
    assert float(np.median(loud - quiet)) == pytest.approx(float(gain), rel=0.05)


def test_a_voice_survives_storage() -> None:
    voice = Voice((3, 1, 2), np.random.default_rng(0).standard_normal((7, 100)).astype(np.float32), 0.05, 0.01, "Hé.")
    again = Voice.from_bytes(voice.to_bytes())
    assert (again.tokens, again.rms, again.target_rms, again.transcript) == ((3, 1, 2), 0.05, 0.01, "Hé.")
    assert np.array_equal(again.features, voice.features)


@pytest.mark.parametrize("data", [b"", b"junk" * 100, (8).to_bytes(8, "little") + b"{}      "])
def test_damaged_voices_are_refused(data: bytes) -> None:
    with pytest.raises(InvalidInputError, match="not an encoded voice"):
        Voice.from_bytes(data)


def test_the_cache_key_depends_on_everything_that_changes_the_voice() -> None:
    keys = {
        encoding_key("model", "text", 0.01, 5.0),
        encoding_key("other", "text", 0.01, 5.0),
        encoding_key("model", None, 0.01, 5.0),
        encoding_key("model", "text", 0.02, 5.0),
        encoding_key("model", "text", 0.01, 6.0),
        encoding_key("model", "text", 0.01, 5.0, upstream=True),
    }
    assert len(keys) == 6
    assert encoding_key("model", "text", 0.01, 5) == encoding_key("model", "text", 0.01, 5.0)


def test_transcription_without_its_package_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "faster_whisper", None)
    with pytest.raises(
        DependencyError, match=r"faster-whisper: pip install '\.\[luxtts-transcribe\]'.* or give its words"
    ):
        FasterWhisper().transcribe(np.zeros(16_000, dtype=np.float32))
