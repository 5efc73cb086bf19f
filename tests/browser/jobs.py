"""Jobs, for the tests of the studio."""

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


def over(studio: Stack, job: str) -> Any:
    """A job when it is over."""

    def found() -> Any:
        told = ask(studio.url, "GET", f"/api/jobs/{job}").json()
        return told if told["finished_unix_us"] else None

    return wait_for(found, 100)


def large(studio: Stack) -> str:
    """The id of a new job of a hundred thousand items."""
    x = np.ones((1, 1, 1, 1), np.float32)
    items = ((f"item-{number:06}", {"x": x}) for number in range(LARGE))
    with Client(studio.target, timeout_s=100) as client:
        return client.jobs.submit(TENSORS, items).id
