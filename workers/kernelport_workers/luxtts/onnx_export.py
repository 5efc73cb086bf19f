"""Export a checkpoint to the two published ONNX graphs, optionally quantised; needs the ``onnx`` package.

Input and output names, ranks and the duration formula inside the text encoder are those of the published files, so
that graphs of a fine-tuned checkpoint and the published graphs are interchangeable.
"""

from __future__ import annotations

import warnings
from pathlib import Path

import torch
from torch import Tensor, nn

from kernelport_workers.luxtts.checkpoint import CheckpointFiles, read_state_dict
from kernelport_workers.luxtts.errors import DependencyError
from kernelport_workers.luxtts.reference import ReferenceModel

_OPSET = 13


class _Graph(nn.Module):
    """A model whose tensors are registered, so that the exporter stores them as (foldable) initializers."""

    def __init__(self, model: ReferenceModel) -> None:
        super().__init__()
        self.model = model
        for name, tensor in model.tensors.items():
            self.register_buffer(name.replace(".", "/"), tensor)


class TextGraph(_Graph):
    """Tokens to frame-aligned text condition; the speed divides the reference part too, as in the published graph."""

    def forward(self, tokens: Tensor, prompt_tokens: Tensor, prompt_features_len: Tensor, speed: Tensor) -> Tensor:
        count = torch.tensor(prompt_tokens.shape[1] + tokens.shape[1])
        per_token = prompt_features_len / torch.tensor(prompt_tokens.shape[1])
        frames = torch.ceil(per_token * count / speed).to(torch.int64)
        encoded = self.model.encode_text(torch.cat([prompt_tokens, tokens], dim=1))
        repeat = torch.div(frames, count, rounding_mode="floor")
        steps = torch.arange(frames)  # type: ignore[call-overload]
        rows = torch.div(steps, repeat.clamp(min=1), rounding_mode="floor")
        rows = torch.where(repeat > 0, torch.minimum(rows, count), count)
        return encoded.index_select(1, rows)


class DecoderGraph(_Graph):
    """Velocity of the flow decoder, without a padding mask."""

    def forward(
        self, t: Tensor, x: Tensor, text_condition: Tensor, speech_condition: Tensor, guidance_scale: Tensor
    ) -> Tensor:
        return self.model.velocity(t, x, text_condition, speech_condition, guidance_scale)


def export(root: str | Path, int8: bool = True) -> list[Path]:
    """Write ``text_encoder.onnx`` and ``fm_decoder.onnx``, and their ``_int8`` forms, beside a checkpoint.

    Args:
        root: Model directory with ``config.json``, ``tokens.txt`` and ``model.pt`` or ``model.safetensors``.
        int8: Also quantise the weights of matrix products to signed bytes (dynamic activations).

    Returns:
        The paths written.

    Raises:
        CheckpointError: The checkpoint cannot be loaded.
        DependencyError: ``onnx`` or ``onnxruntime`` is not installed.
    """
    try:
        import onnx  # noqa: F401
        from onnxruntime.quantization import QuantType, quantize_dynamic
    except ImportError as error:
        raise DependencyError("exporting graphs needs the packages onnx and onnxruntime") from error
    files = CheckpointFiles.open(root)
    weights = next(files.root / name for name in ("model.safetensors", "model.pt") if (files.root / name).is_file())
    model = ReferenceModel(files.config, read_state_dict(weights))
    features = torch.zeros(1, 12, files.config.feat_dim)
    tokens = torch.ones(1, 5, dtype=torch.int64)
    paths = [
        _export(
            TextGraph(model),
            (tokens, tokens[:, :3], torch.tensor(9), torch.tensor(1.0)),
            {"tokens": (0, 1), "prompt_tokens": (0, 1), "prompt_features_len": (), "speed": ()},
            "text_condition",
            files.root / "text_encoder.onnx",
        ),
        _export(
            DecoderGraph(model),
            (torch.tensor(0.5), features, features, features, torch.tensor(3.0)),
            {"t": (), "x": (0, 1), "text_condition": (0, 1), "speech_condition": (0, 1), "guidance_scale": ()},
            "v",
            files.root / "fm_decoder.onnx",
        ),
    ]
    if int8:
        for path in list(paths):
            quantised = path.with_name(f"{path.stem}_int8.onnx")
            quantize_dynamic(path, quantised, op_types_to_quantize=["MatMul"], weight_type=QuantType.QInt8)
            paths.append(quantised)
    return paths


def _export(
    graph: nn.Module, example: tuple[Tensor, ...], inputs: dict[str, tuple[int, ...]], output: str, path: Path
) -> Path:
    axes = {0: "N", 1: "T"}
    dynamic = {name: {axis: axes[axis] for axis in used} for name, used in inputs.items() if used}
    with warnings.catch_warnings(), torch.inference_mode():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            graph,
            example,
            str(path),
            input_names=list(inputs),
            output_names=[output],
            dynamic_axes=dynamic | {output: {0: "N", 1: "frames"}},
            opset_version=_OPSET,
            dynamo=False,
        )
    return path
