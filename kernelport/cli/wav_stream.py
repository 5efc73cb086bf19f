"""A WAV file that is written while its sound is made."""

from collections.abc import Iterable
from typing import IO

from kernelport.audio import to_pcm, wav_header
from kernelport.client import Speech


def write_wav(file: IO[bytes], pieces: Iterable[Speech]) -> int:
    """Writes pieces of one speech as they come, each at once; a file's header is corrected at the end.

    Args:
        file: a binary file; or a pipe, whose header says that the length is not known.
        pieces: at least one; all of one sample rate.

    Returns:
        how many samples there are.
    """
    samples = sample_rate = 0
    for piece in pieces:
        if not sample_rate:
            sample_rate = piece.sample_rate
            file.write(wav_header(sample_rate, None))
        file.write(to_pcm(piece.audio).astype("<i2", copy=False).tobytes())
        file.flush()
        samples += piece.audio.size
    if file.seekable():
        file.seek(0)
        file.write(wav_header(sample_rate, 2 * samples))
    return samples
