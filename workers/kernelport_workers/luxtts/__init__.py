"""LuxTTS: zero-shot voice cloning at 48 kHz from the published checkpoint.

Names below are imported on first use, so that importing the package loads neither torch nor ONNX Runtime.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kernelport_workers.luxtts.errors import (
        CheckpointError,
        DependencyError,
        InvalidInputError,
        LuxTTSError,
        NotHeardError,
        SynthesisError,
        TextError,
    )
    from kernelport_workers.luxtts.pipeline import Pipeline
    from kernelport_workers.luxtts.prompt import Voice, encoding_key
    from kernelport_workers.luxtts.transcribe import FasterWhisper, Transcriber
    from kernelport_workers.luxtts.utterance import Audio, Utterance

_HOMES = {
    "CheckpointError": "errors",
    "DependencyError": "errors",
    "InvalidInputError": "errors",
    "LuxTTSError": "errors",
    "NotHeardError": "errors",
    "SynthesisError": "errors",
    "TextError": "errors",
    "Pipeline": "pipeline",
    "Voice": "prompt",
    "encoding_key": "prompt",
    "FasterWhisper": "transcribe",
    "Transcriber": "transcribe",
    "Audio": "utterance",
    "Utterance": "utterance",
}

__all__ = [
    "Audio",
    "CheckpointError",
    "DependencyError",
    "FasterWhisper",
    "InvalidInputError",
    "LuxTTSError",
    "NotHeardError",
    "Pipeline",
    "SynthesisError",
    "TextError",
    "Transcriber",
    "Utterance",
    "Voice",
    "encoding_key",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
