"""What the store knows of keys and tenants, as JSON that operators can read."""

from typing import Annotated, TypeVar

import msgspec
from msgspec import Meta

from kernelport.access.principals import SCOPES, Principal
from kernelport.access.quotas import QuotaError, Quotas
from kernelport.broker import stored
from kernelport.errors import FieldViolation
from kernelport.names import DEFAULT_TENANT, is_tenant_name

MAX_NAME, MAX_DEPLOYMENTS = 64, 256
MIN_WEIGHT, MAX_WEIGHT = 0.01, 1000.0
# Of one key at a time: its own, and the one before it, until its bearers have changed over.
_MOST_SECRETS = 2
_MICROSECONDS = 1_000_000

Kind = TypeVar("Kind", bound=msgspec.Struct)


class Secret(msgspec.Struct, frozen=True):
    """A digest of one secret of a key.

    Attributes:
        sha256: of the whole key that its bearer shows, in hexadecimal.
        expires_unix_us: when it is no longer valid, beside the end of the key itself; 0 for never.
    """

    sha256: Annotated[str, Meta(pattern=r"\A[0-9a-f]{64}\Z")]
    expires_unix_us: int = 0


class KeyRecord(msgspec.Struct, frozen=True):
    """A key.

    Attributes:
        deployments: the names of those that it may use; None for all.
        expires_unix_us: 0 for never.
        secrets: the newest first.
        certificate: the name in a certificate over gRPC that stands for it; empty for none.
        quotas: what its bearer may use, within what the tenant may.
    """

    id: str
    name: str
    tenant: str
    scopes: tuple[str, ...]
    created_unix_us: int
    deployments: tuple[str, ...] | None = None
    expires_unix_us: int = 0
    secrets: tuple[Secret, ...] = ()
    certificate: str = ""
    quotas: Quotas = Quotas()

    def principal(self, tenant: "TenantRecord") -> Principal:
        """Who bears it."""
        deployments = None if self.deployments is None else frozenset(self.deployments)
        holders = (*tenant.holders(), (f"key:{self.id}", self.quotas))
        quotas = tuple(each for each in holders if each[1].limit_calls)
        stock = tuple(each for each in holders if each[1].limit_stock)
        return Principal(self.tenant, frozenset(self.scopes), deployments, self.id, self.name, quotas, stock)

    def rotated(self, sha256: bytes, now_us: int, grace_s: float) -> "KeyRecord":
        """It with a new secret; the last one stays valid for `grace_s` seconds."""
        until = now_us + round(grace_s * _MICROSECONDS)
        last = [msgspec.structs.replace(each, expires_unix_us=until) for each in self.secrets[:1] if grace_s]
        return msgspec.structs.replace(self, secrets=(Secret(sha256.hex()), *last)[:_MOST_SECRETS])


class TenantRecord(msgspec.Struct, frozen=True):
    """A tenant.

    Attributes:
        weight: its share of a deployment's workers beside those of others.
        quotas: what all of its keys together may use.
    """

    name: str
    weight: float = 1.0
    quotas: Quotas = Quotas()

    def holders(self) -> tuple[tuple[str, Quotas], ...]:
        """Whose quotas hold for every key of it: its own."""
        return ((f"tenant:{self.name}", self.quotas),)


def encode(record: msgspec.Struct) -> bytes:
    """A record as the store keeps it."""
    return msgspec.json.encode(record)


def decode(kind: type[Kind], value: bytes, where: str) -> Kind | None:
    """A record; None when the bytes are none, which is told in the log."""
    try:
        return msgspec.json.decode(value, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        stored.tell(stored.StoredError(f"{where}: expected the JSON of a {kind.__name__}: {error}"))
        return None


def is_sound(record: KeyRecord | TenantRecord, stored_as: str) -> bool:
    """Whether a record may be of our making: it stands under its own name, a tenant can have the name that is in it,
    which becomes part of keys and paths, and its quotas are such."""
    own, tenant = (record.id, record.tenant) if isinstance(record, KeyRecord) else (record.name, record.name)
    try:
        Quotas.of(record.quotas.given())
    except QuotaError:
        return False
    return own == stored_as and is_tenant_name(tenant)


def key_violations(record: KeyRecord, now_us: int) -> list[FieldViolation]:
    """What is wrong with a key that is to be made."""
    found = [*_name_violations("name", record.name), *_name_violations("tenant", record.tenant)]
    unknown = [scope for scope in record.scopes if scope not in SCOPES]
    if unknown or not record.scopes:
        got = repr(unknown[0][:MAX_NAME]) if unknown else "none"
        found.append(FieldViolation("scopes", f"expected some of {', '.join(SCOPES)}, got {got}"))
    if len(record.deployments or ()) > MAX_DEPLOYMENTS:
        found.append(FieldViolation("deployments", f"expected at most {MAX_DEPLOYMENTS}"))
    if len(record.certificate) > MAX_NAME:
        found.append(FieldViolation("certificate", f"expected at most {MAX_NAME} characters"))
    if record.expires_unix_us and record.expires_unix_us <= now_us:
        expected = "expected a time to come in microseconds of Unix time, or 0 for never"
        found.append(FieldViolation("expires_unix_us", f"{expected}; got {record.expires_unix_us}"))
    return found


def tenant_violations(record: TenantRecord) -> list[FieldViolation]:
    """What is wrong with a tenant."""
    found = _name_violations("name", record.name)
    if not MIN_WEIGHT <= record.weight <= MAX_WEIGHT:
        found.append(FieldViolation("weight", f"expected {MIN_WEIGHT:g} to {MAX_WEIGHT:g}, got {record.weight:g}"))
    return found


def _name_violations(field: str, text: str) -> list[FieldViolation]:
    if is_tenant_name(text):
        return []
    expected = "1 to 64 small letters, digits, dots, dashes and underscores, a letter or digit at both ends"
    return [FieldViolation(field, f"expected {expected}, got {text[:MAX_NAME]!r}")]


DEFAULT = TenantRecord(DEFAULT_TENANT)
