"""Speech to text for references that come without a transcript."""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from kernelport.errors import in_words, install_hint
from kernelport_workers.luxtts.errors import DependencyError, NotHeardError

TRANSCRIBER_RATE = 16_000
"""Rate of the audio given to a transcriber in Hz."""


class Transcriber(Protocol):
    """Anything that turns mono float32 audio at 16 kHz into its words."""

    def transcribe(self, wave: NDArray[np.float32]) -> str:
        """Return what is said in audio (n,) at 16 kHz."""


class Remembering:
    """A transcriber that hears each recording once, whatever else its callers vary.

    Args:
        transcriber: Does the work.
        kept: Transcripts to remember.
    """

    def __init__(self, transcriber: Transcriber, kept: int = 1024) -> None:
        self._transcriber = transcriber
        self._kept = kept
        self._transcripts: OrderedDict[bytes, str] = OrderedDict()
        self._lock = threading.Lock()

    def transcribe(self, wave: NDArray[np.float32]) -> str:
        """Return what is said in audio (n,) at 16 kHz."""
        key = hashlib.sha256(wave.tobytes()).digest()
        with self._lock:
            if key not in self._transcripts:
                self._transcripts[key] = self._transcriber.transcribe(wave)
                if len(self._transcripts) > self._kept:
                    self._transcripts.popitem(last=False)
            return self._transcripts[key]


class FasterWhisper:
    """Whisper through the optional ``faster-whisper`` package; the model is loaded on first use.

    Args:
        model: Name or directory of a converted Whisper model.
        device: ``cpu`` or ``cuda``.
        compute_type: Weight type of the runtime, for instance ``int8`` or ``float16``.
    """

    def __init__(self, model: str = "base.en", device: str = "cpu", compute_type: str = "int8") -> None:
        self._arguments = (model, device, compute_type)
        self._model: Any = None
        self._lock = threading.Lock()

    def transcribe(self, wave: NDArray[np.float32]) -> str:
        """Return what is said in audio (n,) at 16 kHz; nothing where no speech is found.

        Raises:
            DependencyError: ``faster-whisper`` is not installed.
            NotHeardError: Its model cannot be loaded now.
        """
        with self._lock:
            if self._model is None:
                self._model = self._load()
            # In silence a model hears words: only what is speech reaches it.
            segments, _ = self._model.transcribe(wave, beam_size=5, vad_filter=True)
            return " ".join(segment.text.strip() for segment in segments)

    def _load(self) -> Any:
        try:
            from faster_whisper import WhisperModel
        except ImportError as error:
            hint = install_hint("luxtts-transcribe")
            raise DependencyError(
                f"to hear what a recording says takes the package faster-whisper: {hint}; or give its words"
            ) from error
        model, device, compute_type = self._arguments
        try:
            return WhisperModel(model, device=device, compute_type=compute_type)
        # The hub's client, its connections and the runtime have no base of their errors in common.
        except Exception as error:
            raise NotHeardError(
                f"the model {model!r}, which hears what a recording says, cannot be loaded now ({in_words(error)}); "
                "give the recording's words"
            ) from error
