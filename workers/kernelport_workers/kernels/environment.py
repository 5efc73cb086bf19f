"""Helion's settings. It reads them when a kernel is defined: make them before importing a module of kernels."""

import os
from pathlib import Path


def prepare(gpu: bool) -> None:
    """Makes kernels run interpreted without a GPU; with one, tunes them briefly and keeps the result in a folder."""
    if not gpu:
        os.environ["HELION_INTERPRET"] = "1"
        return
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    os.environ.setdefault("HELION_CACHE_DIR", str(cache / "kernelport" / "helion"))
    os.environ.setdefault("HELION_AUTOTUNE_EFFORT", "quick")
