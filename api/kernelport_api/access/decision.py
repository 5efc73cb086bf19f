"""Who makes a call, and whether they may: what both doors ask before they look at it."""

import asyncio
import hmac
import logging
import os
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import NamedTuple
from urllib.parse import unquote

from redis.asyncio import Redis
from redis.exceptions import RedisError

from kernelport.access.first_key import first_key
from kernelport.access.principals import ANYBODY, NOBODY, Principal
from kernelport.access.records import DEFAULT, KeyRecord
from kernelport.access.store import AccessStore, Snapshot
from kernelport.access.tokens import read_token
from kernelport.broker.clock import clock
from kernelport.broker.connections import outage
from kernelport.config.settings import Settings, is_loopback
from kernelport.errors import PermissionDeniedError, UnauthenticatedError, UnavailableError
from kernelport.names import DEFAULT_TENANT
from kernelport_api.access.lasting import LastingCalls
from kernelport_api.access.needs import TABLE, Need
from kernelport_api.access.signatures import Signatures, Signed
from kernelport_api.calls import current

log = logging.getLogger(__name__)

# How often front doors look whether keys have changed; and tell when they were used, and look whose time is over.
LOOK_INTERVAL_S, TELL_INTERVAL_S = 0.3, 5.0
RETRY_AFTER_S = 1.0
_SIGNING_BYTES = 32


class AccessError(Exception):
    """The front door would let in whoever reaches it."""


class Shown(NamedTuple):
    """What a caller shows of who they are.

    Attributes:
        token: a key.
        session: what a sign-in has made of one.
        signature: of the address that is asked for.
        path: of that address.
        certificate: the name in the certificate that they show over gRPC.
        peer: gives from where it is asked; None where that is not to be known.
    """

    token: str = ""
    session: str = ""
    signature: str = ""
    path: str = ""
    certificate: str = ""
    peer: Callable[[], str] | None = None


class _Known(NamedTuple):
    record: KeyRecord
    principal: Principal
    digests: tuple[tuple[bytes, int], ...]


class Access:
    """Decides about calls by keys in memory, which are at most LOOK_INTERVAL_S old while Redis can be asked. While it
    cannot, they are those that it had last.

    Attributes:
        store: where keys and tenants are kept.
        snapshot: what it held last.
    """

    def __init__(self, redis: Redis, settings: Settings) -> None:
        self.store = AccessStore(redis)
        self.snapshot: Snapshot = Snapshot()
        self._settings = settings
        self._asks = self._is_read = False
        self._keys: Mapping[str, _Known] = {}
        self._certificates: Mapping[str, KeyRecord] = {}
        self._anybody = ANYBODY
        self._used: dict[str, int] = {}
        self._told: set[str] = set()
        self._lasting = LastingCalls()
        self.signatures: Signatures = Signatures(os.urandom(_SIGNING_BYTES))

    def decide(self, need: Need | None, show: Callable[[], Shown], *, goes_on: bool = False) -> Principal:
        """Who makes a call, when they may.

        Args:
            need: of the call; None of one that nobody may make.
            show: gives what the caller shows; not called where nobody has to show anything.
            goes_on: whether the call has begun, and the question is whether it may go on: what a signed address has
                begun goes on with its key.

        Raises:
            UnauthenticatedError: they show no key where one is needed, or none that is valid.
            PermissionDeniedError: their key does not let them.
            UnavailableError: no key can be known yet.
        """
        if need is None:
            if (route := current().route) not in self._told:
                self._told.add(route)
                log.warning("%s is refused to everybody: it has no row in %s", route, TABLE)
            raise PermissionDeniedError("nobody may call this", reason="NOT_ALLOWED")
        if not self._asks:
            if self._is_read:
                return self._anybody
            if need.is_open or need.setting == "open_health":
                return NOBODY
            raise UnavailableError("keys cannot be read yet: waiting for Redis", retry_after_s=RETRY_AFTER_S)
        shown = show()
        is_open = need.is_open or (need.setting and getattr(self._settings, need.setting))
        if is_open or (need.setting == "open_health" and shown.peer and _is_local(shown.peer())):
            return NOBODY
        principal = self._bearer(need, shown, goes_on)
        if not principal.may(need.scopes):
            expected = " or ".join(sorted(need.scopes))
            raise PermissionDeniedError(f"expected a key with the scope {expected}, got one without it")
        return principal

    def while_allowed(self, need: Need | None, show: Callable[[], Shown]) -> AbstractContextManager[None]:
        """Stands around what a call does that goes on for long: it ends, by what `decide` raises, within a second of a
        key's change, or some more of the end of its time."""
        return self._lasting.watched(lambda: self.decide(need, show, goes_on=True))

    def key_of(self, token: str) -> KeyRecord:
        """The key that somebody shows.

        Raises:
            UnauthenticatedError: it is none that is valid.
        """
        presented = read_token(token)
        known = self._keys.get(presented.key_id) if presented else None
        now_us = clock.now_us()
        # All secrets are compared, and as long for a key that is not known.
        digests = known.digests if known else ((b"", 0),)
        sha256 = presented.sha256 if presented else b"-"
        valid = [until for digest, until in digests if hmac.compare_digest(digest, sha256)]
        if known is None or not valid:
            raise UnauthenticatedError("expected a key that is valid; this one is not known here")
        self._check_time(known.record, valid[0], now_us)
        return known.record

    def key_behind(self, signed: Signed) -> KeyRecord:
        """The key that a session or a signed address stands for.

        Raises:
            UnauthenticatedError: it is no more, or its secret is another one by now.
        """
        known = self._keys.get(signed.key_id)
        valid = [each for each in known.record.secrets if each.sha256.startswith(signed.secret)] if known else []
        if known is None or not valid:
            raise UnauthenticatedError("expected a key that is valid; the one behind this is not known here any more")
        self._check_time(known.record, valid[0].expires_unix_us, clock.now_us())
        return known.record

    def _bearer(self, need: Need, shown: Shown, goes_on: bool) -> Principal:
        if shown.token:
            record = self.key_of(shown.token)
        elif shown.certificate in self._certificates:
            record = self._certificates[shown.certificate]
            self._check_time(record, 0, clock.now_us())
        elif shown.session:
            record = self.key_behind(self.signatures.of_session(shown.session))
        elif shown.signature and need.is_signable:
            signed = self.signatures.of_address(shown.path, shown.signature, may_be_over=goes_on)
            record = self.key_behind(signed)
        else:
            expected = "expected a key as `Authorization: Bearer`, `X-API-Key` or `api-key`, got none"
            raise UnauthenticatedError(expected, reason="KEY_MISSING")
        self._used[record.id] = int(clock.now())
        return self._keys[record.id].principal

    @staticmethod
    def _check_time(record: KeyRecord, secret_until_us: int, now_us: int) -> None:
        for until_us in (record.expires_unix_us, secret_until_us):
            if until_us and until_us <= now_us:
                raise UnauthenticatedError(
                    "expected a key that is valid; the time of this one is over", reason="KEY_EXPIRED"
                )

    async def begin(self) -> None:
        """Reads keys before the first call comes; Redis may be away.

        Raises:
            AccessError: whoever reaches the front door could do everything.
            SettingsError: of a first key that is none.
        """
        try:
            await self.refresh()
        except RedisError as error:
            outage.tell(error)
            return
        if self._asks and not self.snapshot.stored:
            raise AccessError(
                f"whoever reaches {', '.join(self._elsewhere())} could do everything there, as there is no key yet: "
                "--first-key-file FILE (KERNELPORT_FIRST_KEY_FILE) makes the first one and puts it into that file; or "
                "listen on 127.0.0.1; or say --insecure (KERNELPORT_INSECURE=1), where nobody else can reach it"
            )

    async def keep_current(self) -> None:
        """Looks for changes of keys, and tells when they were used, until it is cancelled."""
        told_at = time.monotonic()
        while True:
            await asyncio.sleep(LOOK_INTERVAL_S)
            is_time_to_tell = time.monotonic() >= told_at + TELL_INTERVAL_S
            if is_time_to_tell:
                told_at = time.monotonic()
                self._lasting.check()
            try:
                if not self._is_read or await self.store.version() != self.snapshot.version:
                    await self.refresh()
                if self._used and is_time_to_tell:
                    used, self._used = self._used, {}
                    await self.store.note_used({key: at for key, at in used.items() if key in self._keys})
            except RedisError as error:
                outage.tell(error)

    async def refresh(self) -> None:
        """Reads all keys and tenants.

        Raises:
            RedisError: when Redis cannot be asked.
        """
        if not self._is_read:
            self.signatures = Signatures(await self.store.signing_secret(os.urandom(_SIGNING_BYTES)))
        snapshot = await self.store.read()
        while not snapshot.stored and (first := first_key(self._settings, clock.now_us())):
            if await self.store.change_key(first.id, first, snapshot.version):
                where = f": it is in {self._settings.first_key_file}" if self._settings.first_key_file else ""
                log.info("the first key is %s%s", first.id, where)
            snapshot = await self.store.read()
        self._take(snapshot)

    def _take(self, snapshot: Snapshot) -> None:
        self.snapshot = snapshot
        self._keys = {
            key_id: _Known(
                record,
                record.principal(snapshot.tenants.get(record.tenant, DEFAULT)),
                tuple((bytes.fromhex(each.sha256), each.expires_unix_us) for each in record.secrets),
            )
            for key_id, record in snapshot.keys.items()
        }
        self._certificates = {each.certificate: each for each in snapshot.keys.values() if each.certificate}
        holders = snapshot.tenants.get(DEFAULT_TENANT, DEFAULT).holders()
        quotas = tuple(each for each in holders if each[1].limit_calls)
        stock = tuple(each for each in holders if each[1].limit_stock)
        self._anybody = replace(ANYBODY, quotas=quotas, stock=stock)
        is_open = not snapshot.stored and (self._settings.insecure or not self._elsewhere())
        if self._is_read and is_open and self._asks:
            log.warning("there is no key any more: whoever reaches this front door may do everything")
        self._asks, self._is_read = not is_open, True
        self._lasting.check()

    def _elsewhere(self) -> list[str]:
        """The addresses that others than this machine reach."""
        addresses = (self._settings.listen, self._settings.http_listen)
        return [each for each in addresses if each and not is_loopback(each.rpartition(":")[0])]


def _is_local(peer: str) -> bool:
    """Whether a caller over gRPC is on this machine: then it may be what has started this front door."""
    scheme, _, address = unquote(peer).partition(":")
    return scheme not in ("ipv4", "ipv6") or is_loopback(address.rpartition(":")[0])
