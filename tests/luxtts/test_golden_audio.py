"""Features, resampling and vocoder reproduce the golden arrays of the original code."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from kernelport_workers.luxtts import features, prompt
from kernelport_workers.luxtts.vocoder import (
    Vocoder,
    double_rate,
    fold_weight_norm,
    merge_bands,
    resampling_kernel,
)
from tests.luxtts.conftest import GOLDEN, Arrays, relative_error

Golden = Callable[[str], Arrays]
TOLERANCE = 1e-4


def test_mel_filterbank_and_log_mel(golden: Golden) -> None:
    g = golden("features")
    assert relative_error(features.mel_filterbank(), g["mel_fb"]) < TOLERANCE
    assert relative_error(features.log_mel(torch.from_numpy(g["wav"])), g["mel_log"]) < TOLERANCE


def test_feature_frame_counts(golden: Golden) -> None:
    g = golden("features")
    assert [features.frame_count(int(n)) for n in g["frame_count_samples"]] == g["frame_count"].tolist()


@pytest.mark.parametrize("target", [0.001, 0.01, 0.1])
def test_loudness_is_raised_never_lowered(golden: Golden, target: float) -> None:
    g = golden("features")
    raised, level = features.raise_to(torch.from_numpy(g["wav"]), target)
    assert level == pytest.approx(float(g[f"rms_target{target}_rms_in"]), rel=1e-5)
    assert features.rms(raised) == pytest.approx(float(g[f"rms_target{target}_rms_out"]), rel=1e-5)
    assert relative_error(raised[:64], g[f"rms_target{target}_wav_first64"]) < TOLERANCE
    quiet = torch.from_numpy(g["wav"]) * (0.5 * target / level)
    assert features.rms(features.raise_to(quiet, target)[0]) == pytest.approx(target, rel=1e-5)


def test_prompt_features(golden: Golden) -> None:
    g = golden("features")
    used, mel, _ = prompt.prepare(g["wav"], 5.0, 0.1, upstream=True)
    assert len(used) == len(g["wav"])
    assert relative_error(mel, g["prompt_features_target0.1"]) < TOLERANCE


def test_resampling_from_44100_hz(golden: Golden) -> None:
    g = golden("features")
    assert relative_error(prompt.resample(g["resample44_x"], 44_100, 24_000), g["resample44_to24_soxr_hq"]) < TOLERANCE


@pytest.mark.parametrize("case", ["L3", "L14", "L40"])
def test_vocoder_output(golden: Golden, vocoder: Vocoder, case: str) -> None:
    g = golden("vocoder")
    mel = torch.from_numpy(g[f"{case}_mel"])
    with torch.inference_mode():
        assert relative_error(vocoder(mel), g[f"{case}_out_48k"]) < TOLERANCE
        assert relative_error(vocoder(mel, smooth=True), g[f"{case}_out_smooth"]) < TOLERANCE


def test_vocoder_stages(golden: Golden, vocoder: Vocoder) -> None:
    g = golden("vocoder")
    with torch.inference_mode():
        hidden = vocoder.backbone(torch.from_numpy(g["L14_mel"]))
        upsampled, _ = vocoder.upsampler(hidden)
        low = vocoder.head(hidden)
        stages = {
            "backbone": hidden,
            "upsampler": upsampled,
            "head_48k": vocoder.head_48k(upsampled),
            "head_24k": low,
            "resampled": double_rate(low, resampling_kernel()),
        }
    for name, value in stages.items():
        assert relative_error(value, g[f"L14_{name}"]) < TOLERANCE, name


def test_rate_doubling_and_band_merge(golden: Golden) -> None:
    g = golden("vocoder")
    kernel = resampling_kernel()
    assert relative_error(kernel, g["resample_kernel"]) < TOLERANCE
    assert relative_error(double_rate(torch.from_numpy(g["resample_x"]), kernel), g["resample_y"]) < TOLERANCE
    high, low = torch.from_numpy(g["xover_hi"]), torch.from_numpy(g["xover_lo"])
    for crossover in (4_000, 12_000):
        assert relative_error(merge_bands(high, low, crossover), g[f"xover_{crossover}"]) < TOLERANCE


@pytest.mark.parametrize(
    "names", [("parametrizations.weight.original0", "parametrizations.weight.original1"), ("weight_g", "weight_v")]
)
def test_weight_norm_is_folded(names: tuple[str, str]) -> None:
    key = "upsampler.upsample_layers.0"
    plain = load_file(GOLDEN / "tiny_vocos.safetensors")[f"{key}.weight"].float()
    magnitude = plain.flatten(1).norm(dim=1).view(-1, 1, 1)
    folded = fold_weight_norm({f"{key}.{names[0]}": magnitude, f"{key}.{names[1]}": plain * 3.0})
    assert list(folded) == [f"{key}.weight"]
    assert relative_error(folded[f"{key}.weight"], plain) < 1e-6


def test_frames_further_than_the_receptive_field_do_not_reach_the_backbone(vocoder: Vocoder) -> None:
    mel = torch.from_numpy(np.random.default_rng(0).standard_normal((1, 100, 40)).astype(np.float32))
    changed = mel.clone()
    changed[..., 0] += 1.0
    with torch.inference_mode():
        difference = (vocoder.backbone(mel) - vocoder.backbone(changed)).abs().amax(dim=2)[0]
    reach = 3 * (1 + len(vocoder.backbone.convnext))
    assert float(difference[reach + 1 :].max()) == 0.0
    assert float(difference[reach]) > 0.0
