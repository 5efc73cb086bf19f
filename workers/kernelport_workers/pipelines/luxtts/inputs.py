"""The tensors of LuxTTS: what they are called, and reading them."""

from collections.abc import Mapping

import numpy as np

from kernelport.errors import FieldViolation, InvalidArgumentError
from kernelport.signature import Signature, tensor_spec
from kernelport.tensors import Array
from kernelport.text import LOCALES
from kernelport.v1 import inference_pb2 as pb
from kernelport_workers.speech import lexicons
from kernelport_workers.speech.spans import SPECS

# How soundfile names the container and the encoding of each `audio_format`.
FORMATS = {"wav": ("WAV", "PCM_16"), "flac": ("FLAC", "PCM_16"), "ogg": ("OGG", "OPUS"), "mp3": ("MP3", None)}
MAX_PROMPT_TEXT = 2_000

SIGNATURE = Signature(
    inputs=[
        tensor_spec("text", pb.U8, ["bytes"], description="UTF-8", max_characters=100_000, languages=["en", "zh"]),
        tensor_spec(
            "prompt_audio", pb.U8, ["bytes"], optional=True, description="a WAV, MP3, FLAC or OGG file; or else `voice`"
        ),
        tensor_spec(
            "voice", pb.U8, ["bytes"], optional=True, description="a registered voice, UTF-8", names_voice=True
        ),
        tensor_spec(
            "prompt_text",
            pb.U8,
            ["bytes"],
            optional=True,
            description="what the recording says, UTF-8",
            max_characters=MAX_PROMPT_TEXT,
        ),
        tensor_spec("rms", pb.F32, [1], optional=True, default=0.01, minimum=1e-6, maximum=1),
        tensor_spec("t_shift", pb.F32, [1], optional=True, default=0.9, minimum=0.01, maximum=10),
        tensor_spec("num_steps", pb.I32, [1], optional=True, default=4, minimum=1, maximum=64),
        tensor_spec("speed", pb.F32, [1], optional=True, default=1, minimum=0.25, maximum=4),
        tensor_spec("return_smooth", pb.I32, [1], optional=True, default=0, minimum=0, maximum=1),
        tensor_spec(
            "ref_duration", pb.I32, [1], optional=True, description="in seconds", default=5, minimum=1, maximum=30
        ),
        tensor_spec("seed", pb.I64, [1], optional=True, default=0, minimum=0),
        tensor_spec("audio_format", pb.U8, ["bytes"], optional=True, choices=tuple(FORMATS)),
        tensor_spec("locale", pb.U8, ["bytes"], optional=True, choices=LOCALES),
        tensor_spec("upstream", pb.I32, [1], optional=True, default=0, minimum=0, maximum=1),
        lexicons.SPEC,
    ],
    outputs=[
        tensor_spec("audio", pb.F32, ["samples"], description="mono; empty with audio_format"),
        tensor_spec("sample_rate", pb.I32, [1], description="48000 Hz"),
        tensor_spec("audio_file", pb.U8, ["bytes"], optional=True, description="with audio_format"),
        *SPECS,
    ],
)


def number(inputs: Mapping[str, Array], name: str, default: float) -> float:
    """A number as its caller wrote it: the F32 nearest to 0.9 is read as 0.9, so that bounds hold as documented."""
    if name not in inputs:
        return default
    value = inputs[name].reshape(())[()]
    return float(str(value)) if isinstance(value, np.float32) else float(value)


def flag(inputs: Mapping[str, Array], name: str) -> bool:
    """A switch, off by default.

    Raises:
        InvalidArgumentError: when it is neither 0 nor 1.
    """
    value = number(inputs, name, 0)
    if value not in (0, 1):
        raise invalid(name, f"expected 0 or 1, got {value:g}")
    return bool(value)


def text(inputs: Mapping[str, Array], name: str) -> str | None:
    """A UTF-8 text; None when it is absent.

    Raises:
        InvalidArgumentError: when it is no UTF-8.
    """
    if name not in inputs:
        return None
    try:
        return inputs[name].tobytes().decode()
    except UnicodeDecodeError as error:
        raise invalid(name, f"expected UTF-8: {error.reason} at byte {error.start}") from error


def invalid(name: str, description: str) -> InvalidArgumentError:
    """The error that names an input."""
    return InvalidArgumentError.of([FieldViolation(f'inputs["{name}"]', description)])
