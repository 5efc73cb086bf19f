"""What a GPU runs faster than plain PyTorch: found out when the model is loaded, by measurement."""

from __future__ import annotations

import logging
import statistics
import time

import numpy as np

from kernelport_workers.luxtts.acoustic import Job, Schedule, TorchAcousticModel
from kernelport_workers.luxtts.graphs import CudaRecorder, GraphedSteps, sizes
from kernelport_workers.luxtts.kernels.kept import kernels_of
from kernelport_workers.luxtts.prompt import Voice

_LOGGER = logging.getLogger(__name__)
_PROMPT_FRAMES, _FRAMES = 469, 1407
_RUNS = 5


def tune(model: TorchAcousticModel) -> None:
    """Give a model on a GPU the fused kernels and recorded graphs that are faster there than plain PyTorch.

    Kernels are tried on 10 s of speech from a 5 s reference, alone, in the largest batch that has a graph, and in a
    full one; graphs on one such item. Whatever fails or is not faster is left out.
    """
    parameter, most = model.decoder.in_proj.weight, model.max_batch
    tried = sorted({(jobs, _FRAMES) for jobs in (1, min(8, most), most)})
    model.kernels = kernels_of(model.decoder.config, parameter.device, parameter.dtype, tried)
    eager = _seconds(model)
    try:
        recorder = CudaRecorder(parameter.device)
        model.graphs = GraphedSteps(model.decoder, recorder, sizes(most), model.use_kernels)
        graphed = _seconds(model)
    except RuntimeError as error:
        _LOGGER.warning("no CUDA graphs: %s", error)
        model.graphs = None
        return
    _LOGGER.info("4 steps eager %.2f ms, as CUDA graphs %.2f ms", 1e3 * eager, 1e3 * graphed)
    if graphed >= eager:
        model.graphs = None


def _seconds(model: TorchAcousticModel) -> float:
    """Median time of generating one item."""
    features = np.zeros((_PROMPT_FRAMES, model.decoder.config.out_dim), dtype=np.float32)
    job = Job(Voice((1,) * 70, features, 0.1, 0.1, ""), (1,) * 140, _FRAMES, seed=0)
    times = []
    for _ in range(_RUNS + 1):
        began = time.perf_counter()
        model.generate([job], Schedule(4, 0.9, 3.0))[0].cpu()
        times.append(time.perf_counter() - began)
    return statistics.median(times[1:])
