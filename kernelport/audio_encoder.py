"""Speech encoded as it comes: one encoder makes one file, piece by piece, without a gap where pieces meet."""

import struct
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any, cast

import numpy as np

from kernelport.audio import at_a_rate_of, encode_audio, to_pcm
from kernelport.sink import Sink
from kernelport.tensors import Array

# OpenAI's `pcm` says nothing of its rate, so that it has to be this one, in Hz.
PCM_RATE = 24_000
# The sizes in the header of a WAV whose end is not known yet.
_UNKNOWN = 0xFFFFFFFF


@dataclass(frozen=True)
class _Codec:
    """How PyAV makes a format.

    Attributes:
        bit_rate: bits a second; 0 where there is no choice.
        rates: in Hz, that it has, in ascending order.
        options: of the container. Clients join MP3 files end to end and read them from their first bytes on, so there
            is nothing in them but frames.
    """

    container: str
    codec: str
    bit_rate: int
    rates: tuple[int, ...]
    options: Mapping[str, str] = field(default_factory=dict)


_CODECS: Mapping[str, _Codec] = {
    "mp3": _Codec(
        *("mp3", "libmp3lame", 128_000, (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000)),
        {"write_xing": "0", "id3v2_version": "0"},
    ),
    "aac": _Codec(
        *("adts", "aac", 96_000, (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000, 64000, 88200, 96000)),
    ),
    # A page a tenth of a second, in microseconds: a listener waits for the first.
    "opus": _Codec("ogg", "libopus", 64_000, (48000,), {"fflags": "+bitexact", "page_duration": "100000"}),
    "flac": _Codec("flac", "flac", 0, ()),
}


class AudioEncoder(ABC):
    """Encodes one stream of mono samples F32[S], -1 to 1. Not for the event loop: it computes."""

    @abstractmethod
    def encode(self, samples: Array) -> bytes:
        """The next bytes; none while the encoder gathers."""

    @abstractmethod
    def finish(self) -> bytes:
        """The last bytes."""


def encoder(response_format: str, sample_rate: int) -> AudioEncoder:
    """What encodes speech of a rate in Hz as one of kernelport.speech_request.FORMATS.

    Raises:
        ValueError: when the rate is out of range.
    """
    if response_format == "wav":
        return _Wav(sample_rate)
    return _Pcm(sample_rate) if response_format == "pcm" else _Compressed(_CODECS[response_format], sample_rate)


def encode_whole(response_format: str, samples: Array, sample_rate: int) -> bytes:
    """A whole file at once, which says in its header how long it is where the format can.

    Raises:
        ValueError: when the rate is out of range, or the samples have another shape.
    """
    if samples.ndim != 1:
        raise ValueError(f"expected samples [S], got {list(samples.shape)}")
    if response_format in ("wav", "flac"):
        return encode_audio(samples, sample_rate, f".{response_format}")
    chosen = encoder(response_format, sample_rate)
    return chosen.encode(samples) + chosen.finish()


class _Wav(AudioEncoder):
    def __init__(self, rate: int) -> None:
        facts = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, 1, rate, 2 * rate, 2, 16)
        self._header = (
            struct.pack("<4sI4s", b"RIFF", _UNKNOWN, b"WAVE") + facts + struct.pack("<4sI", b"data", _UNKNOWN)
        )

    def encode(self, samples: Array) -> bytes:
        header, self._header = self._header, b""
        return header + to_pcm(samples).tobytes()

    def finish(self) -> bytes:
        return self._header


class _Pcm(AudioEncoder):
    def __init__(self, rate: int) -> None:
        self._resampler = _resampler(rate, PCM_RATE)

    def encode(self, samples: Array) -> bytes:
        return to_pcm(_resampled(self._resampler, samples)).tobytes()

    def finish(self) -> bytes:
        return to_pcm(_resampled(self._resampler, np.empty(0, np.float32), last=True)).tobytes()


class _Compressed(AudioEncoder):
    def __init__(self, codec: _Codec, rate: int) -> None:
        import av  # here, because it loads libraries that few processes need

        self._av = av
        self._rate = at_a_rate_of(codec.rates, rate)
        self._resampler = _resampler(rate, self._rate)
        self._sink = Sink()
        container = av.open(self._sink, "w", format=codec.container, options=dict(codec.options))
        self._container = cast("Any", container)  # which stream is of which kind, its types do not tell
        self._stream = self._container.add_stream(codec.codec, rate=self._rate, layout="mono")
        if codec.bit_rate:
            self._stream.bit_rate = codec.bit_rate
        self._format: str = self._stream.format.name
        self._samples = 0

    def encode(self, samples: Array) -> bytes:
        self._encode(_resampled(self._resampler, samples))
        return self._sink.taken()

    def finish(self) -> bytes:
        self._encode(_resampled(self._resampler, np.empty(0, np.float32), last=True))
        for packet in self._stream.encode(None):
            self._container.mux(packet)
        self._container.close()
        return self._sink.taken()

    def _encode(self, samples: Array) -> None:
        if not samples.size:
            return
        frame = self._av.AudioFrame.from_ndarray(self._as_format(samples)[np.newaxis], self._format, "mono")
        frame.sample_rate, frame.time_base, frame.pts = self._rate, Fraction(1, self._rate), self._samples
        self._samples += samples.size
        for packet in self._stream.encode(frame):
            self._container.mux(packet)

    def _as_format(self, samples: Array) -> Array:
        """The samples as the codec takes them."""
        if self._format.startswith("flt"):
            return np.clip(samples, -1, 1).astype(np.float32)
        pcm = to_pcm(samples)
        return pcm if self._format.startswith("s16") else pcm.astype(np.int32) << 16


def _resampler(rate: int, wanted: int) -> Any:
    if rate == wanted:
        return None
    import soxr

    return soxr.ResampleStream(rate, wanted, 1, dtype="float32")


def _resampled(resampler: Any, samples: Array, last: bool = False) -> Array:
    samples = samples.astype(np.float32, copy=False)
    if resampler is None:
        return samples
    resampled: Array = resampler.resample_chunk(samples, last=last)
    return resampled
