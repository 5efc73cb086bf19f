"""The exported graphs on ONNX Runtime's CUDA provider, where the machine's onnxruntime has it."""

import time
from collections.abc import Iterator

from kernelport_ops.bench.gpu.setting import Record, Setting
from kernelport_workers.luxtts.acoustic import Schedule
from kernelport_workers.luxtts.bench.workload import Workload, audio_seconds, jobs_of
from kernelport_workers.luxtts.checkpoint import CheckpointFiles
from kernelport_workers.luxtts.onnx_path import OnnxAcousticModel


def onnx_graphs(setting: Setting) -> Iterator[Record]:
    """One item at a time in float32, vocoder left out; dry, on the CPU provider."""
    try:
        import onnx  # noqa: F401
        import onnxruntime
    except ImportError as error:
        yield {"absent": f"the package {error.name} is not installed"}
        return
    provider = "CPUExecutionProvider" if setting.dry else "CUDAExecutionProvider"
    available = onnxruntime.get_available_providers()
    if provider not in available:
        yield {"absent": f"onnxruntime {onnxruntime.__version__} has the providers {', '.join(available)}"}
        return
    from kernelport_workers.luxtts.onnx_export import export

    export(setting.random)
    if not setting.dry:
        onnxruntime.preload_dlls()
    model = OnnxAcousticModel(CheckpointFiles.open(setting.random), int8=False, providers=[provider])
    jobs = jobs_of(Workload(setting.seconds, setting.reference, setting.steps), 100)
    times = []
    for _ in range(setting.repeat + 1):
        began = time.perf_counter()
        model.generate(jobs, Schedule(setting.steps, 0.9, 3.0))
        times.append(time.perf_counter() - began)
    seconds = min(times[1:])
    yield {"provider": provider, "seconds": seconds, "real_time_factor": seconds / audio_seconds(jobs[0])}
