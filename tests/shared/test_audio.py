"""Audio files: the same audio gives the same bytes."""

import io

import numpy as np
import pytest
import soundfile

from kernelport.audio import FORMATS, encode_audio

AUDIO = np.random.default_rng(0).normal(0, 0.1, 48_000).astype(np.float32)


@pytest.mark.parametrize("ending", FORMATS)
def test_the_same_audio_gives_the_same_file(ending: str) -> None:
    first = encode_audio(AUDIO, 24_000, ending)
    assert encode_audio(AUDIO, 24_000, ending) == first
    assert encode_audio(AUDIO * np.float32(0.5), 24_000, ending) != first


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
