"""LuxTTS in pieces: the same speech, whoever makes them, in whatever company, and however it is asked for."""

from __future__ import annotations

import io
import tracemalloc
from concurrent.futures import Future
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from kernelport.errors import InvalidArgumentError, KernelPortError
from kernelport.tensors import Array
from kernelport.text.pieces import SENTENCE_S
from kernelport_workers.backends.base import Outputs, Request
from kernelport_workers.backends.stepped import Frame, Utterance
from kernelport_workers.luxtts import Audio, Pipeline, Voice, batching
from kernelport_workers.luxtts import Utterance as EngineUtterance
from kernelport_workers.luxtts.acoustic import Job
from kernelport_workers.pipelines.luxtts import LuxTTSPipeline
from kernelport_workers.pipelines.luxtts.references import References, Wanted
from kernelport_workers.speech.joins import AUDIBLE
from tests.luxtts.conftest import audio_file, spell, tone
from tests.luxtts.test_pipeline import Wrapped
from tests.stepped import together

RECORDING = audio_file(tone(1.0))
TEXT = "Well, this is how it begins now. " + "One more sentence of some letters follows here. " * 6


class NoReferences(References):
    """Encodes every recording anew."""

    def __init__(self, engine: Pipeline) -> None:
        self._engine = engine

    def begin(self, wanted: Wanted) -> Future[Voice]:
        voice: Future[Voice] = Future()
        parameters = {"seconds": wanted.seconds, "rms": wanted.rms, "upstream": wanted.upstream}
        voice.set_result(self._engine.encode_prompt(wanted.audio, wanted.transcript, **parameters))  # type: ignore[arg-type]
        return voice


def served(tiny: Path, max_batch: int) -> LuxTTSPipeline:
    engine = Pipeline.load(tiny, phonemize=spell, max_batch=max_batch)
    return LuxTTSPipeline(engine, "cpu", "test", NoReferences(engine))


@pytest.fixture(scope="module")
def voice(tiny: Path) -> LuxTTSPipeline:
    """As on a CPU: one pass at a time."""
    return served(tiny, max_batch=1)


@pytest.fixture(scope="module")
def batched(tiny: Path) -> LuxTTSPipeline:
    """As on a GPU: passes share a run."""
    return served(tiny, max_batch=8)


def utf8(text: str) -> Array:
    return np.frombuffer(text.encode(), np.uint8)


def request(text: str = TEXT, seed: int = 3, **more: str) -> Request:
    inputs = {"prompt_audio": np.frombuffer(RECORDING, np.uint8), "prompt_text": utf8("Hello there.")}
    inputs |= {"text": utf8(text), "seed": np.array([seed]), "num_steps": np.array([1], np.int32)}
    return Request(inputs | {name: utf8(value) for name, value in more.items()})


def pieces(backend: LuxTTSPipeline, utterance: Utterance) -> list[Frame]:
    found: list[Frame] = []
    while not utterance.is_done:
        (frame,) = backend.step([utterance])
        assert isinstance(frame, Frame), frame
        found.append(frame)
    return found


def whole(result: Outputs | KernelPortError) -> Array:
    assert isinstance(result, dict), result
    return result["audio"]


def test_the_whole_is_its_pieces_whoever_makes_them(voice: LuxTTSPipeline) -> None:
    made = pieces(voice, voice.open(request()))
    assert len(made) > 3
    assert [frame.is_last for frame in made] == [False] * (len(made) - 1) + [True]
    np.testing.assert_array_equal(together(voice, made)["audio"], whole(voice.run([request()])[0]))
    for index, frame in enumerate(made):
        (alone,) = voice.step([voice.open(request(), index)])  # by somebody who has made no other
        assert isinstance(alone, Frame)
        assert (alone.index, alone.is_last) == (index, frame.is_last)
        np.testing.assert_array_equal(alone.outputs["audio"], frame.outputs["audio"])


def test_pieces_of_several_requests_share_a_run_by_their_length(
    voice: LuxTTSPipeline, batched: LuxTTSPipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs: list[list[int]] = []

    def note(jobs: list[Job]) -> None:
        runs.append([job.frames for job in jobs])

    model = batched._engine._synthesizer.model
    monkeypatch.setattr(batched._engine._synthesizer, "model", Wrapped(model, note, max_batch=8))
    monkeypatch.setattr(batching, "_BATCH_FLOPS", 1e6)  # of so small a model
    asked = [request("Yes.", seed) for seed in range(3)] + [request(TEXT[34:134], seed) for seed in range(3)]
    assert batched.pieces_a_step == 8
    frames = batched.step([batched.open(each) for each in asked])
    assert [len(run) for run in runs] == [3, 3]
    for each, frame in zip(asked, frames, strict=True):
        assert isinstance(frame, Frame)
        (alone,) = voice.step([voice.open(each)])
        assert isinstance(alone, Frame)
        np.testing.assert_allclose(frame.outputs["audio"], alone.outputs["audio"], atol=1e-4)


def test_a_batch_is_made_in_company(batched: LuxTTSPipeline) -> None:
    asked = [request(TEXT, 1), request("Yes.", 2), request("...", 3), request(TEXT, 4)]
    first, second, silent, last = batched.run(asked)
    assert isinstance(silent, InvalidArgumentError)
    for each, result in ((asked[0], first), (asked[1], second), (asked[3], last)):
        np.testing.assert_allclose(whole(result), whole(batched.run([each])[0]), atol=1e-4)


def test_a_request_that_cannot_be_read_fails_alone(voice: LuxTTSPipeline) -> None:
    for bad, field in ((request("Привет"), "text"), (request(locale="xx"), "locale")):
        error, frame = voice.step([voice.open(bad), voice.open(request())])
        assert isinstance(error, InvalidArgumentError)
        assert error.violations[0].field == f'inputs["{field}"]'
        assert isinstance(frame, Frame)


def test_pauses_are_as_the_table_says(voice: LuxTTSPipeline) -> None:
    samples = whole(voice.run([request(TEXT)])[0])
    heard = np.flatnonzero(np.abs(samples) > AUDIBLE * np.abs(samples).max())
    assert heard[0] <= 0.02 * 48_000
    gaps = np.diff(heard) / 48_000
    assert gaps[gaps > 0.1].tolist() == pytest.approx([SENTENCE_S] * (gaps > 0.1).sum(), abs=0.01)
    assert (gaps > 0.1).sum() > 2


def test_ten_minutes_in_one_request_take_little_more_than_their_size(
    tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    backend = served(tiny, max_batch=1)
    sound = torch.from_numpy(tone(15.0, 48_000))[None]
    synthesizer = backend._engine._synthesizer
    # The memory of the networks is not what is measured.
    monkeypatch.setattr(synthesizer.model, "generate", lambda jobs, schedule, check: [torch.zeros(1, 100)])
    monkeypatch.setattr(synthesizer, "vocoder", lambda mel, smooth: sound.clone())
    text = "One more sentence of some fifty letters follows here. " * 42
    reference = backend._engine.encode_prompt(RECORDING, "Hello there.")
    tracemalloc.start()
    try:
        samples = whole(backend.run([request(text)])[0])
        before, peak = tracemalloc.get_traced_memory()
        tracemalloc.reset_peak()
        (spoken,) = backend._engine.synthesize([EngineUtterance(text, reference)])
        _, engine_peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert samples.size > 600 * 48_000
    print(peak / samples.nbytes, (engine_peak - before) / samples.nbytes)
    assert peak < 1.5 * samples.nbytes
    assert isinstance(spoken, Audio)
    assert engine_peak - before < 1.5 * spoken.samples.nbytes


@pytest.mark.parametrize("asked_s", [0.1, 0.5, 2.0])
def test_a_pause_that_is_asked_for_is_as_long(voice: LuxTTSPipeline, asked_s: float) -> None:
    (sound,) = voice.run([request(f'Well.<break time="{round(asked_s * 1000)}ms"/>Now.')])
    heard = np.flatnonzero(np.abs(whole(sound)) > AUDIBLE * np.abs(whole(sound)).max())
    assert np.diff(heard).max() / 48_000 == pytest.approx(asked_s, abs=0.01)


def test_silence_comes_before_all_words_where_it_is_asked_for(voice: LuxTTSPipeline) -> None:
    led, plain = (whole(voice.run([request(text)])[0]) for text in ('<break time="300ms"/>Yes.', "Yes."))
    np.testing.assert_array_equal(led, np.concatenate([np.zeros(round(0.3 * 48_000), np.float32), plain]))


@pytest.mark.parametrize("name", ["wav", "mp3"])
def test_a_file_comes_with_the_last_piece_whoever_goes_on_with_it(voice: LuxTTSPipeline, name: str) -> None:
    made = pieces(voice, voice.open(request(audio_format=name)))
    assert all(not frame.outputs["audio"].size for frame in made)
    assert all(not frame.outputs["audio_file"].size for frame in made[:-1])
    assert all(frame.seconds > 0.1 for frame in made), "a listener is taken to have them"
    again = pieces(voice, voice.open(request(audio_format=name), 2))
    assert [frame.index for frame in again] == [frame.index for frame in made], "it is made from its beginning"
    assert again[-1].outputs["audio_file"].tobytes() == made[-1].outputs["audio_file"].tobytes()
    (answer,) = voice.run([request(audio_format=name)])
    assert isinstance(answer, dict)
    assert answer["audio_file"].tobytes() == made[-1].outputs["audio_file"].tobytes()
    decoded, _ = soundfile.read(io.BytesIO(answer["audio_file"].tobytes()), dtype="float32")
    if name == "wav":
        np.testing.assert_allclose(decoded, whole(voice.run([request()])[0]), atol=1e-4)


def test_a_file_in_the_making_counts_among_what_is_kept(voice: LuxTTSPipeline) -> None:
    writing, sending = voice.open(request(audio_format="wav")), voice.open(request())
    first, second = voice.step([writing, sending])
    assert isinstance(first, Frame)
    assert isinstance(second, Frame)
    assert writing.kept_bytes >= 2 * second.outputs["audio"].size
    assert sending.kept_bytes == 0


def test_what_follows_all_pieces_is_an_end_and_what_follows_that_an_error(voice: LuxTTSPipeline) -> None:
    count = len(pieces(voice, voice.open(request())))
    (end,) = voice.step([voice.open(request(), count)])
    assert isinstance(end, Frame)
    assert (end.index, end.is_last, end.outputs["audio"].size) == (count, True, 0)
    (error,) = voice.step([voice.open(request(), count + 1)])
    assert isinstance(error, InvalidArgumentError)
    assert (
        error.message == f"resume_from: expected at most {count}, the number of messages in the answer, got {count + 1}"
    )


def test_it_tells_that_it_is_at_work_between_the_steps_of_its_solver(voice: LuxTTSPipeline) -> None:
    ticks: list[None] = []
    asked = request("Yes.")
    inputs = {**asked.inputs, "num_steps": np.array([6], np.int32)}
    voice.step([voice.open(Request(inputs, tick=lambda: ticks.append(None)))])
    assert len(ticks) >= 6
