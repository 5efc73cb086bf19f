"""A checkpoint of the published shape with random weights, for measuring speed where no weights can be had."""

from __future__ import annotations

import json
from pathlib import Path

import torch
import yaml
from torch import Tensor

from kernelport_workers.luxtts import onnx_export
from kernelport_workers.luxtts.config import SAMPLE_RATE, ModelConfig, VocoderConfig
from kernelport_workers.luxtts.decoder import FlowDecoder
from kernelport_workers.luxtts.text_encoder import TextModel
from kernelport_workers.luxtts.vocoder import Vocoder

MODEL = {
    "fm_decoder_downsampling_factor": [1, 2, 4, 2, 1],
    "fm_decoder_num_layers": [2, 2, 4, 4, 4],
    "fm_decoder_cnn_module_kernel": [31, 15, 7, 15, 31],
    "fm_decoder_feedforward_dim": 1536,
    "fm_decoder_num_heads": 4,
    "fm_decoder_dim": 512,
    "text_encoder_num_layers": 4,
    "text_encoder_feedforward_dim": 512,
    "text_encoder_cnn_module_kernel": 9,
    "text_encoder_num_heads": 4,
    "text_encoder_dim": 192,
    "query_head_dim": 32,
    "value_head_dim": 12,
    "pos_head_dim": 4,
    "pos_dim": 48,
    "time_embed_dim": 192,
    "text_embed_dim": 192,
    "feat_dim": 100,
}
_VOCODER = {
    "backbone": {"input_channels": 100, "dim": 512, "intermediate_dim": 1536, "num_layers": 8},
    "head": {"dim": 512, "n_fft": 1024, "hop_length": 256},
    "upsampler": {"in_channels": 512, "upsample_factors": [2, 1], "kernel_sizes": [8, 8]},
    "head_48k": {"dim": 512, "n_fft": 1024, "hop_length": 256},
}


def random_checkpoint(root: Path, graphs: bool = True) -> Path:
    """Write a random checkpoint at the published dimensions, laid out as published; about 1.2 GB with the graphs."""
    config = ModelConfig.from_mapping({"model": MODEL, "feature": {"sampling_rate": SAMPLE_RATE}}, vocab_size=360)
    with torch.device("meta"):
        text, decoder = TextModel(config), FlowDecoder(config.fm_decoder)
        vocoder = Vocoder(VocoderConfig.from_mapping({k: {"init_args": v} for k, v in _VOCODER.items()}))
    state = text.state_dict() | {f"fm_decoder.{name}": tensor for name, tensor in decoder.state_dict().items()}
    generator = torch.Generator().manual_seed(0)
    (root / "vocoder").mkdir(parents=True, exist_ok=True)
    (root / "config.json").write_text(json.dumps({"model": MODEL, "feature": {"sampling_rate": SAMPLE_RATE}}))
    (root / "tokens.txt").write_text("".join(f"token{index}\t{index}\n" for index in range(360)), encoding="utf-8")
    blocks = {name: {"class_path": name, "init_args": arguments} for name, arguments in _VOCODER.items()}
    (root / "vocoder" / "config.yaml").write_text(yaml.safe_dump(blocks))
    torch.save({"model": {name: _random(name, t, generator) for name, t in state.items()}}, root / "model.pt")
    weights = {name: _random(name, t, generator) for name, t in vocoder.state_dict().items()}
    torch.save(weights, root / "vocoder" / "vocos.bin")
    if graphs:
        onnx_export.export(root)
    return root


def _random(name: str, like: Tensor, generator: torch.Generator) -> Tensor:
    fan_in = like[0].numel() if like.dim() > 1 else 1
    values = torch.randn(like.shape, generator=generator) * (0.5 / fan_in**0.5 if like.dim() > 1 else 0.05)
    return values.abs() + 0.5 if name.endswith(("bypass_scale", "alpha")) else values
