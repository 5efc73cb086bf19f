"""The pipeline: references in, speech out; exact, reproducible, and one bad item never disturbs another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from kernelport.text.pieces import KEPT_S
from kernelport_workers.luxtts import Audio, InvalidInputError, LuxTTSError, Pipeline, SynthesisError, Utterance, Voice
from kernelport_workers.luxtts.acoustic import AcousticModel, Check, Generate, Job, Schedule
from kernelport_workers.luxtts.pipeline import MAX_FRAMES, MAX_HOURS
from kernelport_workers.luxtts.text_encoder import frame_count
from tests.luxtts.conftest import audio_file, relative_error, spell, tone

TEXTS = ["Yes.", "A somewhat longer sentence, with a clause.", "Three short words", "One two three. " * 12]


@pytest.fixture(scope="module")
def pipeline(tiny: Path) -> Pipeline:
    return Pipeline.load(tiny, phonemize=spell)


@pytest.fixture(scope="module")
def voice(pipeline: Pipeline) -> Voice:
    return pipeline.encode_prompt(audio_file(tone(1.2)), "Hello there, this is me.")


@pytest.fixture(scope="module")
def other_voice(pipeline: Pipeline) -> Voice:
    return pipeline.encode_prompt(audio_file(tone(0.7, level=0.004)), "Another one.")


def samples(result: Audio | LuxTTSError) -> NDArray[np.float32]:
    assert isinstance(result, Audio), result
    return result.samples


def one(pipeline: Pipeline, utterance: Utterance) -> NDArray[np.float32]:
    return samples(pipeline.synthesize([utterance])[0])


def mixed(voice: Voice, other_voice: Voice) -> list[Utterance]:
    return [
        Utterance(text, (voice, other_voice)[i % 2], seed=i, num_steps=2 + i % 2, return_smooth=i == 2)
        for i, text in enumerate(TEXTS)
    ]


class Wrapped:
    """An acoustic model whose every batch passes through a function first."""

    streams = 1

    def __init__(self, model: AcousticModel, before: Any, max_batch: int = 1) -> None:
        self.max_batch = max_batch
        self._model, self._before = model, before

    def for_stream(self) -> AcousticModel:
        return self

    def batch_bytes(self, jobs: int, frames: int) -> int:
        return self._model.batch_bytes(jobs, frames)

    def prepare(self, jobs: Sequence[Job]) -> Generate:
        return partial(self.generate, jobs)

    def generate(self, jobs: Sequence[Job], schedule: Schedule, check: Check | None = None) -> list[Tensor]:
        self._before(jobs)
        return self._model.generate(jobs, schedule, check)


def test_speech_is_48_khz_mono_and_within_full_scale(pipeline: Pipeline, voice: Voice) -> None:
    result = pipeline.synthesize([Utterance("Hello.", voice)])[0]
    assert isinstance(result, Audio)
    assert result.sample_rate == 48_000
    assert result.samples.dtype == np.float32
    assert result.samples.ndim == 1
    assert 0.0 < float(np.abs(result.samples).max()) <= 1.0


def test_speech_says_what_was_left_out_and_clipped(
    pipeline: Pipeline, voice: Voice, monkeypatch: pytest.MonkeyPatch
) -> None:
    def warnings(text: str) -> list[tuple[str, ...]]:
        results = pipeline.synthesize([Utterance(text, voice, seed=1), Utterance(text, voice, seed=1, upstream=True)])
        return [result.warnings for result in results if isinstance(result, Audio)]

    assert warnings("Hello ™, it is 20 °C.") == [(), ()]
    assert warnings("A ❤ for pizza 🍕.") == [("text: left out what cannot be spoken: ❤, 🍕",), ()]
    monkeypatch.setattr(pipeline._synthesizer.vocoder, "forward", lambda mel, smooth: torch.full((1, 1000), 1.5))
    assert warnings("Hello.") == [("audio: clipped where it was louder than full scale",)] * 2


@pytest.mark.parametrize("text", ["Yes.", "I", "5"])
def test_very_short_text_is_spoken(pipeline: Pipeline, voice: Voice, text: str) -> None:
    assert len(one(pipeline, Utterance(text, voice, seed=1))) >= 0.2 * 48_000


def test_same_seed_same_bytes_and_another_seed_differs(pipeline: Pipeline, voice: Voice) -> None:
    utterance = Utterance(TEXTS[1], voice, seed=7)
    assert np.array_equal(one(pipeline, utterance), one(pipeline, utterance))
    assert not np.array_equal(one(pipeline, utterance), one(pipeline, replace(utterance, seed=8)))


def test_a_drawn_seed_is_reported_and_reproduces_the_audio(pipeline: Pipeline, voice: Voice) -> None:
    first, second = pipeline.synthesize([Utterance(TEXTS[0], voice), Utterance(TEXTS[0], voice)])
    assert isinstance(first, Audio)
    assert isinstance(second, Audio)
    assert first.seed != second.seed
    assert np.array_equal(one(pipeline, Utterance(TEXTS[0], voice, seed=first.seed)), first.samples)


def test_batch_mates_size_and_order_change_no_byte_on_the_cpu(
    pipeline: Pipeline, voice: Voice, other_voice: Voice
) -> None:
    utterances = mixed(voice, other_voice)
    alone = [one(pipeline, utterance) for utterance in utterances]
    together = [samples(result) for result in pipeline.synthesize(utterances)]
    reversed_order = [samples(result) for result in pipeline.synthesize(utterances[::-1])][::-1]
    for expected, *others in zip(alone, together, reversed_order, strict=True):
        assert all(np.array_equal(expected, other) for other in others)


def test_padded_batches_equal_the_item_alone_to_rounding(
    tiny: Path, pipeline: Pipeline, voice: Voice, other_voice: Voice
) -> None:
    batched = Pipeline.load(tiny, phonemize=spell, max_batch=8)
    sizes: list[int] = []
    model = batched._synthesizer.model
    batched._synthesizer.model = Wrapped(model, lambda jobs: sizes.append(len(jobs)), max_batch=8)
    utterances = [Utterance("Some words to say " + "o" * n, (voice, other_voice)[n % 2], seed=n) for n in range(6)]
    for utterance, result in zip(utterances, batched.synthesize(utterances), strict=True):
        assert relative_error(samples(result), one(pipeline, utterance)) < 1e-4
    assert max(sizes) > 1


def test_batches_that_overlap_give_what_single_items_give(
    tiny: Path, pipeline: Pipeline, voice: Voice, other_voice: Voice
) -> None:
    """As on a GPU: the next batch is prepared on another thread, the vocoder decodes several, audio comes later."""
    overlapping = Pipeline.load(tiny, phonemize=spell, max_batch=3)
    overlapping._synthesizer.transfers.overlap = True

    def fail(jobs: Sequence[Job]) -> None:
        if any(job.seed == 4 for job in jobs):
            raise RuntimeError("out of memory")

    overlapping._synthesizer.model = Wrapped(overlapping._synthesizer.model, fail, max_batch=3)
    utterances = [
        Utterance(
            "Words " * (1 + n % 5), (voice, other_voice)[n % 2], seed=n, num_steps=1 + n % 2, return_smooth=n == 6
        )
        for n in range(9)
    ]
    for utterance, result in zip(utterances, overlapping.synthesize(utterances), strict=True):
        if utterance.seed == 4:
            assert isinstance(result, SynthesisError)
        else:
            assert relative_error(samples(result), one(pipeline, utterance)) < 1e-4


def test_onnx_pipeline_equals_the_torch_pipeline(pipeline: Pipeline, tiny_onnx: Path, voice: Voice) -> None:
    onnx = Pipeline.load(tiny_onnx, compute="onnx", phonemize=spell)
    utterance = Utterance(TEXTS[1], voice, seed=3, speed=1.4)
    assert relative_error(one(onnx, utterance), one(pipeline, utterance)) < 1e-4


def test_only_invalid_items_fail_and_each_error_names_its_field(pipeline: Pipeline, voice: Voice) -> None:
    good = Utterance("Fine.", voice, seed=1)
    bad = {
        "text": [replace(good, text=text) for text in ("", "...", "Привет", "x" * 100_001)],
        "num_steps": [replace(good, num_steps=n) for n in (0, -1, 65)],
        "t_shift": [replace(good, t_shift=t) for t in (0.0, -1.0, float("nan"), float("inf"))],
        "speed": [replace(good, speed=s) for s in (0.0, 0.1, 5.0, float("nan"))],
        "guidance_scale": [replace(good, guidance_scale=g) for g in (-1.0, 11.0)],
        "seed": [replace(good, seed=s) for s in (-1, 2**63)],
        "voice": [replace(good, voice=replace(voice, tokens=()))],
        "prompt_text": [replace(good, voice=replace(voice, features=np.zeros((MAX_FRAMES, 100), np.float32)))],
    }
    utterances = [utterance for group in bad.values() for utterance in (good, *group)]
    expected = [field for field, group in bad.items() for field in ("", *[field] * len(group))]
    audio = one(pipeline, good)
    for field, result in zip(expected, pipeline.synthesize(utterances), strict=True):
        if field:
            assert isinstance(result, InvalidInputError)
            assert result.field == field
        else:
            assert np.array_equal(samples(result), audio)


def test_more_hours_of_speech_than_an_answer_carries_are_refused_before_any_is_made(
    pipeline: Pipeline, voice: Voice
) -> None:
    result = pipeline.synthesize([Utterance("word " * 15_000, voice, speed=0.25)])[0]
    assert isinstance(result, InvalidInputError)
    assert (result.field, result.reason) == ("text", f"makes more than {MAX_HOURS} hours of speech")


def test_upstream_text_without_tokens_is_an_error_not_a_crash(pipeline: Pipeline, voice: Voice) -> None:
    result = pipeline.synthesize([Utterance("12345", voice, upstream=True)])[0]
    assert isinstance(result, InvalidInputError)
    assert result.field == "text"


def test_a_network_failure_stays_with_its_item(tiny: Path, voice: Voice) -> None:
    pipeline = Pipeline.load(tiny, phonemize=spell, max_batch=4)

    def fail(jobs: Sequence[Job]) -> None:
        if any(job.seed == 2 for job in jobs):
            raise RuntimeError("out of memory")

    model = pipeline._synthesizer.model
    pipeline._synthesizer.model = Wrapped(model, fail, max_batch=4)
    results = pipeline.synthesize([Utterance("Same text.", voice, seed=seed) for seed in range(4)])
    assert [isinstance(result, Audio) for result in results] == [True, True, False, True]
    assert isinstance(results[2], SynthesisError)
    assert "out of memory" in str(results[2])


def test_a_phonemizer_or_vocoder_failure_stays_with_its_item(tiny: Path, voice: Voice) -> None:
    def phonemize(text: str) -> str:
        if text == "boom":
            raise RuntimeError("espeak broke")
        return spell(text)

    pipeline = Pipeline.load(tiny, phonemize=phonemize)
    vocoder = pipeline._synthesizer.vocoder.forward

    def decode(mel: Tensor, smooth: bool = False) -> Tensor:
        if smooth:
            raise RuntimeError("vocoder broke")
        return vocoder(mel, smooth)

    pipeline._synthesizer.vocoder.forward = decode  # type: ignore[method-assign]
    good = Utterance("Hi.", voice, seed=1)
    results = pipeline.synthesize([good, replace(good, text="boom"), replace(good, return_smooth=True), good])
    assert [type(result) for result in results] == [Audio, SynthesisError, SynthesisError, Audio]
    assert "espeak broke" in str(results[1])
    assert "vocoder broke" in str(results[2])


def test_numbers_that_are_not_finite_are_an_error(pipeline: Pipeline, voice: Voice) -> None:
    broken = replace(voice, features=np.full_like(voice.features, np.nan))
    bad, good = pipeline.synthesize([Utterance("Hi.", broken, seed=1), Utterance("Hi.", voice, seed=1)])
    assert isinstance(bad, SynthesisError)
    assert isinstance(good, Audio)


def test_the_check_runs_between_steps_and_what_it_raises_propagates(pipeline: Pipeline, voice: Voice) -> None:
    class DeadlineError(RuntimeError):
        pass

    calls = 0

    def third_call_is_late() -> None:
        nonlocal calls
        calls += 1
        if calls == 3:
            raise DeadlineError

    with pytest.raises(DeadlineError):
        pipeline.synthesize([Utterance("Hello.", voice, num_steps=8)], check=third_call_is_late)
    assert calls == 3


def test_long_text_is_spoken_in_chunks_and_costs_about_its_length(pipeline: Pipeline, voice: Voice) -> None:
    longest = 0

    def note(jobs: Sequence[Job]) -> None:
        nonlocal longest
        longest = max(longest, *(job.frames for job in jobs))

    text = "This sentence is one of very many that follow each other. " * 60
    model = pipeline._synthesizer.model
    pipeline._synthesizer.model = Wrapped(model, note)
    try:
        audio = one(pipeline, Utterance(text, voice, seed=0, num_steps=1))
    finally:
        pipeline._synthesizer.model = model
    tokens = len(pipeline.tokenizer.encode(text))
    seconds = tokens * len(voice.features) / len(voice.tokens) * 256 / 24_000
    assert len(audio) / 48_000 == pytest.approx(seconds, rel=0.1)
    assert longest <= frame_count(len(voice.features), len(voice.tokens), 100, 1.0)


def test_chunks_of_one_text_have_their_own_noise(pipeline: Pipeline, voice: Voice) -> None:
    seeds: list[int] = []
    model = pipeline._synthesizer.model
    pipeline._synthesizer.model = Wrapped(model, lambda jobs: seeds.extend(job.seed for job in jobs))
    try:
        one(pipeline, Utterance("Several words are in here now. " * 20, voice, seed=5, num_steps=1))
    finally:
        pipeline._synthesizer.model = model
    assert len(seeds) == len(set(seeds)) > 3
    assert 5 in seeds


def test_default_and_upstream_lengths(pipeline: Pipeline, voice: Voice) -> None:
    text = "Exactly these words"
    prompt_frames, prompt_tokens = len(voice.features), len(voice.tokens)
    count = len(pipeline.tokenizer.encode(text))
    # What the tiny model says has no silence around it: some is left before and behind.
    for upstream, pace, lost, kept_s in ((False, 1.0, 0, 2 * KEPT_S), (True, 1.3, 1, 0)):
        frames = frame_count(prompt_frames, prompt_tokens, count, pace) - prompt_frames
        audio = one(pipeline, Utterance(text, voice, seed=1, upstream=upstream))
        assert len(audio) == pytest.approx((frames - lost) * 512 + kept_s * 48_000, abs=24)


def test_speed_divides_the_duration(pipeline: Pipeline, voice: Voice) -> None:
    text = "A sentence that is long enough to measure its speed well."
    slow, fast = (len(one(pipeline, Utterance(text, voice, seed=1, speed=s, num_steps=1))) for s in (0.5, 2.0))
    assert slow / fast == pytest.approx(4.0, rel=0.03)


def test_output_is_as_loud_as_the_reference(pipeline: Pipeline, voice: Voice, other_voice: Voice) -> None:
    """A reference below the target level was raised before encoding; its speech is lowered again by the same factor."""
    quiet = Utterance("Hello.", other_voice, seed=1)
    assert other_voice.rms < other_voice.target_rms
    raised = one(pipeline, replace(quiet, voice=replace(other_voice, rms=other_voice.target_rms)))
    expected = raised * (other_voice.rms / other_voice.target_rms)
    assert relative_error(one(pipeline, quiet), expected) < 1e-6
    assert Utterance("Hello.", voice).gain == 1.0
    assert Utterance("Hello.", voice, upstream=True).gain == pytest.approx(min(1.0, voice.rms / 0.1))


def test_smooth_output_has_no_energy_above_the_24_khz_band(pipeline: Pipeline, voice: Voice) -> None:
    def high_share(audio: NDArray[np.float32]) -> float:
        power = np.abs(np.fft.rfft(audio)) ** 2
        return float(power[int(0.55 * len(power)) :].sum() / power.sum())

    full, smooth = (one(pipeline, Utterance(TEXTS[1], voice, seed=1, return_smooth=s)) for s in (False, True))
    assert len(full) == pytest.approx(len(smooth), abs=24)
    assert high_share(smooth) < 1e-3 < high_share(full)


class Recorder:
    """A transcriber that answers with fixed words and remembers the audio."""

    def __init__(self, words: str) -> None:
        self.words = words
        self.heard: list[NDArray[np.float32]] = []

    def transcribe(self, wave: NDArray[np.float32]) -> str:
        self.heard.append(wave)
        return self.words


def test_without_a_transcript_the_transcriber_hears_exactly_what_is_encoded(pipeline: Pipeline) -> None:
    recorder = Recorder("Some words.")
    pipeline.transcriber = recorder
    try:
        voice = pipeline.encode_prompt(audio_file(tone(9.0)), seconds=4.0)
    finally:
        pipeline.transcriber = None
    assert voice.transcript == "Some words."
    assert len(recorder.heard) == 1
    assert len(recorder.heard[0]) / 16_000 <= 4.0
    assert len(recorder.heard[0]) / 16_000 == pytest.approx(len(voice.features) * 256 / 24_000, abs=0.02)


def test_with_a_transcript_all_of_the_recording_is_used(pipeline: Pipeline) -> None:
    voice = pipeline.encode_prompt(audio_file(tone(7.0)), "All seven seconds of it.", seconds=5.0)
    assert len(voice.features) * 256 / 24_000 == pytest.approx(7.0, abs=0.02)


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"text": None}, "prompt_text"),
        ({"text": ""}, "prompt_text"),
        ({"text": "Привет"}, "prompt_text"),
        ({"audio": b"junk"}, "prompt_audio"),
        ({"audio": audio_file(tone(0.1))}, "prompt_audio"),
        ({"audio": audio_file(np.zeros(24_000, np.float32))}, "prompt_audio"),
        ({"audio": audio_file(tone(31.0))}, "prompt_audio"),
        ({"seconds": 0.1}, "ref_duration"),
        ({"seconds": 31.0}, "ref_duration"),
        ({"rms": 0.0}, "rms"),
        ({"rms": float("nan")}, "rms"),
    ],
)
def test_bad_references_name_their_field(pipeline: Pipeline, changes: dict[str, Any], field: str) -> None:
    arguments: dict[str, Any] = {"audio": audio_file(tone(1.0)), "text": "Words."} | changes
    with pytest.raises(InvalidInputError) as caught:
        pipeline.encode_prompt(**arguments)
    assert caught.value.field == field


def test_an_unknown_compute_path_is_refused(tiny: Path) -> None:
    with pytest.raises(InvalidInputError, match="compute"):
        Pipeline.load(tiny, compute="jax")  # type: ignore[arg-type]


def test_bfloat16_runs(tiny: Path, pipeline: Pipeline, voice: Voice) -> None:
    half = Pipeline.load(tiny, dtype=torch.bfloat16, phonemize=spell)
    utterance = Utterance("Hello.", voice, seed=1)
    assert len(one(half, utterance)) == len(one(pipeline, utterance))
