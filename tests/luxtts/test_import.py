"""Importing the package stays light."""

from __future__ import annotations

import subprocess
import sys

import pytest

from kernelport_workers import luxtts

HEAVY = {"torch", "onnxruntime", "torchaudio", "librosa", "lhotse", "transformers", "jieba", "piper_phonemize"}


def loaded_after(statement: str) -> set[str]:
    code = f"import sys; {statement}; print(*{{name.partition('.')[0] for name in sys.modules}})"
    path = [entry for entry in sys.path if entry]
    done = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path[:0] = {path!r}; {code}"],
        capture_output=True,
        text=True,
        check=True,
    )
    return set(done.stdout.split())


def test_importing_the_package_loads_nothing_heavy() -> None:
    assert not loaded_after("import kernelport_workers.luxtts") & HEAVY


def test_importing_the_pipeline_loads_torch_and_no_other_heavy_package() -> None:
    loaded = loaded_after("from kernelport_workers.luxtts import Pipeline, Utterance, Voice")
    assert loaded & HEAVY == {"torch"}


def test_every_public_name_resolves() -> None:
    assert all(getattr(luxtts, name).__name__ == name or callable(getattr(luxtts, name)) for name in luxtts.__all__)
    with pytest.raises(AttributeError, match="no attribute 'Nothing'"):
        _ = luxtts.Nothing
