"""Every route over HTTP that takes a body: bytes that are none, and JSON with odd content."""

import http.client
import json
from urllib.parse import quote, urlsplit

from hypothesis import strategies as st

from kernelport_api.access.needs import ROUTES
from tests.fuzz.target import Target, expect
from tests.fuzz.values import json_values, texts
from tests.fuzz.world import FUZZED, SPEECH, World

TIMEOUT_S = 20.0
# A key that is made here shuts everybody else out.
_NOT_HERE = ("/api/keys", "/api/session", "/api/tenants")
_WELL_KNOWN = st.sampled_from(
    ["model", "input", "inputs", "voice", "items", "deployment", "name", "data", "shape", "id"]
)
# What this server has not, what nobody serves, and what nobody did in time.
_ALLOWED = (501, 503, 504)
_TYPES = ("application/json", "application/octet-stream", "multipart/form-data; boundary=x", "text/plain", "")


def routes(world: World, number: int) -> list[Target]:
    """One for each.

    Args:
        number: of the round.
    """
    known = [name.split(" ") for name in ROUTES]
    bodies = [(method, path) for method, path in known if method in ("POST", "PUT") and not path.startswith(_NOT_HERE)]
    return [
        Target(f"route {method} {path}", _requests(path), Ask(world, method), most=40, shrinks=False)
        for method, path in bodies
    ]


def _requests(path: str) -> st.SearchStrategy[tuple[str, str, bytes, dict[str, str]]]:
    """An address, a media type, a body, and no further headers."""
    value = st.sampled_from([FUZZED, SPEECH, "a", ".."]) | texts
    address = st.lists(value, min_size=4, max_size=4).map(lambda values: _filled(path, values))
    content = st.dictionaries(_WELL_KNOWN | texts, json_values | st.just(SPEECH), max_size=6)
    body = content.map(lambda found: json.dumps(found).encode()) | st.binary(max_size=200)
    return st.tuples(address, st.sampled_from(_TYPES), body, st.just({}))


def _filled(path: str, values: list[str]) -> str:
    parts = path.split("/")
    named = [number for number, part in enumerate(parts) if part.startswith("{")]
    for number, value in zip(named, values, strict=False):
        parts[number] = quote(value.encode(errors="surrogatepass"), safe="")
    return "/".join(parts)


class Ask:
    """Sends one request, and looks that it is answered with what was foreseen."""

    def __init__(self, world: World, method: str) -> None:
        self._world = world
        self._method = method

    def __call__(self, example: tuple[str, str, bytes, dict[str, str]]) -> None:
        address, kind, body, headers = example
        connection = http.client.HTTPConnection(str(urlsplit(self._world.stack.url).netloc), timeout=TIMEOUT_S)
        try:
            connection.request(self._method, address, body, headers | ({"Content-Type": kind} if kind else {}))
            status = connection.getresponse().status
        except TimeoutError:
            status = 504
        finally:
            connection.close()
        expect(status < 500 or status in _ALLOWED, f"{self._method} {address} ({kind}): {status} for {body!r}")
        self._world.check()
