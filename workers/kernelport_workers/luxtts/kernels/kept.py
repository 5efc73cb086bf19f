"""Which kernels a GPU runs faster than plain PyTorch, tried once for each size of batch and then kept on disk."""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from importlib.resources import files
from pathlib import Path

import torch

from kernelport_workers.kernels import environment
from kernelport_workers.luxtts.config import ZipformerConfig
from kernelport_workers.luxtts.kernels import EAGER, Fused, Kernels
from kernelport_workers.luxtts.kernels.selection import choose, load_kernels

_LOGGER = logging.getLogger(__name__)
_DRIVER = Path("/proc/driver/nvidia/version")
_FILE = "luxtts-kernels.json"


def kernels_of(
    config: ZipformerConfig, device: torch.device, dtype: torch.dtype, sizes: Sequence[tuple[int, int]]
) -> Kernels:
    """The kernels to use for each size of batch, in jobs and frames.

    They are read from the cache folder where this GPU, driver and software have tried this model and size before, else
    tried now, which takes a minute or so, and kept there.
    """
    available = load_kernels(device)
    if not available:
        return Kernels()
    path, found = environment.cache_folder() / _FILE, {}
    machine = _machine(device)
    for jobs, frames in sizes:
        key = f"{machine}, {dtype}, {_dimensions(config)}, {jobs} x {frames}"
        names = _read(path).get(key)
        if names is None:
            fused, _ = choose(config, device, dtype, jobs, frames)
            names = [name for name in Fused.__dataclass_fields__ if getattr(fused, name) is not None]
            _keep(path, key, names)
        chosen = {name: available[name] for name in names if name in available}
        found[jobs, frames] = Fused(**chosen) if chosen else EAGER
        _LOGGER.info("kernels for %d jobs of %d frames: %s", jobs, frames, ", ".join(chosen) or "none")
    return Kernels(found)


def _machine(device: torch.device) -> str:
    """GPU, driver, libraries, and the kernels' own source: with another of these, another kernel may be faster."""
    gpu = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
    driver = _DRIVER.read_text().splitlines()[0] if _DRIVER.exists() else "no driver"
    libraries = ", ".join(f"{name} {_version(name)}" for name in ("torch", "triton", "helion"))
    source = files(__package__).joinpath("helion_kernels.py").read_bytes()
    return f"{gpu}, {driver}, {libraries}, kernels {hashlib.sha256(source).hexdigest()[:12]}"


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "absent"


def _dimensions(config: ZipformerConfig) -> str:
    return (
        f"dim {config.dim}, feed forward {config.feedforward_dim}, heads {config.num_heads} of "
        f"{config.query_head_dim}, {config.value_head_dim} and {config.pos_head_dim}"
    )


def _read(path: Path) -> dict[str, list[str]]:
    """What is kept; nothing where the file is absent or not ours."""
    try:
        kept = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return kept if isinstance(kept, dict) else {}


def _keep(path: Path, key: str, names: list[str]) -> None:
    """Add a choice. Where the folder cannot be written, the next load tries again."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        written = path.with_suffix(f".{os.getpid()}")
        written.write_text(json.dumps(_read(path) | {key: names}, indent=1))
        written.replace(path)
    except OSError as error:
        _LOGGER.warning("%s: the choice of kernels is not kept: %s", path, error)
