"""What cannot be done in time is refused before it is begun."""

import time
from pathlib import Path

from kernelport import Client
from kernelport.config.deployments import load_deployments
from kernelport.config.settings import bundled_deployments
from tests.cli.running import called
from tests.conftest import serving_stack, stack_settings
from tests.everyday.conftest import text_file
from tests.waiting import wait_for

LIMIT_S = 10
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
        called("say", LINE * 4, **where)  # which the worker measures
        book = LINE * 1000

        def refused() -> str:
            told = " ".join(called("say", book, "-o", "book.wav", expect=1, **where).stderr.split())
            return told if "line 1: text: it would take about" in told else ""

        told = wait_for(refused, 60)
        assert f"the limit of {LIMIT_S} s is timeouts.request_s of hibari-en in {file}" in told
        assert "make a job (`kernelport jobs submit`)" in told
        started = time.monotonic()
        assert refused()
        assert time.monotonic() - started < LIMIT_S / 2

        own = called("say", book, "-o", "book.wav", "--timeout", "1", expect=1, **where).stderr
        assert "expected to be done within 1 s" in own, "the caller's own limit is not guessed at"
        job = called("jobs", "submit", text_file(tmp_path / "book.txt", book), **where).stdout.strip()
        client.jobs.cancel(job)
