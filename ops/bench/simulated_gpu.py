"""A backend whose time is that of a GPU kernel's: a fixed cost per call, and a cost per item of the batch.

A worker imports it by the deployment's `pipeline: simulated_gpu:SimulatedGpu`, with this folder on its PYTHONPATH.
SIMULATED_GPU_FIXED_MS and SIMULATED_GPU_ITEM_MS are the costs in milliseconds.
"""

import os
import time
from collections.abc import Sequence
from typing import Self

import numpy as np

from kernelport.config.deployments import Deployment
from kernelport.errors import KernelPortError
from kernelport.signature import Signature, tensor_spec
from kernelport.v1 import inference_pb2 as pb
from kernelport_workers.backends.base import Backend, Outputs, Request

# A sleeper wakes up to so many seconds late, which a GPU's answer does not: the rest is waited for awake, as CUDA does.
LATE_S = 0.0005


class SimulatedGpu(Backend):
    """Input `x` F32[1]; output `batch` I32[1], how many requests shared the call."""

    device = "simulated"
    signature = Signature(
        inputs=[tensor_spec("x", pb.F32, [1])], outputs=[tensor_spec("batch", pb.I32, [1])], batchable=True
    )

    def __init__(self, fixed_s: float, item_s: float) -> None:
        self._fixed_s, self._item_s = fixed_s, item_s

    @classmethod
    def load(cls, deployment: Deployment) -> Self:
        """Reads the costs."""
        costs = (float(os.environ[f"SIMULATED_GPU_{name}_MS"]) / 1000 for name in ("FIXED", "ITEM"))
        return cls(*costs)

    def run(self, requests: Sequence[Request]) -> list[Outputs | KernelPortError]:
        """One call for the whole batch."""
        ends_at = time.monotonic() + self._fixed_s + self._item_s * len(requests)
        time.sleep(max(0.0, ends_at - time.monotonic() - LATE_S))
        while time.monotonic() < ends_at:
            time.sleep(0)
        return [{"batch": np.array([len(requests)], np.int32)} for _ in requests]
