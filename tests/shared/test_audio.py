"""Audio files: the same audio gives the same bytes."""

import io

import ml_dtypes
import numpy as np
import pytest
import soundfile

from kernelport.audio import FORMATS, encode_audio
from kernelport.client import Speech
from kernelport.client.item_files import Passage
from kernelport.client.speaking import join

AUDIO = np.random.default_rng(0).normal(0, 0.1, 48_000).astype(np.float32)


@pytest.mark.parametrize("ending", FORMATS)
def test_the_same_audio_gives_the_same_file(ending: str) -> None:
    first = encode_audio(AUDIO, 24_000, ending)
    assert encode_audio(AUDIO, 24_000, ending) == first
    assert encode_audio(AUDIO * np.float32(0.5), 24_000, ending) != first


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16, np.float64])
@pytest.mark.parametrize("ending", FORMATS)
def test_samples_of_any_precision_give_the_file_of_their_float32(ending: str, dtype: type[np.generic]) -> None:
    audio = AUDIO.astype(dtype)
    assert encode_audio(audio, 22_050, ending) == encode_audio(audio.astype(np.float32), 22_050, ending)


def test_an_ogg_file_of_many_pages_is_whole_under_its_own_serial_number() -> None:
    def serials(data: bytes) -> list[bytes]:
        return [page[10:14] for page in data.split(b"OggS")[1:]]

    long = np.tile(AUDIO, 20)
    first, second = encode_audio(long, 24_000, ".ogg"), encode_audio(AUDIO, 24_000, ".ogg")
    assert len(serials(first)) > 4
    assert len(set(serials(first))) == 1
    assert serials(first)[0] != serials(second)[0]
    # Whoever reads an Ogg file drops pages whose checksum is wrong.
    decoded, rate = soundfile.read(io.BytesIO(first))
    assert (len(decoded), rate) == (len(long), 24_000)
    assert len(soundfile.read(io.BytesIO(first[:-100] + b"x" + first[-99:]))[0]) < len(long)


@pytest.mark.parametrize("rate", [1000, 8000, 11_025, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000, 96_000, 192_000])
@pytest.mark.parametrize("ending", FORMATS)
def test_every_format_takes_every_rate(ending: str, rate: int) -> None:
    tone = (0.5 * np.sin(2 * np.pi * 300 * np.arange(rate) / rate)).astype(np.float32)
    decoded, found_rate = soundfile.read(io.BytesIO(encode_audio(tone, rate, ending)))
    assert len(decoded) / found_rate == pytest.approx(1, abs=0.1)
    assert found_rate >= min(rate, 48_000)
    loudest = np.abs(np.fft.rfft(decoded)).argmax() * found_rate / len(decoded)
    assert loudest == pytest.approx(300, abs=2)
    assert np.sqrt(np.mean(decoded**2)) == pytest.approx(0.5 / np.sqrt(2), rel=0.1)


@pytest.mark.parametrize(("ending", "rate"), [(".ogg", 1), (".mp3", 10**9), (".flac", 10**6)])
def test_a_rate_that_a_format_cannot_have_is_told_without_an_address(ending: str, rate: int) -> None:
    with pytest.raises(ValueError, match=r"Hz|rate") as caught:
        encode_audio(AUDIO, rate, ending)
    assert "0x" not in str(caught.value)


def test_speech_of_several_rates_is_joined_at_the_highest() -> None:
    seconds = [(Passage(1, 0, "One.", "line"), Speech(np.zeros(rate, np.float32), rate)) for rate in (16_000, 48_000)]
    joined = join(seconds)
    assert joined.sample_rate == 48_000
    assert joined.seconds == pytest.approx(2.4), "with a pause between them"
