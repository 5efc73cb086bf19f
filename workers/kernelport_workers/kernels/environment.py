"""Helion's settings. It reads them when a kernel is defined: make them before importing a module of kernels."""

import functools
import os
from pathlib import Path


def prepare(gpu: bool) -> None:
    """Makes kernels run interpreted without a GPU; with one, tunes them briefly and keeps the result in a folder."""
    if not gpu:
        os.environ["HELION_INTERPRET"] = "1"
        _give_the_cpu_exact_products()
        return
    os.environ.setdefault("HELION_CACHE_DIR", str(cache_folder() / "helion"))
    os.environ.setdefault("HELION_AUTOTUNE_EFFORT", "quick")


@functools.cache
def _give_the_cpu_exact_products() -> None:
    """Interpreted, `hl.dot` asks for products in another type than their factors', which torch has on a GPU only."""
    import torch

    def product(left: torch.Tensor, right: torch.Tensor, out_dtype: torch.dtype) -> torch.Tensor:
        return left.to(out_dtype) @ right.to(out_dtype)

    torch.library.impl("aten::mm.dtype", "CPU", product)


def cache_folder() -> Path:
    """Where this user's workers keep what they have found out about this machine."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "kernelport"
