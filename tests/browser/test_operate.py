"""What runs, in the studio: workers, dead letters, the autoscaler, and a model that is tried."""

import json
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
from redis import Redis

from kernelport.broker import keys
from kernelport.coercion import to_tensors
from kernelport.supervisor.stack import Stack
from kernelport.v1 import dead_letter_pb2, inference_pb2
from tests.browser.conftest import Visit
from tests.browser.jobs import TENSORS
from tests.browser.test_page import faults
from tests.http.calls import ask
from tests.waiting import wait_for

REPORT = {
    "unix_s": 1_700_000_000.0,
    "dollars_per_hour": 2.4,
    "dollars_last_day": 7.5,
    "budget_per_hour": 5,
    "budget_per_day": 50,
    "machines": [
        {
            "name": "kp-main-1",
            "deployment": "hibari-en",
            "workers": 2,
            "price": 2.4,
            "launched_unix_s": 1_699_999_000.0,
            "state": "ready",
        }
    ],
    "plans": [
        {
            "deployment": "hibari-en",
            "ready": 2,
            "starting": 0,
            "wanted": 4,
            "reason": "<b>90 requests wait</b>",
            "actions": ["launch gpu_1x_a10 at $1.20/h"],
            "held_back": None,
        }
    ],
}


def test_what_is_done_shows_by_itself(studio: Stack, visit: Visit) -> None:
    page = visit("operate")
    card = page.get_by_role("article", name=TENSORS)
    card.get_by_text("Serving").wait_for()
    x = {"inputs": [{"name": "x", "shape": [1, 1, 1, 2], "datatype": "FP32", "data": [1.5, 2]}]}
    assert ask(studio.url, "POST", f"/v2/models/{TENSORS}/infer", x).status == 200
    card.get_by_role("img", name="A minute").wait_for()


def test_a_worker_is_drained_and_another_takes_its_place(studio: Stack, visit: Visit) -> None:
    def worker() -> dict[str, Any]:
        workers = ask(studio.url, "GET", "/api/workers").json()["workers"]
        return next((each for each in workers if each["deployments"] == [TENSORS]), {})

    before = worker()
    page = visit("operate")
    page.get_by_role("button", name=f"Drain {before['id']}").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_text("Nothing is lost").wait_for()
    dialog.get_by_role("button", name="Drain").click()
    wait_for(lambda: worker().get("pid", before["pid"]) != before["pid"], 100)


def test_dead_letters_are_run_again_and_thrown_away(studio: Stack, visit: Visit) -> None:
    inputs = to_tensors({"x": np.zeros((1, 1, 2, 2), np.float32)})
    request = inference_pb2.InferRequest(model=TENSORS, inputs=inputs).SerializeToString()
    with Redis.from_url(studio.settings.redis_url) as redis:
        for name in ("letter-1", "letter-2"):
            why = "<i>it killed</i> 3 workers"
            letter = dead_letter_pb2.DeadLetter(id=name, deployment=TENSORS, request=request, reason=why)
            redis.hset(keys.dead_letters(TENSORS), name, letter.SerializeToString())
    page = visit("operate")
    first, second = (page.get_by_role("row").filter(has_text=f"letter-{number}") for number in (1, 2))
    assert "<i>it killed</i>" in first.inner_text()
    first.get_by_role("button", name="Run again").click()
    first.wait_for(state="detached")
    second.get_by_role("button", name="Throw away").click()
    page.get_by_role("dialog").get_by_role("button", name="Throw away").click()
    page.get_by_text("No dead letters").wait_for()
    assert ask(studio.url, "GET", f"/api/dead-letters/{TENSORS}").json() == {"dead_letters": []}


def test_the_autoscaler_says_what_comes_next_and_why(studio: Stack, visit: Visit) -> None:
    page = visit("operate")
    nothing = page.get_by_text("No autoscaler has told of itself")
    nothing.wait_for()
    with Redis.from_url(studio.settings.redis_url) as redis:
        try:
            redis.set(keys.autoscale_report("main"), json.dumps(REPORT))
            page.get_by_text("<b>90 requests wait</b>").wait_for()
            page.get_by_text("launch gpu_1x_a10 at $1.20/h").wait_for()
            page.get_by_text("$7.50 of $50.00").wait_for()
        finally:
            redis.delete(keys.autoscale_report("main"))
    nothing.wait_for()


def test_what_tenants_have_used_is_told_and_saved(studio: Stack, visit: Visit) -> None:
    ask(studio.url, "POST", "/v1/audio/speech", {"model": "hibari-en", "input": "Good morning."})
    used = wait_for(lambda: ask(studio.url, "GET", "/api/usage").json()["usage"])
    page = visit("operate")
    row = page.get_by_role("region", name="Usage").get_by_role("row").filter(has_text="default")
    row.wait_for()
    calls, _, characters = (text.replace(",", "") for text in row.get_by_role("cell").all_inner_texts()[1:4])
    assert int(calls) >= sum(each["calls"] for each in used) > 0
    assert int(characters) >= len("Good morning.")
    with page.expect_download() as waiting:
        page.get_by_role("link", name="As CSV").click()
    assert Path(waiting.value.path()).read_text().startswith("day,tenant,calls,items")
    page.get_by_label("Time", exact=True).select_option("7 days")
    row.wait_for()


def test_a_model_is_tried_with_json(visit: Visit) -> None:
    page = visit("operate")
    inputs, run = page.get_by_label("Inputs"), page.get_by_role("button", name="Run", exact=True)
    inputs.fill('{"x": [[[[1.5, 2]]]]}')
    run.click()
    values = page.get_by_role("region", name="Values of y").get_by_role("cell")
    values.first.wait_for()
    assert values.all_inner_texts() == ["1.5", "2"]
    for wrong, told in (
        ("{", "The inputs are no JSON"),
        ('{"z": 1}', "The model has no input z. It takes x."),
        ('{"x": [[[[1, 2], [3], [4, 5, 6]]]]}', "The lists of x are not equally long."),
    ):
        inputs.fill(wrong)
        run.click()
        page.get_by_text(told).wait_for()


def test_a_number_that_a_browser_rounds_is_refused(visit: Visit) -> None:
    told = visit("operate").evaluate(
        """async () => {
          const { inputsOf } = await import("/studio/tensors.js");
          const declared = [{ name: "n", datatype: "INT64" }];
          const tried = (text) => {
            try { return inputsOf(JSON.parse(text), declared)[0].data; } catch (problem) { return problem.key; }
          };
          return [tried('{"n": [9007199254740991]}'), tried('{"n": [9007199254740993]}')];
        }"""
    )
    assert told == [[9007199254740991], "inexact"]


def test_a_damaged_file_of_numpy_is_told(visit: Visit, tmp_path: Path) -> None:
    np.savez_compressed(tmp_path / "x.npz", x=np.arange(4096, dtype=np.float32))
    damaged = bytearray((tmp_path / "x.npz").read_bytes())
    damaged[100:120] = b"\xff" * 20
    (tmp_path / "x.npz").write_bytes(damaged)
    page = visit("operate")
    page.get_by_label("Or a file of NumPy").set_input_files(tmp_path / "x.npz")
    page.get_by_role("button", name="Run", exact=True).click()
    page.get_by_role("alert").filter(has_text="The file is damaged").wait_for()
    assert page.get_by_label("Inputs", exact=True).is_disabled()
    page.get_by_role("button", name="Remove the file").click()
    page.get_by_role("button", name="Run", exact=True).click()
    page.get_by_role("region", name="Values of y").wait_for()


@pytest.mark.parametrize("is_packed", [False, True])
def test_a_model_is_tried_with_a_file_of_numpy_and_gives_an_image(
    visit: Visit, tmp_path: Path, is_packed: bool
) -> None:
    x = np.linspace(0, 1, 64, dtype=np.float32).reshape(1, 1, 8, 8)
    save = np.savez_compressed if is_packed else np.savez
    save(tmp_path / "x.npz", x=x)
    page = visit("operate")
    page.get_by_label("Or a file of NumPy").set_input_files(tmp_path / "x.npz")
    page.get_by_role("button", name="Run", exact=True).click()
    image = page.get_by_role("img", name="y as an image")
    image.wait_for()
    pixels = image.evaluate("(canvas) => [...canvas.getContext('2d').getImageData(0, 0, 8, 8).data]")
    assert np.abs(np.array(pixels).reshape(64, 4)[:, 0] - np.round(x.ravel() * 255)).max() <= 1


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_all_that_is_told_can_be_used_by_everybody(
    studio: Stack, visit: Visit, theme: Literal["light", "dark"]
) -> None:
    with Redis.from_url(studio.settings.redis_url) as redis:
        try:
            redis.set(keys.autoscale_report("main"), json.dumps(REPORT))
            page = visit("operate")
            page.emulate_media(color_scheme=theme, reduced_motion="reduce")
            page.get_by_text("kp-main-1").wait_for()
            assert not faults(page)
            page.set_viewport_size({"width": 360, "height": 800})
            assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        finally:
            redis.delete(keys.autoscale_report("main"))
