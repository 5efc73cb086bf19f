"""A job of a hundred thousand items, open in the studio while it runs."""

import time

import pytest

from kernelport.supervisor.stack import Stack
from tests.browser.conftest import Visit
from tests.browser.jobs import LARGE, large

# Of the page's one thread, and of its memory.
LONGEST_TASK_S, MOST_HEAP_BYTES = 0.1, 150e6
WATCH_TASKS = """
window.tasks = [];
new PerformanceObserver((list) => window.tasks.push(...list.getEntries().map((each) => each.duration / 1000)))
  .observe({ type: "longtask" });
"""


@pytest.fixture(scope="module")
def job(studio: Stack) -> str:
    """The id of one that has just begun."""
    return large(studio)


def watched(visit: Visit, job: str, seconds: float) -> None:
    """Has it open for a while, scrolls about in it, and holds what that takes to its limits."""
    page = visit(f"jobs/{job}")
    page.get_by_text(f"of {LARGE:,} items").wait_for()
    page.evaluate(WATCH_TASKS)
    protocol = page.context.new_cdp_session(page)
    rows = page.locator(".items-list")
    until, place = time.monotonic() + seconds, 0
    while time.monotonic() < until:
        place = (place + 7919) % LARGE
        rows.evaluate("(list, share) => (list.scrollTop = share * list.scrollHeight)", place / LARGE)
        page.wait_for_timeout(500)
    tasks, done = page.evaluate("window.tasks"), page.locator(".progress").get_attribute("value")
    protocol.send("HeapProfiler.collectGarbage")
    heap = protocol.send("Runtime.getHeapUsage")["usedSize"]
    print(f"longest task {max(tasks, default=0) * 1000:.0f} ms of {len(tasks)} above 50 ms; heap {heap / 1e6:.1f} MB")
    assert done != "0", "the job has moved"
    assert max(tasks, default=0) < LONGEST_TASK_S
    assert heap < MOST_HEAP_BYTES


def test_a_large_job_leaves_the_page_quick_and_small(visit: Visit, job: str) -> None:
    watched(visit, job, 60)


@pytest.mark.thorough
@pytest.mark.timeout(900)
def test_a_large_job_leaves_the_page_quick_and_small_for_ten_minutes(studio: Stack, visit: Visit) -> None:
    watched(visit, large(studio), 600)


def test_any_of_many_items_can_be_reached(visit: Visit, job: str) -> None:
    page = visit(f"jobs/{job}")
    page.locator(".items-list").focus()
    page.keyboard.press("End")
    page.get_by_role("button", name="item-099999").wait_for()
    page.get_by_label("Find in ids").fill("item-050123")
    page.get_by_role("button", name="item-050123").wait_for()
    page.get_by_text("1 found", exact=True).wait_for()
