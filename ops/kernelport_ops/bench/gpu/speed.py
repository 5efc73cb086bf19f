"""How fast LuxTTS speaks: equal utterances by batch size, a backlog of sentences, and the first audio of many."""

import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict

import torch

from kernelport_ops.bench.gpu.power import metered
from kernelport_ops.bench.gpu.setting import DTYPES, SERVED, Record, Setting, attempt
from kernelport_ops.bench.gpu.texts import passes
from kernelport_workers.luxtts.acoustic import TorchAcousticModel
from kernelport_workers.luxtts.batching import plan_batches
from kernelport_workers.luxtts.bench.measure import Bench
from kernelport_workers.luxtts.bench.workload import Workload, audio_seconds
from kernelport_workers.luxtts.errors import LuxTTSError
from kernelport_workers.luxtts.synthesis import Pass, Synthesizer

_BATCH = 64
_CHUNK_TOKENS = 40
_ROUNDS = 5
_CPU_BUDGET = 2 << 30


def real_time_factor(setting: Setting) -> Iterator[Record]:
    """Every type and path by batch size, with the peak of memory, beside the machine's own matrix product."""
    workloads = [Workload(setting.seconds, setting.reference, setting.steps, batch) for batch in setting.batches]
    for name, dtype in DTYPES.items():
        bench = Bench(setting.random, setting.device.type, dtype)
        yield {"dtype": name, "matrix_flops": bench.matrix_flops(setting.repeat, setting.matrix)}
        for path in setting.paths:

            def measure(bench: Bench = bench, path: str = path) -> Iterator[Record]:
                for row in bench.rows(workloads, [path], setting.repeat):
                    yield {**asdict(row), "real_time_factor": row.real_time_factor}

            yield from attempt({"dtype": name, "path": path}, measure)


def backlog(setting: Setting) -> Iterator[Record]:
    """Sentences of mixed length in one call, twice: the second time all is warm."""
    waiting = passes(setting.backlog, setting.reference, setting.steps)
    audio = sum(audio_seconds(item.job) for item in waiting)
    for path in reversed(setting.paths):  # the one that is served comes first

        def measure(path: str = path) -> Iterator[Record]:
            budget = _budget(setting)
            synthesizer = _synthesizer(setting, path, budget)
            for turn in ("first", "second"):
                with metered() as power:
                    seconds = _seconds(lambda: _speak(synthesizer, waiting))
                figures: Record = {"turn": turn, "utterances": len(waiting), "audio_seconds": audio, "seconds": seconds}
                figures |= {"audio_per_second": audio / seconds, "power": power}
                if "watts" in power:
                    figures["joules_per_audio_second"] = power["watts"] * seconds / audio
                yield figures | _padding(synthesizer, waiting, budget)

        yield from attempt({"dtype": SERVED, "path": path}, measure)


def first_audio(setting: Setting) -> Iterator[Record]:
    """What listeners who come at the same moment wait for their first chunk, the shortest worth speaking."""
    for path in setting.paths:

        def measure(path: str = path) -> Iterator[Record]:
            synthesizer = _synthesizer(setting, path, _budget(setting))
            for listeners in setting.listeners:
                waiting = passes(listeners, setting.reference, setting.steps, _CHUNK_TOKENS)
                first_chunks(synthesizer, waiting)
                rounds = [first_chunks(synthesizer, waiting) for _ in range(1 if setting.dry else _ROUNDS)]
                yield {
                    "listeners": listeners,
                    "chunk_seconds": statistics.fmean(audio_seconds(item.job) for item in waiting),
                    "median_seconds": statistics.median(wait for waits in rounds for wait in waits),
                    "last_seconds": statistics.median(max(waits) for waits in rounds),
                }

        yield from attempt({"dtype": SERVED, "path": path}, measure)


def first_chunks(synthesizer: Synthesizer, waiting: Sequence[Pass]) -> list[float]:
    """Seconds that each listener waits for samples in the CPU's memory.

    Nothing else here knows how audio comes: whoever builds streaming measures it by replacing this function.
    """
    began = time.perf_counter()
    return [time.perf_counter() - began for _ in _finished(synthesizer, waiting)]


def _finished(synthesizer: Synthesizer, waiting: Sequence[Pass]) -> Iterator[Pass]:
    """Passes as they are finished; raises what stopped one."""
    for item, outcome in synthesizer.run(waiting):
        if isinstance(outcome, LuxTTSError):
            raise outcome
        yield item


def _speak(synthesizer: Synthesizer, waiting: Sequence[Pass]) -> None:
    for _ in _finished(synthesizer, waiting):
        pass


def _padding(synthesizer: Synthesizer, waiting: Sequence[Pass], budget: int) -> Record:
    """Shares of the computed frames that are no utterance's, of batches and of the graphs that hold them; and what all
    graphs take."""
    model = synthesizer.model
    assert isinstance(model, TorchAcousticModel)  # noqa: S101
    lengths = [item.job.frames for item in waiting]

    def fits(jobs: int, frames: int) -> bool:
        return model.batch_bytes(jobs, frames) <= budget

    sizes = [
        (len(batch), max(lengths[index] for index in batch))
        for batch in plan_batches(lengths, model.decoder.config, fits, model.max_batch)
    ]
    found = {"batches": len(sizes), "padding": _idle(lengths, sizes)}
    if model.graphs is not None:
        graphed = [model.graphs.bucket(*size) or size for size in sizes]
        found |= {"padding_with_graphs": _idle(lengths, graphed), "graphs": len(model.graphs.sizes)}
        found["graphs_gib"] = model.graphs.bytes_held / 2**30
    return found


def _idle(lengths: Sequence[int], sizes: Sequence[tuple[int, int]]) -> float:
    return 1 - sum(lengths) / sum(jobs * frames for jobs, frames in sizes)


def _synthesizer(setting: Setting, path: str, budget: int) -> Synthesizer:
    bench = Bench(setting.random, setting.device.type, DTYPES[SERVED])
    return bench.synthesizer(path, _BATCH, budget)


def _budget(setting: Setting) -> int:
    """Bytes of a batch, as a worker has them by default."""
    return _CPU_BUDGET if setting.dry else torch.cuda.mem_get_info(setting.device)[0] // 2


def _seconds(work: Callable[[], None]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began
