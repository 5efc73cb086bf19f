"""What cannot be done in time is refused before it is begun."""

import re
from pathlib import Path

import pytest

from kernelport import Client
from kernelport.config.deployments import load_deployments
from kernelport.config.settings import bundled_deployments
from kernelport.errors import DeadlineExceededError
from kernelport.speech_pace import SpeechPace, letters
from tests.cli.running import called
from tests.conftest import serving_stack, stack_settings
from tests.everyday.conftest import text_file

LIMIT_S = 5
LINE = "The river turned slowly past the old mills, and nobody counted the boats. "


def test_a_text_that_takes_longer_than_it_may_is_refused_at_once(tmp_path: Path) -> None:
    voice = load_deployments(bundled_deployments())["hibari-en"]
    file = text_file(
        tmp_path / "mine.yaml",
        "include: bundled",
        "deployments:",
        f"  hibari-en: {{backend: onnx, pipeline: '{voice.pipeline}', timeouts: {{request_s: {LIMIT_S}}}}}",
    )
    with (
        serving_stack(stack_settings(file), ["hibari-en"], tmp_path / "state") as stack,
        Client(stack.target) as client,
    ):
        where = {"KERNELPORT_TARGET": stack.target}
        book = LINE * 1000
        told = " ".join(called("say", book, "-o", "book.wav", expect=1, **where).stderr.split())
        assert "line 1: text: it would take about" in told, "though nothing was ever spoken here"
        assert f"the limit of {LIMIT_S} s is timeouts.request_s of hibari-en in {file}" in told
        assert "make a job (`kernelport jobs submit`)" in told
        assert "kernelport say --stream" in told
        assert client.speak("hibari-en", LINE).seconds > 1, "the voice is free"

        seconds = re.search(r"about (\d+) s", told)
        assert seconds is not None
        just_too_long = LINE * round(1000 * 1.2 * LIMIT_S / int(seconds[1]))
        for text, numbers in ((just_too_long, {}), (f"<p>{just_too_long}</p>", {"speed": 1.1, "seed": 5})):
            with pytest.raises(DeadlineExceededError, match="it would take about"):
                client.speak("hibari-en", text, **numbers)

        own = called("say", book, "-o", "book.wav", "--timeout", "1", expect=1, **where).stderr
        assert "expected to be done within 1 s" in own, "the caller's own limit is not guessed at"
        job = called("jobs", "submit", text_file(tmp_path / "book.txt", book), **where).stdout.strip()
        client.jobs.cancel(job)


def test_a_letter_is_expected_to_take_what_the_last_ones_took() -> None:
    pace = SpeechPace()
    pace.note(199, 1000)  # too few to tell
    assert pace.seconds_a_letter == 0
    pace.note(1000, 1)
    pace.note(1000, 2)
    assert pace.seconds_a_letter == pytest.approx(0.0015)
    pace.note(1_000_000, 1000)
    assert pace.seconds_a_letter == pytest.approx(0.001, rel=0.01)
    pace.note(1000, 600)
    assert pace.seconds_a_letter < 0.002, "a machine that stood still once says little"
    assert letters(b"Slow, <b>slow</b> words", {"speed": 0.5, "seed": 3}) == 2 * len("Slowslowwords")
    assert letters(b"<!-- Not said. --> Said.", {}) == letters(b"Steps?", {"num_steps": 4}) == 0, "nobody knows"
