"""Several items at a time on one CPU: the same bytes, and an end as soon as nobody waits."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from kernelport_workers.luxtts import Audio, Pipeline, Utterance, Voice
from kernelport_workers.luxtts.cpu_layers import has_int8
from kernelport_workers.luxtts.streams import in_streams
from tests.luxtts.conftest import audio_file, spell, tone


class Stop(Exception):
    """Raised by a check."""


@pytest.fixture(scope="module", params=["onnx-int8", "torch-int8"])
def pipeline(tiny: Path, tiny_onnx: Path, request: pytest.FixtureRequest) -> Pipeline:
    if request.param == "torch-int8" and not has_int8():
        pytest.skip("torch has no int8 here")
    root = tiny if request.param == "torch-int8" else tiny_onnx
    loaded = Pipeline.load(root, compute=request.param, phonemize=spell)
    loaded._synthesizer.model.streams = 3
    return loaded


@pytest.fixture(scope="module")
def voice(pipeline: Pipeline) -> Voice:
    return pipeline.encode_prompt(audio_file(tone(1.0)), "Hello there, this is me.")


def test_items_in_streams_are_those_run_alone(pipeline: Pipeline, voice: Voice) -> None:
    texts = ["o " * length for length in (3, 40, 9, 21, 33, 5, 50, 14)]
    utterances = [Utterance(text, voice, seed=seed, num_steps=2) for seed, text in enumerate(texts)]
    alone = [pipeline.synthesize([utterance])[0] for utterance in utterances]
    for single, shared in zip(alone, pipeline.synthesize(utterances), strict=True):
        assert isinstance(single, Audio)
        assert isinstance(shared, Audio)
        assert single.samples.tobytes() == shared.samples.tobytes()


def test_a_check_that_raises_ends_every_stream(pipeline: Pipeline, voice: Voice) -> None:
    calls: list[int] = []

    def check() -> None:
        calls.append(threading.get_ident())
        if len(calls) >= 4:
            raise Stop

    with pytest.raises(Stop):
        pipeline.synthesize([Utterance("Hello.", voice, seed=seed) for seed in range(30)], check)
    assert len(calls) == 4


def test_results_come_as_they_are_finished_and_a_failure_ends_the_rest() -> None:
    first_may_end = threading.Event()
    begun: list[int] = []

    def slow() -> str:
        assert first_may_end.wait(30)
        return "slow"

    results = in_streams([slow, lambda: "quick"], 2)
    assert next(results) == "quick"
    first_may_end.set()
    assert list(results) == ["slow"]

    def fail() -> str:
        raise Stop

    def take_a_while() -> str:
        begun.append(1)
        threading.Event().wait(0.001)
        return "late"

    with pytest.raises(Stop):
        list(in_streams([fail, *[take_a_while] * 10_000], 1))
    assert len(begun) < 10_000
