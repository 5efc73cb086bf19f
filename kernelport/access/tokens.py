"""Keys as their bearers know them: `kp_`, the id of the key, and a secret. The store has a digest of it alone."""

import hashlib
import re
import secrets
from functools import lru_cache
from typing import NamedTuple

_TOKEN = re.compile(r"kp_([0-9a-f]{12})_[A-Za-z0-9_-]{43}")
_SECRET_BYTES = 32


class Presented(NamedTuple):
    """A key that somebody shows.

    Attributes:
        sha256: of the whole key.
    """

    key_id: str
    sha256: bytes


def new_key_id() -> str:
    """The id of a key that is about to be made."""
    return secrets.token_hex(6)


def new_token(key_id: str) -> str:
    """A key with a secret that nobody has seen."""
    return f"kp_{key_id}_{secrets.token_urlsafe(_SECRET_BYTES)}"


@lru_cache(maxsize=256)  # a fiftieth of a small call, else
def read_token(text: str) -> Presented | None:
    """What a text stands for; None where it cannot be a key."""
    match = _TOKEN.fullmatch(text)
    return Presented(match[1], hashlib.sha256(text.encode()).digest()) if match else None
