"""Signatures of webhooks, by the Standard Webhooks specification (https://www.standardwebhooks.com)."""

import base64
import binascii
from datetime import UTC, datetime

from standardwebhooks import Webhook

PREFIX = "whsec_"
# The specification's bounds of a key.
MIN_KEY_BYTES, MAX_KEY_BYTES = 24, 64


def headers(secret: str, event_id: str, unix_s: int, body: bytes) -> dict[str, str]:
    """The headers that go with a body: the event's id, the time, and unless the secret is empty the signature.

    Raises:
        ValueError: the secret is none.
    """
    found = {"webhook-id": event_id, "webhook-timestamp": str(unix_s)}
    if secret:
        if problem := secret_problem(secret):
            raise ValueError(problem)
        found["webhook-signature"] = Webhook(secret).sign(event_id, datetime.fromtimestamp(unix_s, UTC), body.decode())
    return found


def secret_problem(secret: str) -> str | None:
    """What is wrong with a secret, without telling any of it; None when nothing is."""
    expected = f"expected {PREFIX} and {MIN_KEY_BYTES} to {MAX_KEY_BYTES} bytes in base64"
    if not secret.startswith(PREFIX):
        return f"{expected}, got a text that begins otherwise"
    try:
        key = base64.b64decode(secret.removeprefix(PREFIX), validate=True)
    except (binascii.Error, ValueError):  # ValueError: letters beyond ASCII
        return f"{expected}, got {PREFIX} and what is no base64"
    if not MIN_KEY_BYTES <= len(key) <= MAX_KEY_BYTES:
        return f"{expected}, got {len(key)}"
    return None
