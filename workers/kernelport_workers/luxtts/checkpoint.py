"""Find and load the published files: LuxTTS repositories and ZipVoice-Distill directories of the same architecture."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import yaml
from safetensors.torch import load_file
from torch import Tensor, nn

from kernelport_workers.luxtts.config import ModelConfig, VocoderConfig
from kernelport_workers.luxtts.decoder import FlowDecoder
from kernelport_workers.luxtts.errors import CheckpointError
from kernelport_workers.luxtts.text_encoder import TextModel
from kernelport_workers.luxtts.vocoder import Vocoder, fold_weight_norm

_MODEL_FILES = ("model.safetensors", "model.pt")
_CONFIG_FILES = ("config.json", "model.json")
_VOCODER_FILES = ("vocos.safetensors", "vocos.bin", "pytorch_model.bin")
_CONSTANT_BUFFERS = ("feature_extractor.", "head.istft.", "head_48k.istft.")


@dataclass(frozen=True, slots=True)
class CheckpointFiles:
    """Paths inside one model directory.

    Attributes:
        root: The directory.
        config: Parsed ``config.json`` or ``model.json``.
        tokens: Parsed ``tokens.txt``: token to id.
    """

    root: Path
    config: ModelConfig
    tokens: dict[str, int]

    @classmethod
    def open(cls, root: str | Path) -> CheckpointFiles:
        """Read the configuration and the token table of a model directory.

        Raises:
            CheckpointError: A file is absent or malformed.
        """
        directory = Path(root)
        tokens = read_tokens(_existing(directory, ("tokens.txt",)))
        raw = _read_json(_existing(directory, _CONFIG_FILES))
        return cls(directory, ModelConfig.from_mapping(raw, len(tokens), tokens.get("_", 0)), tokens)

    def graph(self, name: str, int8: bool) -> Path:
        """Path of the ONNX graph ``text_encoder`` or ``fm_decoder``, quantised or not."""
        return _existing(self.root, (f"{name}_int8.onnx" if int8 else f"{name}.onnx",))


def read_tokens(path: Path) -> dict[str, int]:
    """Read ``token<TAB>id`` lines, UTF-8; a token may be a single space.

    Raises:
        CheckpointError: A line has no tab or its id is not an integer.
    """
    table: dict[str, int] = {}
    for number, line in enumerate(path.read_text(encoding="utf-8").split("\n"), start=1):
        if not line.rstrip():
            continue
        token, tab, index = line.rstrip().rpartition("\t")
        if not tab or not index.isdecimal():
            raise CheckpointError(f"{path.name} line {number}: {line!r}, expected token<TAB>id")
        table[token] = int(index)
    return table


def load_acoustic_model(
    files: CheckpointFiles, device: torch.device, dtype: torch.dtype = torch.float32
) -> tuple[TextModel, FlowDecoder]:
    """Load text encoder and decoder from ``model.safetensors`` or ``model.pt``.

    Raises:
        CheckpointError: No file, or a tensor is absent, unexpected or of the wrong shape (named in the message).
    """
    path = _existing(files.root, _MODEL_FILES)
    state = read_state_dict(path)
    with torch.device("meta"):
        text, decoder = TextModel(files.config), FlowDecoder(files.config.fm_decoder)
    _assign(text, {k: v for k, v in state.items() if not k.startswith("fm_decoder.")}, path.name)
    prefix = "fm_decoder."
    _assign(decoder, {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}, path.name, prefix)
    return text.to(device, dtype).eval(), decoder.to(device, dtype).eval()


def load_vocoder(directory: Path, device: torch.device) -> Vocoder:
    """Load the vocoder from a directory holding ``config.yaml`` and ``vocos.bin``; always float32.

    Raises:
        CheckpointError: As for :func:`load_acoustic_model`.
    """
    config_path = _existing(directory, ("config.yaml",))
    try:
        raw = yaml.safe_load(config_path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise CheckpointError(f"{config_path.name}: not valid YAML: {error}") from error
    if not isinstance(raw, Mapping):
        raise CheckpointError(f"{config_path.name}: expected a mapping of blocks")
    path = _existing(directory, _VOCODER_FILES)
    state = {k: v for k, v in read_state_dict(path).items() if not k.startswith(_CONSTANT_BUFFERS)}
    vocoder = Vocoder(VocoderConfig.from_mapping(raw))
    _assign(vocoder, fold_weight_norm(state), path.name)
    return vocoder.to(device).eval()


def read_state_dict(path: Path) -> dict[str, Tensor]:
    """Read tensors by name, as float32 on the CPU.

    ``.safetensors`` files are read as such, everything else with ``torch.load(weights_only=True)``. A dictionary under
    the key ``model`` or ``state_dict`` is unwrapped and a ``module.`` prefix removed.

    Raises:
        CheckpointError: The file cannot be read or holds something else than tensors.
    """
    try:
        if path.suffix == ".safetensors":
            loaded: Any = load_file(path)
        else:
            loaded = torch.load(path, map_location="cpu", weights_only=True)
    # What the readers raise over a damaged file has no common base but Exception.
    except Exception as error:
        raise CheckpointError(f"{path.name}: cannot be read as tensors only: {error}") from error
    for key in ("model", "state_dict"):
        if isinstance(loaded, Mapping) and isinstance(loaded.get(key), Mapping):
            loaded = loaded[key]
    if not isinstance(loaded, Mapping) or not all(isinstance(value, Tensor) for value in loaded.values()):
        raise CheckpointError(f"{path.name}: expected a dictionary of tensors")
    return {str(key).removeprefix("module."): value.float() for key, value in loaded.items()}


def _assign(module: nn.Module, state: Mapping[str, Tensor], file: str, prefix: str = "") -> None:
    expected = module.state_dict()
    for name in sorted(expected.keys() | state.keys()):
        if name not in state:
            raise CheckpointError(f"{file}: tensor {prefix}{name} is absent, expected {tuple(expected[name].shape)}")
        if name not in expected:
            raise CheckpointError(f"{file}: tensor {prefix}{name} is not part of this architecture")
        if expected[name].shape != state[name].shape:
            raise CheckpointError(
                f"{file}: tensor {prefix}{name} has shape {tuple(state[name].shape)}, "
                f"expected {tuple(expected[name].shape)}"
            )
    module.load_state_dict(state, assign=True)


def _existing(directory: Path, names: tuple[str, ...]) -> Path:
    for name in names:
        if (directory / name).is_file():
            return directory / name
    raise CheckpointError(f"{directory}: {' or '.join(names)} not found")


def _read_json(path: Path) -> Mapping[str, Any]:
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, OSError) as error:
        raise CheckpointError(f"{path.name}: not valid JSON: {error}") from error
    if not isinstance(raw, Mapping):
        raise CheckpointError(f"{path.name}: expected a JSON object")
    return raw
