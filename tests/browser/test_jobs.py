"""Bulk jobs in the studio: from a file that is dropped to an item that is heard."""

import io
import os
import time
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import pytest

from kernelport.supervisor.stack import Stack
from tests.browser.conftest import Visit, Watched
from tests.browser.jobs import drop, made, over
from tests.browser.test_page import faults
from tests.http.calls import ask
from tests.waiting import wait_for

if TYPE_CHECKING:
    from playwright.sync_api import Route

BOOK = "id,text,notes\nfirst,Down.,x\nsecond,,x\nthird,Up.,x\n"
HOSTILE = '<img src=x onerror="document.title=1">\u202e&amp;<script>document.title=1</script>'
ID = '<img src=x onerror="document.title=1">&amp;<script>document.title=1</script>'


def test_a_dropped_file_becomes_a_job_whose_items_are_heard(studio: Stack, visit: Visit) -> None:
    page = visit("jobs")
    drop(page, "alice.csv", BOOK)
    page.get_by_text("The file cannot be used as it is.").wait_for()
    page.get_by_role("button", name="Leave out notes").click()
    page.get_by_label("Leave this line out").wait_for()
    row = page.get_by_role("region", name="Lines that cannot be used").get_by_role("row").nth(1)
    assert row.get_by_role("cell").all_inner_texts()[:2] == ["3", "text"]
    assert not page.get_by_role("button", name="Make a job of 2 items").is_enabled()
    page.get_by_label("Leave this line out").check()
    page.get_by_label("Format").select_option("flac")
    page.get_by_role("button", name="Make a job of 2 items").click()
    page.get_by_role("heading", level=1, name="alice.csv").wait_for()
    job = page.url.rpartition("/")[2]
    listen = page.get_by_role("button", name="Listen to first")
    listen.wait_for()
    listen.click()
    audio = page.locator("audio")
    wait_for(lambda: audio.evaluate("(audio) => audio.currentTime > 0"), what="that it is heard")
    address = audio.get_attribute("src")
    assert address == f"/api/jobs/{job}/outputs/first"
    played = page.evaluate(
        "async (address) => [...new Uint8Array(await (await fetch(address)).arrayBuffer())]", address
    )
    assert bytes(played) == ask(studio.url, "GET", address).body
    assert bytes(played[:4]) == b"fLaC"
    page.reload()
    page.get_by_text("2 of 2 items").wait_for()
    page.get_by_text("Ran for").wait_for()
    assert page.locator(".items-list").evaluate("(list) => list.clientHeight == 2 * 48"), "nothing empty below"


def test_a_pasted_text_is_looked_at_and_estimated(studio: Stack, visit: Visit) -> None:
    over(studio, made(studio, ["Something that has been measured."]))
    page = visit("jobs")
    page.get_by_text("Or paste a text").click()
    page.get_by_label("Text").fill("One line.\nAnother line.\n")
    page.get_by_role("button", name="Look at it").click()
    page.get_by_role("button", name="Make a job of 2 items").wait_for()
    page.get_by_text("Run time with 1 worker").wait_for()
    page.get_by_text("about").first.wait_for()


def test_a_list_of_jobs_moves_by_itself(studio: Stack, visit: Visit) -> None:
    page = visit("jobs")
    job = made(studio, ["A sentence of some length."] * 20, metadata={"name": "moves-by-itself"})
    line = page.get_by_role("listitem").filter(has_text="moves-by-itself")
    line.wait_for()
    over(studio, job)
    line.get_by_text("20 of 20 items").wait_for()
    line.get_by_text("Succeeded").wait_for()
    page.get_by_label("Show").select_option("active")
    line.wait_for(state="detached")


def test_why_an_item_failed_is_read_and_it_is_run_again(studio: Stack, visit: Visit) -> None:
    wrong: list[Any] = [{"id": f"wrong-{number}", "inputs": {"text": "Hi."}} for number in range(2)]
    job = made(studio, wrong, "parrot")  # it has been given no recording
    assert over(studio, job)["state"] == "failed"
    page = visit(f"jobs/{job}")
    page.get_by_label("State", exact=True).select_option("failed")
    page.get_by_role("button", name="wrong-0").click()
    dialog = page.get_by_role("dialog")
    assert dialog.locator(".trouble").inner_text()
    dialog.get_by_role("button", name="Close").click()
    page.get_by_role("button", name="Run 2 again").dblclick()
    wait_for(lambda: ask(studio.url, "GET", f"/api/jobs/{job}").json()["resumed_unix_us"])
    over(studio, job)


def test_a_job_is_deleted_once_it_was_asked_what_is_lost(studio: Stack, visit: Visit) -> None:
    job = made(studio, ["One.", "Two."])
    over(studio, job)
    page = visit(f"jobs/{job}")
    delete, dialog = page.get_by_role("button", name="Delete", exact=True), page.get_by_role("dialog")
    delete.click()
    assert "2 files" in dialog.inner_text()
    dialog.get_by_role("button", name="Cancel").press("Enter")
    assert ask(studio.url, "GET", f"/api/jobs/{job}").status == 200
    assert page.evaluate("document.activeElement.textContent.trim()") == "Delete"  # whoever has no mouse goes on there
    page.keyboard.press("Enter")
    dialog.get_by_role("button", name="Delete").click()
    page.get_by_role("heading", name="All jobs").wait_for()
    page.locator(f"a[href='#/jobs/{job}']").wait_for(state="detached")
    assert ask(studio.url, "GET", f"/api/jobs/{job}").status == 404


def test_a_job_is_cancelled_and_can_go_on(studio: Stack, visit: Visit) -> None:
    job = made(studio, ["A sentence of some length, to take a moment."] * 400)
    page = visit(f"jobs/{job}")
    page.get_by_role("button", name="Cancel the job").click()
    page.get_by_role("dialog").get_by_role("button", name="Cancel the job").click()
    page.get_by_role("button", name="Run the other").wait_for()
    assert over(studio, job)["state"] == "cancelled"


def test_chosen_files_come_as_a_zip_that_the_browser_saves(studio: Stack, visit: Visit, tmp_path: Path) -> None:
    job = made(studio, ["One.", "Two.", "Three."])
    over(studio, job)
    page = visit(f"jobs/{job}")
    page.get_by_label("Choose 000001").check()
    page.get_by_label("Choose 000003").click(modifiers=["Shift"])
    page.get_by_label("Choose 000002").uncheck()
    with page.expect_download() as download:
        page.get_by_role("link", name="Download these").click()
    download.value.save_as(tmp_path / "some.zip")
    archive = zipfile.ZipFile(io.BytesIO((tmp_path / "some.zip").read_bytes()))
    assert archive.namelist() == ["000001.wav", "000003.wav"]


def test_hostile_ids_names_and_reasons_are_text(studio: Stack, visit: Visit) -> None:
    long = "W" * 2**19
    items = [{"id": ID, "inputs": {"text": HOSTILE}}, {"id": "L" * 250, "inputs": {"text": "Hi."}}]
    job = made(studio, items, "parrot", metadata={"name": HOSTILE})
    over(studio, job)
    page = visit(f"jobs/{job}")
    assert page.get_by_role("heading", level=1).inner_text() == HOSTILE
    page.get_by_role("button", name="<img").first.click()
    dialog = page.get_by_role("dialog")
    assert HOSTILE in dialog.inner_text()
    assert page.title() == "Jobs \u2013 KernelPort"
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    dialog.get_by_role("button", name="Close").click()
    page = visit("jobs")
    drop(page, f"{'L' * 300}.txt", f"{HOSTILE}\n{long}\n")
    page.get_by_text("<script>").first.wait_for()
    assert page.title() == "Jobs \u2013 KernelPort"
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_a_job_can_be_used_by_everybody(studio: Stack, visit: Visit, theme: Literal["light", "dark"]) -> None:
    job = made(studio, ["One.", "Two."])
    over(studio, job)
    page = visit(f"jobs/{job}")
    page.emulate_media(color_scheme=theme, reduced_motion="reduce")
    page.get_by_label("Choose 000001").check()
    assert not faults(page)
    page.get_by_role("button", name="000001").first.click()
    assert not faults(page)
    page = visit("jobs")
    page.emulate_media(color_scheme=theme, reduced_motion="reduce")
    drop(page, "alice.csv", BOOK)
    page.get_by_text("More options").click()
    page.get_by_text("The file cannot be used as it is.").wait_for()
    assert not faults(page)


def test_a_file_that_was_changed_after_it_was_chosen_is_told(visit: Visit, watched: Watched, tmp_path: Path) -> None:
    watched.allowed.append("ERR_UPLOAD_FILE_CHANGED")
    book = tmp_path / "book.txt"
    book.write_text("One.\nTwo.\n")
    page = visit("jobs")
    page.locator("input[type=file]").set_input_files(book)
    make = page.get_by_role("button", name="Make a job of 2 items")
    make.wait_for()
    book.write_text("One.\nTwo.\nThree.\n")
    os.utime(book, (time.time() + 60,) * 2)  # the browser looks at the second
    make.click()
    page.get_by_role("alert").filter(has_text="Choose it again.").wait_for()


def test_a_pasted_text_is_there_until_a_job_was_made_of_it(visit: Visit) -> None:
    page = visit("jobs")
    page.get_by_text("Or paste a text").click()
    page.get_by_label("Text").fill("One line.\nAnother line.\n")
    page.get_by_role("link", name="Operate").click()
    page.get_by_role("heading", name="Operate").wait_for()
    page.go_back()
    assert page.get_by_label("Text").input_value() == "One line.\nAnother line.\n"
    page.reload()
    page.get_by_role("button", name="Look at it").click()
    page.get_by_role("button", name="Make a job of 2 items").click()
    page.get_by_role("link", name="All jobs").click()
    page.get_by_text("Or paste a text").click()
    assert page.get_by_label("Text").input_value() == ""


def test_items_that_cannot_be_read_are_not_asked_for_without_a_pause(
    studio: Stack, visit: Visit, watched: Watched
) -> None:
    watched.allowed.append("ERR_FAILED")
    job = made(studio, ["One.", "Two."])
    over(studio, job)
    page = visit()
    asked: list[float] = []

    def refuse(route: "Route") -> None:
        asked.append(time.monotonic())
        route.abort()

    page.route("**/items?*", refuse)
    page.get_by_role("link", name="Jobs").click()
    page.locator(f"a[href='#/jobs/{job}']").click()
    wait_for(lambda: page.title() and len(asked) > 3)
    assert asked[3] - asked[1] > 2


def test_a_deleted_job_leaves_the_list_when_older_ones_are_shown(studio: Stack, visit: Visit) -> None:
    job = made(studio, ["One."])
    over(studio, job)
    page = visit("jobs")
    line = page.locator(f"a[href='#/jobs/{job}']")
    line.wait_for()
    older = page.get_by_role("button", name="Show older jobs")
    older.click()
    older.wait_for(state="detached")
    assert ask(studio.url, "DELETE", f"/api/jobs/{job}?outputs=true").status == 200
    line.wait_for(state="detached")


def test_ids_of_items_can_be_read_on_a_small_screen(studio: Stack, visit: Visit) -> None:
    job = made(studio, ["One."])
    over(studio, job)
    page = visit(f"jobs/{job}")
    page.set_viewport_size({"width": 360, "height": 800})
    assert page.get_by_role("button", name="000001", exact=True).evaluate("(id) => id.scrollWidth <= id.clientWidth")
