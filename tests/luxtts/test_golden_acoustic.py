"""The acoustic model reproduces the golden arrays of the original code."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from kernelport_workers.luxtts import ops
from kernelport_workers.luxtts.attention import Frames, StoredAttention
from kernelport_workers.luxtts.config import ZipformerConfig
from kernelport_workers.luxtts.decoder import FlowDecoder
from kernelport_workers.luxtts.solver import solve, timesteps
from kernelport_workers.luxtts.text_encoder import TextModel, align, frame_count
from kernelport_workers.luxtts.zipformer import BiasNorm, Downsample, ZipformerLayer, upsample
from tests.luxtts.conftest import Arrays, relative_error

Golden = Callable[[str], Arrays]
Acoustic = tuple[TextModel, FlowDecoder]
TOLERANCE = 2e-5
POS_DIM = 16


def tensor(array: Any) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(array))


def frames_of(length: int, mask: Tensor | None = None) -> Frames:
    return Frames.of(torch.zeros(1), length, POS_DIM, mask)


def full_sample(decoder: FlowDecoder, g: Arrays, item: slice, length: int, mask: Tensor | None) -> Tensor:
    """Integrate rows of a golden batch over its schedule with its own noise."""
    text, speech, noise = (tensor(g[name][item, :length]) for name in ("text_condition", "speech_condition", "noise"))
    condition = decoder.project_condition(text, speech)
    times = timesteps(int(g["num_step"]), float(g["t_shift"]))
    vectors = decoder.time_vectors(times[:-1], float(g["guidance_scale"]))
    frames = frames_of(length, mask)
    return solve(lambda x, step: decoder(x, condition, vectors[step], frames), noise, times)


def test_swoosh_functions(golden: Golden) -> None:
    g = golden("units")
    assert relative_error(ops.swoosh_l(tensor(g["swoosh_x"])), g["swoosh_l"]) < TOLERANCE
    assert relative_error(ops.swoosh_r(tensor(g["swoosh_x"])), g["swoosh_r"]) < TOLERANCE


def test_bias_norm(golden: Golden) -> None:
    g = golden("units")
    norm = BiasNorm(32)
    norm.load_state_dict({"log_scale": tensor(g["biasnorm_log_scale"]), "bias": tensor(g["biasnorm_bias"])})
    with torch.inference_mode():
        assert relative_error(norm(tensor(g["biasnorm_x"])), g["biasnorm_y"]) < TOLERANCE


@pytest.mark.parametrize("dim", [16, 192])
def test_sinusoidal_embedding(golden: Golden, dim: int) -> None:
    g = golden("units")
    assert relative_error(ops.sinusoidal_embedding(tensor(g["tsemb_t"]), dim), g[f"tsemb_dim{dim}"]) < TOLERANCE


@pytest.mark.parametrize("dim", [16, 48])
@pytest.mark.parametrize("length", [1, 5, 40])
def test_relative_positions(golden: Golden, dim: int, length: int) -> None:
    expected = golden("units")[f"relpos_dim{dim}_T{length}"][0]
    assert relative_error(ops.relative_positions(length, dim), expected) < TOLERANCE


def test_a_shorter_position_table_is_the_centre_of_a_longer_one() -> None:
    assert torch.equal(frames_of(40).table(5), ops.relative_positions(5, POS_DIM))


def test_downsample_and_upsample(golden: Golden) -> None:
    g = golden("units")
    module = Downsample(4)
    module.load_state_dict({"bias": tensor(g["down_bias"])})
    with torch.inference_mode():
        coarse = module(tensor(g["down_x"].transpose(1, 0, 2)))
    assert relative_error(coarse.transpose(0, 1), g["down_y"]) < TOLERANCE
    assert relative_error(upsample(coarse, 4).transpose(0, 1), g["up_y"]) < TOLERANCE


@pytest.mark.parametrize("shift", ["0.1", "0.5", "0.9", "1.0"])
@pytest.mark.parametrize("steps", [1, 2, 3, 4, 8])
def test_timesteps(golden: Golden, shift: str, steps: int) -> None:
    expected = golden("units")[f"timesteps_shift{shift}_n{steps}"]
    assert relative_error(timesteps(steps, float(shift)), expected) < TOLERANCE


def _kept(out: Tensor | StoredAttention) -> Tensor:
    return (out.weights if isinstance(out, StoredAttention) else out).clone()


def test_every_module_of_a_layer(golden: Golden, acoustic: Acoustic) -> None:
    """The golden layer adds a different time vector to each item, so the items run one by one, with their masks."""
    g = golden("layer")
    layer = acoustic[1].encoders[0].layers[0]  # type: ignore[index]
    assert isinstance(layer, ZipformerLayer)
    captured: dict[str, Tensor] = {}
    hooks = [
        child.register_forward_hook(lambda _m, _i, out, name=name: captured.update({name: _kept(out)}))
        for name, child in layer.named_children()
    ]
    for item in range(2):
        captured.clear()
        source = tensor(g["src"][:, item][None])
        mask = tensor(g["key_padding_mask"][item][None])
        with torch.inference_mode():
            out = layer(source, frames_of(9, mask), tensor(g["time_emb"][item]))
        real = ~g["key_padding_mask"][item]
        weights = captured.pop("self_attn_weights")
        assert relative_error(weights[0][:, real], g["self_attn_weights"][:, item][:, real]) < TOLERANCE
        for name, value in captured.items():
            assert relative_error(value[0][real], g[name][real, item]) < TOLERANCE, name
        assert relative_error(out[0][real], g["out"][real, item]) < TOLERANCE
    for hook in hooks:
        hook.remove()


@pytest.mark.parametrize("name", ["model_single", "model_batch"])
def test_text_encoder_and_alignment(golden: Golden, acoustic: Acoustic, name: str) -> None:
    g = golden(name)
    sequences = [
        [int(t) for t in (*prompt, *text) if t >= 0]
        for prompt, text in zip(g["prompt_tokens"], g["tokens"], strict=True)
    ]
    with torch.inference_mode():
        encoded = acoustic[0](sequences)
    for row, sequence in enumerate(sequences):
        rows = len(sequence) + 1
        frames = int(g["features_lens"][row])
        assert len(sequence) == g["tokens_lens"][row]
        assert relative_error(encoded[row, :rows], g["text_embed"][row, :rows]) < TOLERANCE
        condition = align(encoded[row], len(sequence), frames)
        assert relative_error(condition, g["text_condition"][row, :frames]) < TOLERANCE


@pytest.mark.parametrize("name", ["model_single", "model_batch"])
def test_frame_counts(golden: Golden, name: str) -> None:
    g = golden(name)
    for row, frames in enumerate(g["features_lens"]):
        prompt_frames = int(g["prompt_features_lens"][row])
        prompt, text = (int((g[key][row] >= 0).sum()) for key in ("prompt_tokens", "tokens"))
        assert frame_count(prompt_frames, prompt, text, float(g["speed"])) == frames


def test_decoder_projections_stacks_and_velocity(golden: Golden, acoustic: Acoustic) -> None:
    g, decoder = golden("model_single"), acoustic[1]
    stacks: list[Tensor] = []
    hooks = [stack.register_forward_hook(lambda _m, _i, out: stacks.append(out)) for stack in decoder.encoders]
    with torch.inference_mode():
        condition = decoder.project_condition(tensor(g["text_condition"]), tensor(g["speech_condition"]))
        vectors = decoder.time_vectors([float(g["fm_t"])], float(g["guidance_scale"]))[0]
        velocity = decoder(tensor(g["noise"]), condition, vectors, frames_of(condition.shape[1]))
        projected = decoder.project_input(tensor(g["noise"]), condition)
        embedded = decoder.embed_time([float(g["fm_t"])], float(g["guidance_scale"]))
    assert relative_error(projected.transpose(0, 1), g["fm_in_proj"]) < TOLERANCE
    assert relative_error(embedded, g["fm_time_embed"]) < TOLERANCE
    for hook in hooks:
        hook.remove()
    for index, out in enumerate(stacks):
        assert relative_error(out.transpose(0, 1), g[f"fm_stack{index}_out"]) < TOLERANCE
    assert relative_error(velocity, g["fm_v"]) < TOLERANCE


def test_sampling_one_utterance(golden: Golden, acoustic: Acoustic) -> None:
    g = golden("model_single")
    with torch.inference_mode():
        state = full_sample(acoustic[1], g, slice(0, 1), g["noise"].shape[1], None)
    assert relative_error(state, g["sample_full"]) < TOLERANCE
    assert relative_error(state[:, int(g["prompt_features_lens"][0]) :], g["sample"]) < TOLERANCE


def test_a_padded_batch_gives_every_item_its_run_alone_result(golden: Golden, acoustic: Acoustic) -> None:
    g, alone, decoder = golden("model_batch"), golden("model_batch_run_alone"), acoustic[1]
    with torch.inference_mode():
        state = full_sample(decoder, g, slice(None), g["noise"].shape[1], tensor(g["padding_mask"]))
        condition = decoder.project_condition(tensor(g["text_condition"]), tensor(g["speech_condition"]))
        vectors = decoder.time_vectors([float(g["fm_t"])], float(g["guidance_scale"]))[0]
        frames = frames_of(condition.shape[1], tensor(g["padding_mask"]))
        velocity = decoder(tensor(g["noise"]), condition, vectors, frames)
    for item, length in enumerate(g["features_lens"]):
        assert relative_error(velocity[item : item + 1, :length], alone[f"fm_v_item{item}"]) < TOLERANCE
        assert relative_error(state[item : item + 1, :length], alone[f"sample_full_item{item}"]) < TOLERANCE


def test_half_precision_stays_close(golden: Golden, acoustic: Acoustic) -> None:
    g = golden("model_single")
    config: ZipformerConfig = acoustic[1].config
    decoder = FlowDecoder(config)
    decoder.load_state_dict(acoustic[1].state_dict())
    with torch.inference_mode():
        decoder = decoder.to(torch.bfloat16)
        condition = decoder.project_condition(
            *(tensor(g[name]).bfloat16() for name in ("text_condition", "speech_condition"))
        )
        vectors = decoder.time_vectors([float(g["fm_t"])], float(g["guidance_scale"]))[0]
        frames = Frames.of(condition, condition.shape[1], POS_DIM)
        velocity = decoder(tensor(g["noise"]), condition, vectors, frames)
    assert velocity.dtype == torch.bfloat16
    assert relative_error(velocity.float(), g["fm_v"]) < 0.05
