"""Signatures of webhooks, by the Standard Webhooks specification (https://www.standardwebhooks.com)."""

import base64
import binascii
import hashlib
import hmac
import time
from collections.abc import Mapping

ID_HEADER, TIME_HEADER, SIGNATURE_HEADER = "webhook-id", "webhook-timestamp", "webhook-signature"
_VERSION = "v1"
_BASE64_PREFIX = "whsec_"


class SignatureError(ValueError):
    """What came was not signed with the secret, or too long ago."""


def headers(secret: str, event_id: str, unix_s: int, body: bytes) -> dict[str, str]:
    """The headers that go with a body: the event's id, the time, and unless the secret is empty the signature."""
    found = {ID_HEADER: event_id, TIME_HEADER: str(unix_s)}
    if secret:
        found[SIGNATURE_HEADER] = _signature(secret, event_id, str(unix_s), body)
    return found


def verify(secret: str, received: Mapping[str, str], body: bytes, *, tolerance_s: float = 300.0) -> str:
    """The id of an event that came: the same again means the same event.

    Args:
        secret: as given with the job.
        received: the request's headers, with names in lower case.
        body: the request's body, byte for byte.
        tolerance_s: how old it may be, so that nobody can send it again later.

    Raises:
        SignatureError: when it is not what was signed.
    """
    try:
        event_id, unix_s = received[ID_HEADER], received[TIME_HEADER]
        signatures = received[SIGNATURE_HEADER].split()
        age_s = abs(time.time() - int(unix_s))
    except (KeyError, ValueError) as error:
        raise SignatureError(f"a header is missing or malformed: {error}") from None
    if age_s > tolerance_s:
        raise SignatureError(f"signed {age_s:.0f} s ago; expected at most {tolerance_s:g} s")
    expected = _signature(secret, event_id, unix_s, body)
    if not any(hmac.compare_digest(expected, signature) for signature in signatures):
        raise SignatureError("not signed with this secret")
    return event_id


def _signature(secret: str, event_id: str, unix_s: str, body: bytes) -> str:
    signed = f"{event_id}.{unix_s}.".encode() + body
    return f"{_VERSION},{base64.b64encode(hmac.digest(_key(secret), signed, hashlib.sha256)).decode()}"


def _key(secret: str) -> bytes:
    """The bytes of a secret: after `whsec_` they are base64, as the specification has it."""
    if secret.startswith(_BASE64_PREFIX):
        try:
            return base64.b64decode(secret.removeprefix(_BASE64_PREFIX), validate=True)
        except binascii.Error:
            return secret.encode()
    return secret.encode()
