"""`python -m kernelport_ops.autoscale.providers.lambda_cloud.cuda_check`: whether the GPUs of this machine compute.

Machines have come up that list their GPUs and then fail every CUDA call (error 802, system not yet initialized). It
asks the driver itself, and multiplies matrices where PyTorch is installed.
"""

import ctypes
import importlib
import importlib.util
import sys
from typing import Any

_SIZE = 512


def problem() -> str | None:
    """What is wrong with the GPUs; None when all of them compute."""
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError as error:
        return f"no CUDA driver: {error}"
    code = driver.cuInit(0)
    if code:
        return f"the CUDA driver does not start: error {code}"
    count = ctypes.c_int()
    code = driver.cuDeviceGetCount(ctypes.byref(count))
    if code or not count.value:
        return f"the CUDA driver lists no device: error {code}"
    return _torch_problem(count.value) if importlib.util.find_spec("torch") else None


def _torch_problem(count: int) -> str | None:
    torch: Any = importlib.import_module("torch")
    expected = float(_SIZE)
    for index in range(count):
        try:
            ones = torch.ones(_SIZE, _SIZE, device=f"cuda:{index}")
            found = (ones @ ones).min().item()
        except RuntimeError as error:
            return f"GPU {index} does not compute: {error}"
        if found != expected:
            return f"GPU {index} computes wrongly: {found} in place of {expected}"
    return None


def main() -> None:
    found = problem()
    sys.stderr.write(f"{found or 'every GPU computes'}\n")
    sys.exit(1 if found else 0)


if __name__ == "__main__":
    main()
