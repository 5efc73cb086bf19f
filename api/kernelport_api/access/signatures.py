"""Sessions of browsers, and addresses that are signed for some minutes: what stands for a key without telling it."""

import hashlib
import hmac
from typing import NamedTuple

from kernelport.access.records import KeyRecord
from kernelport.broker.clock import clock
from kernelport.errors import UnauthenticatedError

SESSION_S, ADDRESS_S = 12 * 3600, 600
_SESSION, _ADDRESS = "session", "address"
_LONGEST = 200
_DIGITS = 16


class Signed(NamedTuple):
    """What a session or an address was made for.

    Attributes:
        secret: how the digest of the key's secret begins that was the newest at that time.
    """

    key_id: str
    secret: str


class Signatures:
    """Makes and checks them. Every front door has the same secret.

    Args:
        secret: nobody else knows it.
    """

    def __init__(self, secret: bytes) -> None:
        self._secret = secret

    def session(self, key: KeyRecord, sha256: bytes) -> str:
        """A session of a key's bearer: what it is made for, the Unix second at which it ends, and a signature.

        Args:
            sha256: of the secret that was shown.
        """
        return self._made(_SESSION, Signed(key.id, sha256.hex()[:_DIGITS]), "", SESSION_S)

    def address(self, key: KeyRecord, path: str) -> str:
        """The signature of an address, for what a key may get there."""
        return self._made(_ADDRESS, Signed(key.id, key.secrets[0].sha256[:_DIGITS]), path, ADDRESS_S)

    def of_session(self, session: str) -> Signed:
        """What a session stands for.

        Raises:
            UnauthenticatedError: it is none, or its time is over.
        """
        return self._checked(_SESSION, "", session)

    def of_address(self, path: str, signature: str, *, may_be_over: bool = False) -> Signed:
        """What an address has been signed for.

        Args:
            may_be_over: whether its time no longer matters.

        Raises:
            UnauthenticatedError: it has not, or its time is over.
        """
        return self._checked(_ADDRESS, path, signature, may_be_over)

    def _made(self, kind: str, made_for: Signed, path: str, lasts_s: int) -> str:
        ends = str(int(clock.now()) + lasts_s)
        return ".".join((*made_for, ends, self._signature(kind, *made_for, ends, path)))

    def _checked(self, kind: str, path: str, text: str, may_be_over: bool = False) -> Signed:
        key_id, secret, ends, signature = (*text[:_LONGEST].split("."), *[""] * 4)[:4]
        expected = self._signature(kind, key_id, secret, ends, path)
        # A path has any character: what is before it ends where a time does.
        if not ends.isdecimal() or not hmac.compare_digest(expected.encode(), signature.encode(errors="replace")):
            raise UnauthenticatedError(f"expected a {kind} that was signed here", reason="SIGNATURE_INVALID")
        if int(ends) <= clock.now() and not may_be_over:
            raise UnauthenticatedError(f"the time of this {kind} is over", reason="SIGNATURE_EXPIRED")
        return Signed(key_id, secret)

    def _signature(self, *parts: str) -> str:
        text = "\n".join(parts).encode(errors="surrogateescape")
        return hmac.new(self._secret, text, hashlib.sha256).hexdigest()
