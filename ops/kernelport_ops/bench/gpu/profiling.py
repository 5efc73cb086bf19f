"""Where one batch spends the GPU's time: its kernels by share, and how many launches it takes."""

from collections.abc import Iterator
from typing import Any

from torch.profiler import ProfilerActivity, profile

from kernelport_ops.bench.gpu.setting import DTYPES, SERVED, Record, Setting, attempt
from kernelport_workers.luxtts.acoustic import Schedule
from kernelport_workers.luxtts.bench.measure import Bench
from kernelport_workers.luxtts.bench.workload import Workload, jobs_of

_SHOWN = 25
_LAUNCHES = ("cudaLaunchKernel", "cudaLaunchKernelExC", "cuLaunchKernel", "cuLaunchKernelEx", "cudaGraphLaunch")


def profiled(setting: Setting) -> Iterator[Record]:
    """Each path's batch, vocoder left out. Dry, the CPU's operators stand for kernels."""
    for path in setting.paths:

        def measure(path: str = path) -> Iterator[Record]:
            workload = Workload(setting.seconds, setting.reference, setting.steps, setting.profiled)
            model = Bench(setting.random, setting.device.type, DTYPES[SERVED]).model(path, setting.profiled)
            jobs, schedule = jobs_of(workload, 100), Schedule(setting.steps, 0.9, 3.0)

            def run() -> None:
                for features in model.generate(jobs, schedule):
                    features.cpu()

            run()
            activities = [ProfilerActivity.CPU] if setting.dry else [ProfilerActivity.CPU, ProfilerActivity.CUDA]
            with profile(activities=activities) as trace:
                run()
            yield from _records(trace.key_averages(), setting)

        yield from attempt({"dtype": SERVED, "path": path, "batch": setting.profiled}, measure)


def _records(events: Any, setting: Setting) -> Iterator[Record]:
    """The sum first, then the kernels that took most."""
    own = "CPU" if setting.dry else "CUDA"

    def time_us(event: Any) -> float:
        return float(event.self_cpu_time_total if setting.dry else event.self_device_time_total)

    kernels = sorted((event for event in events if event.device_type.name == own), key=time_us, reverse=True)
    total = sum(map(time_us, kernels))
    launches = {event.key: event.count for event in events if event.key in _LAUNCHES}
    calls = sum(event.count for event in kernels)
    yield {"total_ms": total / 1e3, "kernels": len(kernels), "calls": calls, "launches": launches}
    for event in kernels[:_SHOWN]:
        yield {
            "kernel": event.key[:120],
            "calls": event.count,
            "ms": time_us(event) / 1e3,
            "share": time_us(event) / total,
        }
