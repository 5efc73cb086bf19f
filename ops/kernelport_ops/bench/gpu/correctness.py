"""Whether the GPU computes what it should: the golden arrays, and finite numbers whatever is spoken."""

from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from kernelport_ops.bench.gpu.setting import DTYPES, GOLDEN, SERVED, Record, Setting, attempt
from kernelport_workers.luxtts.acoustic import Schedule
from kernelport_workers.luxtts.attention import Frames
from kernelport_workers.luxtts.bench.measure import Bench
from kernelport_workers.luxtts.bench.workload import Workload, jobs_of, mixed_jobs, mixed_lengths
from kernelport_workers.luxtts.checkpoint import CheckpointFiles, load_acoustic_model, load_vocoder
from kernelport_workers.luxtts.decoder import FlowDecoder
from kernelport_workers.luxtts.errors import LuxTTSError
from kernelport_workers.luxtts.solver import solve, timesteps
from kernelport_workers.luxtts.synthesis import Pass
from kernelport_workers.luxtts.utterance import Utterance

TOLERANCES = {"float32": 2e-5, "float16": 5e-3, "bfloat16": 5e-2}
"""Of the acoustic model in each type: largest difference over largest magnitude."""

VOCODER_TOLERANCE = 1e-4
"""Of the vocoder, which is always float32."""

_REFERENCE_SECONDS = 3.0
_LONGEST_SECONDS = 10.0
_BATCH = 64

Arrays = dict[str, NDArray[Any]]


def correctness(setting: Setting) -> Iterator[Record]:
    """The golden arrays in each type, a full-size item against float32 on the CPU, and many random utterances."""
    for dtype in reversed(DTYPES):
        yield from attempt({"check": "golden", "dtype": dtype}, partial(_golden, setting, dtype))
    yield from attempt({"check": "golden", "dtype": "float32"}, partial(_vocoder, setting))
    with_tf32 = {"check": "golden", "dtype": "float32", "convolutions": "TF32, as torch has them by default"}
    yield from attempt(with_tf32, partial(_with_tf32_convolutions, setting))
    yield from _against_the_cpu(setting)
    for dtype in (SERVED, "bfloat16"):
        what = {"check": "finite", "dtype": dtype}
        yield from attempt(what, partial(_finite, setting, dtype))


def _golden(setting: Setting, dtype: str) -> Iterator[Record]:
    files = CheckpointFiles.open(setting.tiny)
    _, decoder = load_acoustic_model(files, setting.device, DTYPES[dtype])
    single, batch, alone = (_load(name) for name in ("model_single", "model_batch", "model_batch_run_alone"))
    with torch.inference_mode():
        velocity, state = _velocity_and_state(decoder, single, None)
        yield _compared("velocity", velocity, single["fm_v"], TOLERANCES[dtype])
        yield _compared("all steps", state, single["sample_full"], TOLERANCES[dtype])
        velocity, state = _velocity_and_state(decoder, batch, _tensor(batch["padding_mask"], setting.device))
    for item, length in enumerate(batch["features_lens"]):
        for name, found, expected in (("velocity", velocity, "fm_v"), ("all steps", state, "sample_full")):
            rows = found[item : item + 1, :length]
            name = f"{name}, item {item} of a padded batch"
            yield _compared(name, rows, alone[f"{expected}_item{item}"], TOLERANCES[dtype])


def _velocity_and_state(decoder: FlowDecoder, g: Arrays, mask: Tensor | None) -> tuple[Tensor, Tensor]:
    """One velocity of a golden batch, and its state after all steps."""
    weight = decoder.in_proj.weight
    text, speech = (_tensor(g[name], weight.device).to(weight.dtype) for name in ("text_condition", "speech_condition"))
    noise = _tensor(g["noise"], weight.device)
    condition = decoder.project_condition(text, speech)
    frames = Frames.of(condition, condition.shape[1], decoder.config.pos_dim, mask)
    guidance = float(g["guidance_scale"])
    velocity = decoder(noise, condition, decoder.time_vectors([float(g["fm_t"])], guidance)[0], frames)
    times = timesteps(int(g["num_step"]), float(g["t_shift"]))
    vectors = decoder.time_vectors(times[:-1], guidance)
    state = solve(lambda x, step: decoder(x, condition, vectors[step], frames), noise, times)
    return velocity, state


def _vocoder(setting: Setting) -> Iterator[Record]:
    vocoder, g = load_vocoder(setting.tiny / "vocoder", setting.device), _load("vocoder")
    cases = ("L3", "L14", "L40")
    mels = [_tensor(g[f"{case}_mel"], setting.device)[0] for case in cases]
    with torch.inference_mode():
        alone, together = [vocoder.batch([mel])[0] for mel in mels], vocoder.batch(mels)
    for how, sounds in (("alone", alone), ("in one batch", together)):
        for case, sound in zip(cases, sounds, strict=True):
            yield _compared(f"vocoder, {case} {how}", sound, g[f"{case}_out_48k"][0], VOCODER_TOLERANCE)


def _with_tf32_convolutions(setting: Setting) -> Iterator[Record]:
    """The errors where nobody turns TF32 off. They are shown and not judged."""
    torch.backends.cudnn.allow_tf32 = True
    try:
        for record in (*_golden(setting, "float32"), *_vocoder(setting)):
            yield {"name": record["name"], "error": record["error"]}
    finally:
        torch.backends.cudnn.allow_tf32 = False


def _against_the_cpu(setting: Setting) -> Iterator[Record]:
    """One item of the measured checkpoint, by every path and type, against plain float32 on the CPU."""
    jobs = jobs_of(Workload(min(setting.seconds, _REFERENCE_SECONDS), setting.reference, setting.steps), 100)
    schedule = Schedule(setting.steps, 0.9, 3.0)
    expected = Bench(setting.random).model("plain").generate(jobs, schedule)[0].numpy()
    for dtype in reversed(DTYPES):
        bench = Bench(setting.random, setting.device.type, DTYPES[dtype])
        for path in setting.paths:

            def measure(
                bench: Bench = bench, path: str = path, tolerance: float = TOLERANCES[dtype]
            ) -> Iterator[Record]:
                found = bench.model(path).generate(jobs, schedule)[0]
                yield _compared(f"full size, {path}", found, expected, tolerance)

            yield from attempt({"check": "against the CPU", "dtype": dtype}, measure)


def _finite(setting: Setting, dtype: str) -> Iterator[Record]:
    """How many random utterances gave numbers that are not finite, or failed in any other way."""
    bench = Bench(setting.random, setting.device.type, DTYPES[dtype])
    synthesizer = bench.synthesizer("torch", 1 if setting.dry else _BATCH)
    lengths = mixed_lengths(setting.utterances, min(setting.seconds, _LONGEST_SECONDS), "short")
    jobs = mixed_jobs(lengths, min(setting.reference, _REFERENCE_SECONDS), bench.config.feat_dim)
    passes = [
        Pass(owner, 0, Utterance("", job.voice, num_steps=setting.steps), job, 0.0) for owner, job in enumerate(jobs)
    ]
    failures = [str(outcome) for _, outcome in synthesizer.run(passes) if isinstance(outcome, LuxTTSError)]
    yield {"name": "random utterances", "utterances": len(passes), "failed": len(failures), "ok": not failures} | (
        {"first_failure": failures[0]} if failures else {}
    )


def _load(name: str) -> Arrays:
    with np.load(GOLDEN / f"{name}.npz") as arrays:
        return dict(arrays)


def _tensor(array: NDArray[Any], device: torch.device) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(array)).to(device)


def _compared(name: str, found: Tensor, expected: NDArray[Any], tolerance: float) -> Record:
    actual = found.float().cpu().numpy().astype(np.float64)
    error = float(np.abs(actual - expected).max() / np.abs(expected).max())
    # A NaN compares as not smaller, and JSON has no number for it.
    return {
        "name": name,
        "error": error if np.isfinite(error) else None,
        "tolerance": tolerance,
        "ok": error < tolerance,
    }
