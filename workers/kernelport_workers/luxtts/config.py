"""Model dimensions, read from ``config.json`` (or ``model.json``) and ``vocoder/config.yaml``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from kernelport_workers.luxtts.errors import CheckpointError

GUIDANCE_EMBED_DIM = 192
"""Width of the sinusoidal guidance embedding; fixed, whatever ``time_embed_dim`` is."""

SAMPLE_RATE = 24_000
"""Rate of the reference features in Hz."""

OUTPUT_SAMPLE_RATE = 48_000
"""Rate of the generated audio in Hz."""

N_FFT = 1024
HOP_LENGTH = 256
FEATURE_SCALE = 0.1
"""The acoustic model sees natural-log mel energies times this."""


@dataclass(frozen=True, slots=True)
class ZipformerConfig:
    """One Zipformer: a series of stacks, each working at 1/``downsampling[i]`` of the frame rate."""

    in_dim: int
    out_dim: int
    dim: int
    num_layers: tuple[int, ...]
    downsampling: tuple[int, ...]
    conv_kernels: tuple[int, ...]
    feedforward_dim: int
    num_heads: int
    query_head_dim: int
    value_head_dim: int
    pos_head_dim: int
    pos_dim: int
    time_embed_dim: int | None

    def __post_init__(self) -> None:
        if not len(self.num_layers) == len(self.downsampling) == len(self.conv_kernels) > 0:
            raise CheckpointError(
                "config: num_layers, downsampling_factor and cnn_module_kernel must have one entry per stack, got "
                f"{len(self.num_layers)}, {len(self.downsampling)} and {len(self.conv_kernels)}"
            )
        if any(kernel % 2 == 0 for kernel in self.conv_kernels):
            raise CheckpointError(f"config: cnn_module_kernel must be odd, got {list(self.conv_kernels)}")


@dataclass(frozen=True, slots=True)
class ModelConfig:
    """The acoustic model: token embedding, text encoder and flow-matching decoder."""

    text_encoder: ZipformerConfig
    fm_decoder: ZipformerConfig
    vocab_size: int
    pad_id: int
    feat_dim: int

    @classmethod
    def from_mapping(cls, raw: Mapping[str, Any], vocab_size: int, pad_id: int = 0) -> ModelConfig:
        """Read the ``model`` and ``feature`` sections of a published configuration.

        Args:
            raw: Parsed JSON. Unknown keys are ignored; ``vocab_size`` and ``pad_id`` inside it win over the arguments.
            vocab_size: Number of lines of ``tokens.txt``.
            pad_id: Id of the padding token.

        Raises:
            CheckpointError: A key is absent or has the wrong type, or the sampling rate is not 24 kHz.
        """
        model = _section(raw, "model")
        rate = _section(raw, "feature").get("sampling_rate", SAMPLE_RATE)
        if rate != SAMPLE_RATE:
            raise CheckpointError(f"config: feature.sampling_rate is {rate!r}, expected {SAMPLE_RATE}")
        feat_dim = _integer(model, "feat_dim")
        heads = {key: _integer(model, key) for key in ("query_head_dim", "value_head_dim", "pos_head_dim", "pos_dim")}
        text_encoder = ZipformerConfig(
            in_dim=_integer(model, "text_embed_dim"),
            out_dim=feat_dim,
            dim=_integer(model, "text_encoder_dim"),
            num_layers=(_integer(model, "text_encoder_num_layers"),),
            downsampling=(1,),
            conv_kernels=(_integer(model, "text_encoder_cnn_module_kernel"),),
            feedforward_dim=_integer(model, "text_encoder_feedforward_dim"),
            num_heads=_integer(model, "text_encoder_num_heads"),
            time_embed_dim=None,
            **heads,
        )
        fm_decoder = ZipformerConfig(
            in_dim=3 * feat_dim,
            out_dim=feat_dim,
            dim=_integer(model, "fm_decoder_dim"),
            num_layers=_integers(model, "fm_decoder_num_layers"),
            downsampling=_integers(model, "fm_decoder_downsampling_factor"),
            conv_kernels=_integers(model, "fm_decoder_cnn_module_kernel"),
            feedforward_dim=_integer(model, "fm_decoder_feedforward_dim"),
            num_heads=_integer(model, "fm_decoder_num_heads"),
            time_embed_dim=_integer(model, "time_embed_dim"),
            **heads,
        )
        return cls(
            text_encoder=text_encoder,
            fm_decoder=fm_decoder,
            vocab_size=int(model.get("vocab_size", vocab_size)),
            pad_id=int(model.get("pad_id", pad_id)),
            feat_dim=feat_dim,
        )


@dataclass(frozen=True, slots=True)
class VocoderConfig:
    """The mel-to-audio network; without ``upsample_factors`` it has the 24 kHz head only."""

    input_channels: int
    dim: int
    intermediate_dim: int
    num_layers: int
    upsample_factors: tuple[int, ...] = ()
    upsample_kernels: tuple[int, ...] = ()

    @classmethod
    def from_mapping(cls, raw: Mapping[str, Any]) -> VocoderConfig:
        """Read the ``init_args`` of each block of ``vocoder/config.yaml``; class paths are never imported.

        Raises:
            CheckpointError: A block or key is absent, or the transform sizes are not those of the published vocoder.
        """
        backbone = _init_args(raw, "backbone")
        for head in ("head", "head_48k"):
            if head in raw:
                args = _init_args(raw, head)
                sizes = (_integer(args, "n_fft"), _integer(args, "hop_length"))
                if sizes != (N_FFT, HOP_LENGTH):
                    raise CheckpointError(
                        f"vocoder config: {head} (n_fft, hop_length) is {sizes}, expected (1024, 256)"
                    )
        factors: tuple[int, ...] = ()
        kernels: tuple[int, ...] = ()
        if "upsampler" in raw:
            upsampler = _init_args(raw, "upsampler")
            factors = _integers(upsampler, "upsample_factors")
            kernels = _integers(upsampler, "kernel_sizes") if "kernel_sizes" in upsampler else (8,) * len(factors)
        return cls(
            input_channels=_integer(backbone, "input_channels"),
            dim=_integer(backbone, "dim"),
            intermediate_dim=_integer(backbone, "intermediate_dim"),
            num_layers=_integer(backbone, "num_layers"),
            upsample_factors=factors,
            upsample_kernels=kernels,
        )


def _section(raw: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    value = raw.get(key)
    if not isinstance(value, Mapping):
        raise CheckpointError(f"config: section {key!r} is absent or is not a mapping")
    return value


def _init_args(raw: Mapping[str, Any], block: str) -> Mapping[str, Any]:
    return _section(_section(raw, block), "init_args")


def _integer(raw: Mapping[str, Any], key: str) -> int:
    value = raw.get(key)
    if not isinstance(value, int) or isinstance(value, bool) or value <= 0:
        raise CheckpointError(f"config: {key} is {value!r}, expected a positive integer")
    return value


def _integers(raw: Mapping[str, Any], key: str) -> tuple[int, ...]:
    value = raw.get(key)
    if not isinstance(value, Sequence) or isinstance(value, str) or not value:
        raise CheckpointError(f"config: {key} is {value!r}, expected a list of positive integers")
    return tuple(_integer({key: item}, key) for item in value)
