"""The first two steps: what the figures were measured on, and the checkpoints."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import torch

from kernelport_ops.bench.gpu.power import at_rest
from kernelport_ops.bench.gpu.setting import GOLDEN, Record, Setting
from kernelport_ops.bench.machine import describe_host
from kernelport_workers.luxtts.bench.random_checkpoint import random_checkpoint

_PACKAGES = ("torch", "triton", "helion", "numpy", "onnxruntime", "onnxruntime-gpu")
_TINY_FILES = {
    "tiny_config.json": "config.json",
    "tokens.txt": "tokens.txt",
    "tiny_model.safetensors": "model.safetensors",
    "tiny_vocoder_config.yaml": "vocoder/config.yaml",
    "tiny_vocos.safetensors": "vocoder/vocos.safetensors",
}


def machine(setting: Setting) -> Iterator[Record]:
    """Processor, versions, the GPU, and what it takes at rest."""
    host = describe_host(_PACKAGES)
    if setting.dry:
        yield {"gpu": "none", **host}
        return
    properties = torch.cuda.get_device_properties(setting.device)
    yield {
        "gpu": properties.name,
        "gpu_memory_gib": round(properties.total_memory / 2**30, 1),
        "multiprocessors": properties.multi_processor_count,
        "capability": f"{properties.major}.{properties.minor}",
        "cuda": torch.version.cuda,
        "cudnn": torch.backends.cudnn.version(),  # type: ignore[no-untyped-call]
        "at_rest": at_rest(),
        **host,
    }


def checkpoints(setting: Setting) -> Iterator[Record]:
    """Lays out the tiny checkpoint, and a random one of the published shape; dry, the tiny one stands for both."""
    tiny_checkpoint(setting.tiny)
    if setting.dry:
        tiny_checkpoint(setting.random)
    else:
        random_checkpoint(setting.random, graphs=False)
    yield {"mib": sum(path.stat().st_size for path in setting.random.rglob("*") if path.is_file()) >> 20}


def tiny_checkpoint(root: Path) -> None:
    """The checkpoint of the golden arrays, laid out as published."""
    (root / "vocoder").mkdir(parents=True, exist_ok=True)
    for source, target in _TINY_FILES.items():
        shutil.copy(GOLDEN / source, root / target)
