"""Jobs, for the tests of the studio."""

import json
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from kernelport import Client
from kernelport.supervisor.stack import Stack
from tests.http.calls import ask
from tests.waiting import wait_for

if TYPE_CHECKING:
    from playwright.sync_api import Page

SPEECH, TENSORS = "hibari-en", "identity-onnx"
LARGE = 100_000


def drop(page: "Page", name: str, text: str) -> None:
    """Drops a file on the page, as a hand does."""
    files = page.evaluate_handle(
        """([name, text]) => {
          const files = new DataTransfer();
          files.items.add(new File([text], name));
          return files;
        }""",
        [name, text],
    )
    page.dispatch_event(".drop", "drop", {"dataTransfer": files})


def made(studio: Stack, items: list[Any], deployment: str = SPEECH, **more: Any) -> str:
    """The id of a new job."""
    reply = ask(studio.url, "POST", "/api/jobs", {"deployment": deployment, "items": items, **more})
    assert reply.status == 201, reply.body
    return str(reply.json()["id"])


def told(studio: Stack, job: str) -> Any:
    """How a job stands."""
    return ask(studio.url, "GET", f"/api/jobs/{job}").json()


def over(studio: Stack, job: str) -> Any:
    """A job when it is over."""

    def found() -> Any:
        job_now = told(studio, job)
        return job_now if job_now["finished_unix_us"] else None

    return wait_for(found, 100)


def large(studio: Stack) -> str:
    """The id of a new job of a hundred thousand items."""
    x = np.ones((1, 1, 1, 1), np.float32)
    items = ((f"item-{number:06}", {"x": x}) for number in range(LARGE))
    with Client(studio.target, timeout_s=100) as client:
        return client.jobs.submit(TENSORS, items).id


@dataclass(frozen=True)
class Taken:
    """What a page has taken for a while.

    Attributes:
        longest_s: of the tasks of its one thread, the longest by the clock, which others of the machine make longer.
        longest_cpu_s: the same by the time of the processor.
        heap_bytes: of its JavaScript, in the end.
    """

    longest_s: float
    longest_cpu_s: float
    heap_bytes: float

    def __str__(self) -> str:
        longest = f"longest task {self.longest_s * 1000:.0f} ms, of the processor {self.longest_cpu_s * 1000:.0f} ms"
        return f"{longest}; heap {self.heap_bytes / 1e6:.1f} MB"


def scrolled_about(page: "Page", seconds: float) -> Taken:
    """What the page of a large job takes while somebody scrolls about in it."""
    browser = page.context.browser
    assert browser is not None
    rows = page.locator(".items-list")
    browser.start_tracing(page=page, categories=["toplevel", "__metadata"])
    until, place = time.monotonic() + seconds, 0
    while time.monotonic() < until:
        place = (place + 7919) % LARGE
        rows.evaluate("(list, share) => (list.scrollTop = share * list.scrollHeight)", place / LARGE)
        page.wait_for_timeout(500)
    tasks = _tasks(json.loads(browser.stop_tracing())["traceEvents"])
    protocol = page.context.new_cdp_session(page)
    protocol.send("HeapProfiler.collectGarbage")
    heap = protocol.send("Runtime.getHeapUsage")["usedSize"]
    return Taken(max(each["dur"] for each in tasks) / 1e6, max(each.get("tdur", 0) for each in tasks) / 1e6, heap)


def _tasks(events: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Of all that a browser tells, the tasks of the threads that pages have."""
    names = [each for each in events if each["name"] == "thread_name"]
    mains = {(each["pid"], each["tid"]) for each in names if each["args"]["name"] == "CrRendererMain"}
    return [each for each in events if each["name"].endswith("RunTask") and (each["pid"], each["tid"]) in mains]
