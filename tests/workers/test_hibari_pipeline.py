"""Text to speech as a backend: what it says, and what it refuses."""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kernelport.config.deployments import Deployment
from kernelport.config.manifests import load_manifest
from kernelport.errors import DeadlineExceededError, InvalidArgumentError, KernelPortError
from kernelport.tensors import Array
from kernelport.text.pieces import PARAGRAPH_S, SENTENCE_S
from kernelport_workers.backends.base import LoadError, Outputs, Request
from kernelport_workers.backends.stepped import Frame
from kernelport_workers.pipelines import hibari, hibari_sound
from kernelport_workers.pipelines.hibari import HibariPipeline
from kernelport_workers.pipelines.hibari_sound import sound_of
from kernelport_workers.speech.joins import AUDIBLE
from tests.stepped import together

MANIFEST = """
id: hibari-heart
source: {kind: package, package: hibari}
format: onnx
backend: onnx
files: {model: assets/hibari.onnx}
"""


def deployment(device: str = "cpu") -> Deployment:
    return Deployment(
        name="test",
        backend="onnx",
        pipeline="kernelport_workers.pipelines.hibari:HibariPipeline",
        image="none",
        device=device,
    )


@pytest.fixture(scope="module")
def pipeline() -> HibariPipeline:
    return HibariPipeline.load(deployment())


def utf8(text: str) -> Array:
    return np.frombuffer(text.encode(), np.uint8)


def say(pipeline: HibariPipeline, text: str, **scalars: Any) -> Outputs | KernelPortError:
    (result,) = pipeline.run([Request({"text": utf8(text), **scalars})])
    return result


def audio(result: Outputs | KernelPortError) -> Array:
    assert isinstance(result, dict), result
    assert result["sample_rate"].dtype == np.int32
    assert result["sample_rate"].tolist() == [24000]
    samples = result["audio"]
    assert samples.dtype == np.float32
    assert samples.ndim == 1
    return samples


def test_it_speaks(pipeline: HibariPipeline) -> None:
    samples = audio(say(pipeline, "The quick brown fox jumps over the lazy dog."))
    assert 1.5 < len(samples) / 24000 < 6
    assert 0.01 < np.sqrt(np.mean(samples**2)) < 0.5
    assert np.abs(samples).max() <= 1


def test_it_says_what_the_package_says(monkeypatch: pytest.MonkeyPatch) -> None:
    from hibari import Hibari

    voice = Hibari(threads=1)
    (phonemes,) = voice.phonemize("One sentence, and no more of it.")
    monkeypatch.setattr(hibari_sound, "_heard", lambda *levels: slice(None))  # the silence around it included
    spoken = sound_of(voice, phonemes, 1.0, np.random.default_rng(3))
    np.testing.assert_array_equal(spoken, voice.from_phonemes(phonemes, 1.0, 3))


def test_same_text_and_seed_same_bytes(pipeline: HibariPipeline) -> None:
    def spoken(**scalars: Array) -> bytes:
        return audio(say(pipeline, "Twice the same.", **scalars)).tobytes()

    assert spoken(seed=np.array([7])) == spoken(seed=np.array([7]))
    assert spoken(seed=np.array([7])) != spoken(seed=np.array([8]))
    assert spoken() == spoken(seed=np.array([0]))


def test_speed_changes_the_length(pipeline: HibariPipeline) -> None:
    slow, fast = (len(audio(say(pipeline, "As you like it.", speed=np.array([s], np.float32)))) for s in (0.5, 2.0))
    assert slow > 2 * fast


TEXT = (
    "Yes. The train to the coast leaves at half past seven, and nobody on the stairs looked up. It was late.\n\n"
    'A new paragraph begins here; it goes on. <break time="1s"/>Why? Nobody knows, for 25 km or more.'
)


def test_the_whole_is_its_pieces_whoever_makes_them(pipeline: HibariPipeline) -> None:
    request = Request({"text": utf8(TEXT), "seed": np.array([3])})
    pieces = []
    while not pieces or not pieces[-1].is_last:
        (frame,) = pipeline.step([pipeline.open(request, len(pieces))])  # each by somebody who has made no other
        assert isinstance(frame, Frame)
        assert frame.index == len(pieces)
        pieces.append(frame)
    assert len(pieces) == 5
    np.testing.assert_array_equal(together(pipeline, pieces)["audio"], audio(say(pipeline, TEXT, seed=np.array([3]))))


def test_pieces_take_turns(pipeline: HibariPipeline) -> None:
    texts = ["One. Two.", "Three. Four."]
    utterances = [pipeline.open(Request({"text": utf8(text)})) for text in texts]
    frames = [pipeline.step([each])[0] for _ in range(2) for each in utterances]
    for text, mine in zip(texts, (frames[::2], frames[1::2]), strict=True):
        spoken = together(pipeline, [frame for frame in mine if isinstance(frame, Frame)])
        np.testing.assert_array_equal(spoken["audio"], audio(say(pipeline, text)))


def test_speech_begins_at_once_and_pauses_are_as_the_table_says(pipeline: HibariPipeline) -> None:
    samples = audio(say(pipeline, "One. Two.\n\nThree."))
    heard = np.flatnonzero(np.abs(samples) > AUDIBLE)
    assert heard[0] <= 0.02 * 24000
    gaps = np.diff(heard) / 24000
    assert gaps[gaps > 0.15].tolist() == pytest.approx([SENTENCE_S, PARAGRAPH_S], abs=0.01)


def test_the_hours_that_may_be_spoken_count_from_where_a_stream_is_opened(
    pipeline: HibariPipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = "The clocks were striking thirteen, and nobody on the stairs looked up at them. " * 8
    monkeypatch.setattr(hibari, "MAX_HOURS", 12 / 3600)
    error = say(pipeline, text)
    assert isinstance(error, InvalidArgumentError)
    assert "hours of speech" in error.message
    utterance = pipeline.open(Request({"text": utf8(text)}), 4)
    while not utterance.is_done:
        (frame,) = pipeline.step([utterance])
        assert isinstance(frame, Frame), frame
    pipeline.open(Request({"text": utf8(text)}), utterance.next_index)
    with pytest.raises(InvalidArgumentError, match="resume_from: expected at most"):
        pipeline.open(Request({"text": utf8(text)}), utterance.next_index + 1)


def test_a_sentence_without_end_is_spoken_in_pieces(pipeline: HibariPipeline) -> None:
    assert len(audio(say(pipeline, "word " * 300))) > 24000 * 60


@pytest.mark.parametrize(
    ("text", "scalars", "field", "message"),
    [
        (b"\xff\xfe", {}, "text", "expected UTF-8"),
        (b"", {}, "text", "something to say"),
        (b" \n\t ", {}, "text", "something to say"),
        (b"?!...", {}, "text", "something to say"),
        (b"a" * 100_001, {}, "text", "at most 100,000 characters, got 100,001"),
        (b"1" * 400, {}, "text", "digits"),
        (b"hi", {"speed": np.array([0.4], np.float32)}, "speed", "expected 0.5 to 2.0, got 0.4"),
        (b"hi", {"speed": np.array([2.5], np.float32)}, "speed", "got 2.5"),
        (b"hi", {"speed": np.array([np.nan], np.float32)}, "speed", "got nan"),
        (b"hi", {"speed": np.array([np.inf], np.float32)}, "speed", "got inf"),
        (
            "мир".encode(),
            {},
            "text",
            "something to say, such as a word or a number; left out what cannot be spoken: мир",
        ),
        (b"hi", {"locale": np.frombuffer(b"de-DE", np.uint8)}, "locale", "expected en-US or en-GB, got 'de-DE'"),
        (b"hi", {"seed": np.array([-1])}, "seed", "expected at least 0, got -1"),
        (b"hi", {"lexicon": np.frombuffer(b"hi", np.uint8)}, "lexicon", 'line 1, "hi": expected `word = words to say`'),
    ],
    ids=[
        *(
            "utf8",
            "empty",
            "blank",
            "marks",
            "long",
            "number",
            "slow",
            "fast",
            "nan",
            "inf",
            "script",
            "locale",
            "seed",
        ),
        "lexicon",
    ],
)
def test_a_bad_request_fails_alone_and_names_its_tensor(
    pipeline: HibariPipeline, text: bytes, scalars: dict[str, Array], field: str, message: str
) -> None:
    bad = Request({"text": np.frombuffer(text, np.uint8), **scalars})
    good = Request({"text": utf8("Fine.")})
    error, spoken = pipeline.run([bad, good])
    assert isinstance(error, InvalidArgumentError)
    assert [violation.field for violation in error.violations] == [f'inputs["{field}"]']
    assert message in error.message
    assert audio(spoken).size


@pytest.mark.parametrize(
    ("text", "unspoken"),
    [
        ("Naïve cafés: 5 €, 20 °C, ½ a cup – “so” much…", ""),
        ("It is 日本, 日 and pizza 🍕.", "日本, 日, 🍕"),
        ("Hello " + "".join(map(chr, range(0x4E00, 0x9E00))), "一丁丂七丄丅丆万丈三上下丌不与丏丐丑丒专"),
    ],
)
def test_characters_that_are_not_spoken_are_warned_of(pipeline: HibariPipeline, text: str, unspoken: str) -> None:
    request = Request({"text": utf8(text)})
    audio(pipeline.run([request])[0])
    assert request.warnings == ([f"text: left out what cannot be spoken: {unspoken}"] if unspoken else [])


def test_it_says_the_words_of_numbers_and_letters(pipeline: HibariPipeline) -> None:
    def spoken(text: str, **scalars: Array) -> bytes:
        return audio(say(pipeline, text, **scalars)).tobytes()

    assert spoken("It is 5 km, at 5pm.") == spoken("It is five kilometers, at five P.M.")
    british = {"locale": np.frombuffer(b"en-GB", np.uint8)}
    assert spoken("Due 03/04/2026.", **british) == spoken("Due the third of April, twenty twenty-six.")


def test_a_pause_that_is_asked_for_is_silence(pipeline: HibariPipeline) -> None:
    without, paused = (audio(say(pipeline, f"One.{mark}Two.")) for mark in (" ", '<break time="2s"/>'))
    assert len(paused) - len(without) == round((2 - SENTENCE_S) * 24000)


def test_a_pause_ahead_of_all_words_is_silence_before_them(pipeline: HibariPipeline) -> None:
    samples = audio(say(pipeline, '<break time="1s"/> Here we go.'))
    heard = np.flatnonzero(np.abs(samples) > AUDIBLE)
    assert heard[0] / 24000 == pytest.approx(1, abs=0.03)


def test_it_stops_between_sentences_when_nobody_waits(pipeline: HibariPipeline) -> None:
    checks = 0

    def check() -> None:
        nonlocal checks
        checks += 1
        if checks == 3:
            raise DeadlineExceededError("too late")

    late, spoken = pipeline.run(
        [Request({"text": utf8("One. Two. Three. Four.")}, check), Request({"text": utf8("Fine.")})]
    )
    assert isinstance(late, DeadlineExceededError)
    assert checks == 3
    assert audio(spoken).size


def test_signature(pipeline: HibariPipeline) -> None:
    assert [(spec.name, spec.optional) for spec in pipeline.signature.inputs] == [
        ("text", False),
        ("speed", True),
        ("locale", True),
        ("seed", True),
        ("lexicon", True),
    ]
    assert not pipeline.signature.batchable


def with_options(folder: Path, options: str) -> Deployment:
    manifest = folder / "manifest.yaml"
    manifest.write_text(MANIFEST + f"options: {options}\n")
    return deployment().model_copy(update={"manifest": load_manifest(manifest)})


def test_a_deployment_names_its_locale(tmp_path: Path, pipeline: HibariPipeline) -> None:
    british = HibariPipeline.load(with_options(tmp_path, "{locale: en-GB}"))
    said = audio(say(pipeline, "The third of April, twenty twenty-six."))
    np.testing.assert_array_equal(audio(say(british, "03/04/2026.")), said)


def test_words_are_read_by_lexicons_of_request_and_deployment(tmp_path: Path, pipeline: HibariPipeline) -> None:
    deployed = HibariPipeline.load(with_options(tmp_path, '{lexicon: "Nguyen = win\\nGIF = gif"}'))
    lexicon = utf8("GIF = /ʤˈɪf/")
    said = audio(say(pipeline, "win has a jiff."))
    np.testing.assert_array_equal(audio(say(deployed, "Nguyen has a GIF.", lexicon=lexicon)), said)
    assert audio(say(deployed, "Nguyen has a GIF.")).tobytes() != said.tobytes()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("{locale: de-DE}", "options.locale: expected en-US or en-GB, got 'de-DE'"),
        ('{lexicon: "GIF = /gɪ#/"}', 'options.lexicon: "GIF": expected phonemes that the voice has, got "#"'),
        ("{accent: gb}", "options: expected locale or lexicon, got accent"),
    ],
)
def test_an_option_that_is_wrong_is_refused(tmp_path: Path, options: str, message: str) -> None:
    with pytest.raises(LoadError, match=message):
        HibariPipeline.load(with_options(tmp_path, options))


def test_it_is_refused_where_it_cannot_run(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(LoadError, match="runs on the CPU"):
        HibariPipeline.load(deployment("cuda"))
    monkeypatch.setitem(sys.modules, "hibari", None)
    with pytest.raises(LoadError, match=r"\.\[hibari\]"):
        HibariPipeline.check_requirements()
