"""What front doors add to gRPC's own health service."""

import string
from collections.abc import Iterable
from typing import Any
from urllib.parse import quote, unquote

# The service that says SERVING for as long as the process answers, whatever it can do: for liveness probes. No
# deployment has such a name.
LIVE = "/live"
# Where the metadata of an answer says why it is NOT_SERVING: initial metadata, which any health client can read.
REASON_KEY = "kernelport-reason"
_PLAIN = string.punctuation.replace("%", "") + " "


def reason_metadata(reason: str) -> tuple[tuple[str, str], ...]:
    """The metadata that tells a reason."""
    return ((REASON_KEY, quote(reason, safe=_PLAIN)),)


def told_reason(metadata: Iterable[Any] | None) -> str:
    """The reason that metadata tells; empty when it tells none."""
    return next((unquote(str(value)) for key, value in metadata or () if key == REASON_KEY), "")
