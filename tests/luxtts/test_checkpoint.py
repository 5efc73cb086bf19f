"""Checkpoints: every published layout loads, and every fault names the file and tensor."""

from __future__ import annotations

import json
import pickle
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from safetensors.torch import save_file

from kernelport_workers.luxtts.checkpoint import (
    CheckpointFiles,
    load_acoustic_model,
    load_vocoder,
    read_state_dict,
    read_tokens,
)
from kernelport_workers.luxtts.config import ModelConfig, VocoderConfig
from kernelport_workers.luxtts.decoder import FlowDecoder
from kernelport_workers.luxtts.errors import CheckpointError
from kernelport_workers.luxtts.text_encoder import TextModel
from kernelport_workers.luxtts.vocoder import Vocoder

CPU = torch.device("cpu")


@pytest.fixture
def copy(tiny: Path, tmp_path: Path) -> Path:
    root = tmp_path / "model"
    shutil.copytree(tiny, root)
    return root


def same(a: dict[str, Any], b: dict[str, Any]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)


def test_a_module_prefix_and_a_bare_dictionary_load_alike(copy: Path) -> None:
    expected = read_state_dict(copy / "model.pt")
    torch.save({f"module.{key}": value for key, value in expected.items()}, copy / "model.pt")
    assert same(read_state_dict(copy / "model.pt"), expected)


def test_safetensors_and_model_json_load_as_in_zipvoice_distill(copy: Path, tiny: Path) -> None:
    save_file(read_state_dict(copy / "model.pt"), copy / "model.safetensors")
    (copy / "model.pt").unlink()
    (copy / "config.json").rename(copy / "model.json")
    text, decoder = load_acoustic_model(CheckpointFiles.open(copy), CPU)
    expected_text, expected_decoder = load_acoustic_model(CheckpointFiles.open(tiny), CPU)
    assert same(text.state_dict(), expected_text.state_dict())
    assert same(decoder.state_dict(), expected_decoder.state_dict())


def test_a_24_khz_vocoder_gives_the_smooth_output(copy: Path, vocoder: Vocoder) -> None:
    config = copy / "vocoder" / "config.yaml"
    raw = yaml.safe_load(config.read_text())
    config.write_text(yaml.safe_dump({key: raw[key] for key in ("feature_extractor", "backbone", "head")}))
    state = read_state_dict(copy / "vocoder" / "vocos.bin")
    kept = {key: value for key, value in state.items() if not key.startswith(("upsampler.", "head_48k."))}
    torch.save(kept, copy / "vocoder" / "vocos.bin")
    mel = torch.randn(1, 100, 9)
    with torch.inference_mode():
        assert torch.equal(load_vocoder(copy / "vocoder", CPU)(mel), vocoder(mel, smooth=True))


def test_constant_buffers_of_the_published_vocoder_are_ignored(copy: Path) -> None:
    path = copy / "vocoder" / "vocos.bin"
    state = read_state_dict(path)
    buffers = ("feature_extractor.mel_spec.mel_scale.fb", "head.istft.window", "head_48k.istft.window")
    torch.save(state | dict.fromkeys(buffers, torch.zeros(3)), path)
    assert load_vocoder(copy / "vocoder", CPU).wideband


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("absent", r"model\.pt: tensor embed\.weight is absent, expected \(360, 20\)"),
        ("unknown", r"model\.pt: tensor extra\.weight is not part"),
        ("shape", r"model\.pt: tensor fm_decoder\.in_proj\.bias has shape \(3,\), expected \(32,\)"),
    ],
)
def test_a_wrong_tensor_is_named(copy: Path, fault: str, message: str) -> None:
    state = read_state_dict(copy / "model.pt")
    if fault == "absent":
        del state["embed.weight"]
    elif fault == "unknown":
        state["extra.weight"] = torch.zeros(1)
    else:
        state["fm_decoder.in_proj.bias"] = torch.zeros(3)
    torch.save({"model": state}, copy / "model.pt")
    with pytest.raises(CheckpointError, match=message):
        load_acoustic_model(CheckpointFiles.open(copy), CPU)


class _Payload:
    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (Path("executed"),)


def test_a_pickle_with_code_is_refused_and_not_run(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(copy)
    for data in ({"model": _Payload()}, _Payload()):
        torch.save(data, copy / "model.pt")
        with pytest.raises(CheckpointError, match="tensors only"):
            read_state_dict(copy / "model.pt")
    (copy / "model.pt").write_bytes(pickle.dumps(_Payload(), protocol=2))
    with pytest.raises(CheckpointError, match="tensors only"):
        read_state_dict(copy / "model.pt")
    assert not (copy / "executed").exists()


@pytest.mark.parametrize("name", ["config.json", "tokens.txt", "model.pt"])
def test_a_missing_file_is_named(copy: Path, name: str) -> None:
    (copy / name).unlink()
    with pytest.raises(CheckpointError, match=name.replace(".", r"\.")):
        load_acoustic_model(CheckpointFiles.open(copy), CPU)


@pytest.mark.parametrize(
    ("key", "value"), [("fm_decoder_dim", None), ("feat_dim", "100"), ("fm_decoder_num_layers", []), ("pos_dim", 0)]
)
def test_a_wrong_config_key_is_named(copy: Path, key: str, value: object) -> None:
    raw = json.loads((copy / "config.json").read_text())
    raw["model"][key] = value
    (copy / "config.json").write_text(json.dumps(raw))
    with pytest.raises(CheckpointError, match=key):
        CheckpointFiles.open(copy)


def test_the_token_table(tiny: Path, tmp_path: Path) -> None:
    table = read_tokens(tiny / "tokens.txt")
    assert len(table) == 360
    assert (table["_"], table[" "], table["ê4"]) == (0, 3, 359)
    (tmp_path / "tokens.txt").write_text("a\t1\nb 2\n")
    with pytest.raises(CheckpointError, match="line 2"):
        read_tokens(tmp_path / "tokens.txt")


def test_the_real_dimensions_give_the_published_parameter_counts() -> None:
    raw = {
        "model": {
            "fm_decoder_downsampling_factor": [1, 2, 4, 2, 1], "fm_decoder_num_layers": [2, 2, 4, 4, 4],
            "fm_decoder_cnn_module_kernel": [31, 15, 7, 15, 31], "fm_decoder_feedforward_dim": 1536,
            "fm_decoder_num_heads": 4, "fm_decoder_dim": 512, "text_encoder_num_layers": 4,
            "text_encoder_feedforward_dim": 512, "text_encoder_cnn_module_kernel": 9, "text_encoder_num_heads": 4,
            "text_encoder_dim": 192, "query_head_dim": 32, "value_head_dim": 12, "pos_head_dim": 4, "pos_dim": 48,
            "time_embed_dim": 192, "text_embed_dim": 192, "feat_dim": 100,
        },
        "feature": {"sampling_rate": 24000, "type": "vocos"},
    }  # fmt: skip
    config = ModelConfig.from_mapping(raw, vocab_size=360)
    with torch.device("meta"):
        modules = [TextModel(config), FlowDecoder(config.fm_decoder)]
        vocoder = Vocoder(VocoderConfig(100, 512, 1536, 8, (2, 1), (8, 8)))
    assert sum(p.numel() for module in modules for p in module.parameters()) == 122_701_668
    assert sum(p.numel() for p in vocoder.parameters()) == 15_930_244
