"""What a manifest's `options` say about LuxTTS, and where and how the engine therefore runs."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Literal, cast, get_args

from kernelport.config.manifests import Manifest, OptionValue
from kernelport.counting import counted
from kernelport.errors import in_words, install_hint
from kernelport.text import Locale, locale_named
from kernelport_workers.backends.base import LoadError
from kernelport_workers.backends.loading import import_attribute
from kernelport_workers.luxtts.errors import DependencyError

if TYPE_CHECKING:
    from kernelport_workers.luxtts import Transcriber
    from kernelport_workers.luxtts.pipeline import ComputePath
    from kernelport_workers.luxtts.tokenizer import Phonemizer

Precision = Literal["float32", "float16", "bfloat16", "int8"]

KNOWN = ("transcriber", "phonemizer", "precision", "kernels", "locale", "lexicon")
# Those that change no result but by rounding.
COMPUTE_OPTIONS = frozenset({"precision", "kernels"})


class Options:
    """The options of one manifest.

    Attributes:
        transcriber: a faster-whisper model by name or folder, or `module:attribute`, called without arguments for a
            Transcriber; None for none.
        phonemizer: `module:attribute` of a function from English text to phonemes; None for espeak.
        precision: element type of the acoustic model on a GPU, and of its linear layers on a CPU.
        locale: how dates are read and numbers said where a request does not say it.
        kernels: whether a GPU measures CUDA graphs and fused kernels at load and keeps those that are faster.
    """

    def __init__(self, values: Mapping[str, OptionValue]) -> None:
        unknown = values.keys() - set(KNOWN)
        if unknown:
            raise LoadError(f"options: expected one of {', '.join(KNOWN)}, got {', '.join(sorted(unknown))}")
        self.transcriber = _string(values, "transcriber")
        self.phonemizer = _string(values, "phonemizer")
        precision = _string(values, "precision") or "float32"
        if precision not in get_args(Precision):
            raise LoadError(f"options.precision: expected one of {', '.join(get_args(Precision))}, got {precision!r}")
        self.precision = cast(Precision, precision)
        kernels = values.get("kernels", True)
        if not isinstance(kernels, bool):
            raise LoadError(f"options.kernels: expected true or false, got {kernels!r}")
        self.kernels = kernels
        try:
            self.locale: Locale = locale_named(values.get("locale", "en-US"))
        except ValueError as error:
            raise LoadError(f"options.locale: {error}") from error

    def load_phonemizer(self) -> "Phonemizer":
        """The phonemizer, after it has read a word.

        Raises:
            LoadError: when it is missing or does not work.
        """
        from kernelport_workers.luxtts.tokenizer import espeak_phonemes

        phonemize = import_attribute(self.phonemizer) if self.phonemizer else espeak_phonemes
        try:
            phonemes = phonemize("Ready.")
        except DependencyError as error:
            raise LoadError(f"{error}: {install_hint('luxtts-english')}; or name options.phonemizer") from error
        # A phonemizer is anybody's code.
        except Exception as error:
            raise LoadError(f"the phonemizer does not work: {in_words(error)}") from error
        if not isinstance(phonemes, str) or not phonemes:
            raise LoadError(f"options.phonemizer: expected a function that returns phonemes, got {phonemes!r}")
        return cast("Phonemizer", phonemize)

    def load_transcriber(self, manifest: Manifest, device: str) -> "Transcriber | None":
        """The transcriber; its model is loaded when the first recording without a transcript comes."""
        if self.transcriber is None:
            return None
        from kernelport_workers.luxtts.transcribe import FasterWhisper, Remembering

        if ":" in self.transcriber:
            return Remembering(import_attribute(self.transcriber)())
        beside = manifest.file.parent / self.transcriber
        model = str(beside) if beside.is_dir() else self.transcriber
        kind = device.partition(":")[0]
        return Remembering(FasterWhisper(model, kind, "float16" if kind == "cuda" else "int8"))


def choose_device(name: str, files: Mapping[str, Path]) -> str:
    """The device for a deployment's `device`: a GPU runs PyTorch, so it needs the file of role `model`.

    Raises:
        LoadError: when the device is not here, or lacks what it needs.
    """
    import torch

    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if name == "cpu" or (name == "auto" and not (count and "model" in files)):
        return "cpu"
    index = int(name.partition(":")[2] or 0)
    if index >= count:
        raise LoadError(
            f"device {name}: torch {torch.__version__} sees {counted(count, 'CUDA device')}; use cpu or auto"
        )
    if "model" not in files:
        raise LoadError(f"device {name}: a GPU runs the manifest's file of role `model`, and there is none")
    return f"cuda:{index}"


def choose_compute(device: str, files: Mapping[str, Path], precision: Precision = "float32") -> "ComputePath":
    """The fastest path of a precision that the manifest has the files of.

    Raises:
        LoadError: when it has those of none, or the device does not run int8.
    """
    if precision == "int8" and device != "cpu":
        raise LoadError(f"options.precision: int8 is for a CPU, and the device is {device}")
    if device == "cpu":
        if precision in ("int8", "bfloat16") and "model" in files:
            from kernelport_workers.luxtts.cpu_layers import has_bfloat16, has_int8

            if precision == "int8" and has_int8():
                return "torch-int8"
            if precision == "bfloat16" and has_bfloat16():
                return "torch-bf16"
        if {"text_encoder_int8", "fm_decoder_int8"} <= files.keys():
            return "onnx-int8"
        if "model" not in files and {"text_encoder", "fm_decoder"} <= files.keys():
            return "onnx"
    if "model" not in files:
        raise LoadError(
            "the manifest names no weights: expected files of role `model`, or `text_encoder_int8` and "
            "`fm_decoder_int8`, or `text_encoder` and `fm_decoder`"
        )
    return "torch"


def _string(values: Mapping[str, OptionValue], name: str) -> str | None:
    value = values.get(name)
    if value is not None and (not isinstance(value, str) or not value):
        raise LoadError(f"options.{name}: expected a text that is not empty, got {value!r}")
    return value
