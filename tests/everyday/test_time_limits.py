"""What cannot be done in time is refused before it is begun."""

from functools import partial
from pathlib import Path
from typing import Any

from kernelport import Client
from kernelport.config.deployments import load_deployments
from kernelport.config.settings import bundled_deployments
from kernelport.errors import DeadlineExceededError
from tests.cli.running import called
from tests.conftest import serving_stack, stack_settings
from tests.everyday.conftest import text_file
from tests.waiting import wait_for

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

        spoken = client.infer("hibari-en", {"text": LINE * 20})
        more = LINE * round(20 * 1.5 * LIMIT_S * 1e6 / spoken.backend_us)
        for text, numbers in ((more, {}), (f"<p>{more}</p>", {"speed": 1.1, "seed": 5})):
            wait_for(partial(_is_refused, client, text, numbers), LIMIT_S)

        own = called("say", book, "-o", "book.wav", "--timeout", "1", expect=1, **where).stderr
        assert "expected to be done within 1 s" in own, "the caller's own limit is not guessed at"
        job = called("jobs", "submit", text_file(tmp_path / "book.txt", book), **where).stdout.strip()
        client.jobs.cancel(job)


def _is_refused(client: Client, text: str, numbers: dict[str, Any]) -> bool:
    try:
        client.speak("hibari-en", text, **numbers)
    except DeadlineExceededError as error:
        return "it would take about" in error.message
    return False
