"""Turns an item's output tensors into the bytes of a file, and puts that where outputs go."""

import hashlib
import io
import logging
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from kernelport import npz, tensors
from kernelport.audio import encode_audio
from kernelport.audio_encoder import encode_whole
from kernelport.errors import as_unicode
from kernelport.internal.v1.job_store_pb2 import ItemResult
from kernelport.jobs.artifacts import Artifacts, storage_errors
from kernelport.names import file_name
from kernelport.tensors import Array
from kernelport.v1 import job_pb2 as pb
from kernelport_workers.backends.base import MOST_WARNINGS, Outputs

log = logging.getLogger(__name__)

# Object storage answers in tens of milliseconds, and Opus takes longer to encode than speech to make: the files of a
# batch go side by side. Those that are encoded and written in a millisecond would only be in each other's way.
PARALLEL = 8
_QUICK_SUFFIXES = {"wav", "flac", "npz", "pcm"}
FIRST_BACKOFF_S, LONGEST_BACKOFF_S = 0.5, 8.0
STORAGE_ERRORS = storage_errors()

# Formats without a header that tells the length, which encoders of streams make.
_STREAMS = {"aac", "pcm"}
_SUFFIXES = {
    pb.OUTPUT_FORMAT_WAV: "wav",
    pb.OUTPUT_FORMAT_FLAC: "flac",
    pb.OUTPUT_FORMAT_OGG: "ogg",
    pb.OUTPUT_FORMAT_MP3: "mp3",
    pb.OUTPUT_FORMAT_NPZ: "npz",
    pb.OUTPUT_FORMAT_AAC: "aac",
    pb.OUTPUT_FORMAT_PCM: "pcm",
}


class StorageError(Exception):
    """Outputs cannot be kept; the message says where and why."""


@dataclass(frozen=True)
class Output:
    """What the model gave for one item and warned of, and its place in the page."""

    item_id: str
    position: int
    outputs: Outputs
    warnings: Sequence[str] = ()


def suffix_of(output_format: pb.OutputFormat, is_speech: bool) -> str:
    """What the names of a job's files end in.

    Args:
        is_speech: whether the deployment declares the outputs `audio` and `sample_rate`.
    """
    return _SUFFIXES.get(output_format, "wav" if is_speech else "npz")


def encode(outputs: Outputs, suffix: str) -> tuple[bytes, float]:
    """The bytes of the file that an item's outputs become, and the seconds that it sounds.

    Raises:
        ValueError: when they do not fit the format.
    """
    is_speech = {"audio", "sample_rate"} <= outputs.keys()
    if suffix == "npz":
        return _npz(outputs), _seconds(*_speech(outputs)) if is_speech else 0.0
    if not is_speech:
        raise ValueError(f"a {suffix} file needs the outputs audio and sample_rate; there are {', '.join(outputs)}")
    audio, rate = _speech(outputs)
    try:
        encoded = encode_whole(suffix, audio, rate) if suffix in _STREAMS else encode_audio(audio, rate, f".{suffix}")
        return encoded, _seconds(audio, rate)
    # A rate that no file can say, samples of another dtype or in a shape that is no sound.
    except (ValueError, TypeError, OverflowError) as error:
        raise ValueError(f"{rate} Hz audio cannot be written as {suffix}: {error}") from error


def _speech(outputs: Outputs) -> tuple[Array, int]:
    """The samples and their rate."""
    return np.asarray(outputs["audio"]), int(np.ravel(outputs["sample_rate"])[0])


def _seconds(audio: Array, rate: int) -> float:
    return audio.size / rate if rate > 0 else 0.0


class Publisher:
    """Writes the files of batches.

    Args:
        patience_s: seconds after which a file that cannot be written is given up.
    """

    def __init__(self, artifacts: Artifacts, patience_s: float) -> None:
        self._artifacts = artifacts
        self._patience_s = patience_s
        self._pool = ThreadPoolExecutor(PARALLEL, thread_name_prefix="publish")

    def publish(
        self, job: str, suffix: str, outputs: Sequence[Output], is_ours: Callable[[], bool], step: Callable[[], None]
    ) -> list[ItemResult | StorageError]:
        """Writes every output under its item's name. One that cannot become a file yields its item's error; one that
        the storage does not take yields a StorageError, after some tries.

        Args:
            is_ours: whether these items are still this worker's. Then it replaces a file that is there already: it was
                left by a worker that died, made perhaps of inputs that have been replaced since.
            step: called after each try: writing goes on.
        """
        refused = threading.Event()

        def publish(output: Output) -> ItemResult | StorageError:
            try:
                encoded, audio_s = encode(output.outputs, suffix)
            except ValueError as error:
                return ItemResult(position=output.position, error=as_unicode(str(error)))
            path = f"{job}/{file_name(output.item_id, suffix)}"
            try:
                self._write(path, encoded, is_ours, refused, step)
            except StorageError as error:
                return error
            return ItemResult(
                position=output.position,
                file_bytes=len(encoded),
                sha256=hashlib.sha256(encoded).digest(),
                audio_s=audio_s,
                warnings=[*output.warnings, *_warnings(output.outputs, suffix)][:MOST_WARNINGS],
            )

        is_quick = self._artifacts.is_local and suffix in _QUICK_SUFFIXES
        return list(map(publish, outputs) if is_quick else self._pool.map(publish, outputs))

    def _write(
        self, path: str, data: bytes, is_ours: Callable[[], bool], refused: threading.Event, step: Callable[[], None]
    ) -> None:
        pause_s, give_up_at = FIRST_BACKOFF_S, time.monotonic() + self._patience_s
        while True:
            try:
                self._artifacts.publish(path, data, is_ours)
                return
            except STORAGE_ERRORS as error:
                log.warning("cannot write %s: %s", self._artifacts.url(path), error)
                if refused.is_set() or time.monotonic() + pause_s > give_up_at:
                    refused.set()  # the others of the batch need not wait as long to hear the same
                    raise StorageError(f"cannot write {self._artifacts.url(path)}: {error}") from error
            finally:
                step()
            time.sleep(pause_s)
            pause_s = min(2 * pause_s, LONGEST_BACKOFF_S)


def _warnings(outputs: Outputs, suffix: str) -> list[str]:
    """What writing the file changes that nobody asked for."""
    is_clipped = suffix != "npz" and np.abs(_speech(outputs)[0]).max(initial=0) > 1
    return [f"audio: clipped to -1 to 1, which is all that {suffix} holds"] if is_clipped else []


def _npz(outputs: Outputs) -> bytes:
    try:
        # What a caller of `Infer` would get.
        travelled = {name: tensors.travelled(name, array) for name, array in outputs.items()}
    except TypeError as error:
        raise ValueError(f"the model's output cannot be kept: {error}") from error
    file = io.BytesIO()
    npz.write(file, travelled)
    return file.getvalue()
