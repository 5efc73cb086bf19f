"""Token embedding and text encoder, duration formula, and alignment of tokens to frames."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from kernelport_workers.luxtts.attention import Frames
from kernelport_workers.luxtts.config import ModelConfig
from kernelport_workers.luxtts.zipformer import Zipformer


class TextEncoder(Zipformer):
    """Encoder of embedded tokens; (B, S, text_embed_dim) to (B, S, feat_dim)."""

    def forward(self, embedded: Tensor, frames: Frames) -> Tensor:
        return self.run_stacks(self.in_proj(embedded), frames, None)


def pad_tokens(sequences: Sequence[Sequence[int]], pad_id: int) -> tuple[Tensor, Tensor]:
    """Right-pad token ids and append one pad token to each.

    Returns:
        Ids int64 (B, Smax+1) and the padding mask bool (B, Smax+1), true from each sequence's own end on.
    """
    width = max(map(len, sequences)) + 1
    ids = torch.full((len(sequences), width), pad_id, dtype=torch.int64)
    mask = torch.ones(len(sequences), width, dtype=torch.bool)
    for row, tokens in enumerate(sequences):
        ids[row, : len(tokens)] = torch.tensor(tokens, dtype=torch.int64)
        mask[row, : len(tokens)] = False
    return ids, mask


def frame_count(prompt_frames: int, prompt_tokens: int, text_tokens: int, speed: float) -> int:
    """Frames of prompt and speech together: the speech gets the prompt's frames per token, divided by ``speed``.

    Lp + ceil(Lp / P * T / speed), in float32 and in that order.
    """
    per_token = np.float32(prompt_frames) / np.float32(prompt_tokens)
    return prompt_frames + int(np.ceil(per_token * np.float32(text_tokens) / np.float32(speed)))


def align(text_embed: Tensor, token_count: int, frames: int) -> Tensor:
    """Stretch encoded tokens (S'+, F) evenly over ``frames`` frames.

    Returns:
        (frames, F).
    """
    return text_embed[token_rows(token_count, frames).to(text_embed.device)]


def token_rows(token_count: int, frames: int) -> Tensor:
    """Which encoded token each frame takes, int64 (frames,).

    Each of the ``token_count`` tokens takes ``frames // token_count`` frames; the remaining frames take the row after
    the last token, which belongs to the pad token.
    """
    per_token = frames // token_count
    index = torch.arange(frames)
    return (index // per_token if per_token else torch.full_like(index, token_count)).clamp_(max=token_count)


class TextModel(nn.Module):
    """Embedding table and text encoder together, named as in the checkpoint."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.pad_id = config.pad_id
        self.embed = nn.Embedding(config.vocab_size, config.text_encoder.in_dim)
        self.text_encoder = TextEncoder(config.text_encoder)

    def forward(self, sequences: Sequence[Sequence[int]]) -> Tensor:
        """Encode token ids; returns (B, Smax+1, feat_dim), row S of each item being its pad token."""
        device = self.embed.weight.device
        return self.encode(*(each.to(device) for each in pad_tokens(sequences, self.pad_id)))

    def encode(self, ids: Tensor, mask: Tensor) -> Tensor:
        """Encode what :func:`pad_tokens` gives, on the model's device, as (B, Smax+1, feat_dim)."""
        embedded = self.embed(ids)
        frames = Frames.of(embedded, ids.shape[1], self.text_encoder.config.pos_dim, mask)
        encoded: Tensor = self.text_encoder(embedded, frames)
        return encoded
