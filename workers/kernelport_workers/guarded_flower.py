"""`python -P -m kernelport_workers.guarded_flower`: Celery's command line with a Flower that asks for its password at
every address. Flower itself does at its pages, and answers anybody at /metrics and some others.
"""

import hmac
from base64 import b64decode
from collections.abc import Sequence
from typing import Any

from flower.app import Flower  # type: ignore[import-untyped]
from tornado.httputil import HTTPServerRequest
from tornado.web import RequestHandler

from kernelport_workers.__main__ import main


class _Refused(RequestHandler):
    def prepare(self) -> None:
        self.set_header("WWW-Authenticate", 'Basic realm="flower"')
        self.set_status(401)
        self.finish()


def _is_allowed(request: HTTPServerRequest, credentials: Sequence[str]) -> bool:
    """Whether a request carries one of the pairs of user and password."""
    kind, _, encoded = request.headers.get("Authorization", "").partition(" ")
    try:
        given = b64decode(encoded.strip(), validate=True)
    except ValueError:
        return False
    return kind.lower() == "basic" and any(hmac.compare_digest(given, each.encode()) for each in credentials)


class GuardedFlower(Flower):  # type: ignore[misc]
    """Flower, with its password before everything."""

    def find_handler(self, request: HTTPServerRequest, **kwargs: Any) -> Any:
        """What answers a request."""
        if _is_allowed(request, self.options.basic_auth):
            return super().find_handler(request, **kwargs)
        return self.get_handler_delegate(request, _Refused)


if __name__ == "__main__":
    from flower import command  # type: ignore[import-untyped]

    command.Flower = GuardedFlower
    main()
