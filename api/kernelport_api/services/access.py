"""AccessService: keys and tenants."""

import asyncio
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import grpc
import msgspec

from kernelport.access.principals import ADMIN
from kernelport.access.quotas import QuotaError, Quotas
from kernelport.access.records import (
    DEFAULT,
    KeyRecord,
    Secret,
    TenantRecord,
    key_violations,
    tenant_violations,
)
from kernelport.access.tokens import new_key_id, new_token, read_token
from kernelport.broker.clock import clock
from kernelport.errors import (
    AbortedError,
    AlreadyExistsError,
    FailedPreconditionError,
    FieldViolation,
    InvalidArgumentError,
    NotFoundError,
    ResourceExhaustedError,
)
from kernelport.names import DEFAULT_TENANT
from kernelport.v1 import access_pb2 as pb
from kernelport.v1 import access_pb2_grpc
from kernelport_api.access.decision import LOOK_INTERVAL_S, Access
from kernelport_api.queueing.durability import Durability, on_disk
from kernelport_api.queueing.redis_errors import reached
from kernelport_api.services.audited import audited
from kernelport_api.services.usage import Usage

Context = grpc.aio.ServicerContext[Any, Any]

# A change of a key is answered once all front doors have looked.
SPREAD_S = 2 * LOOK_INTERVAL_S
MAX_KEYS, MAX_TENANTS = 10_000, 1_000
DEFAULT_GRACE_S, MAX_GRACE_S = 3600.0, 30 * 24 * 3600.0
# How often a change is decided anew that others have come before.
_TRIES = 10

Changed = TypeVar("Changed", bound=KeyRecord | None)


class KeyNotFoundError(NotFoundError):
    """No key has this id or name."""

    reason = "KEY_NOT_FOUND"


class TenantNotFoundError(NotFoundError):
    """No tenant has this name."""

    reason = "TENANT_NOT_FOUND"


class KeyExistsError(AlreadyExistsError):
    """The name of the key is taken."""

    reason = "KEY_EXISTS"


class Keys(access_pb2_grpc.AccessServiceServicer):
    """Keys and tenants."""

    def __init__(self, access: Access, usage: Usage, durability: Durability) -> None:
        self.durability = durability
        self._usage = usage
        self._access = access

    @audited("key.create", lambda request: request.name)
    @on_disk
    async def CreateKey(self, request: pb.CreateKeyRequest, context: Context) -> pb.CreateKeyResponse:
        now_us = clock.now_us()
        token = new_token(new_key_id())
        key = KeyRecord(
            id=token.split("_")[1],
            name=request.name,
            tenant=request.tenant or DEFAULT_TENANT,
            scopes=tuple(dict.fromkeys(request.scopes)),
            created_unix_us=now_us,
            deployments=tuple(dict.fromkeys(request.deployments)) or None,
            expires_unix_us=request.expires_unix_us,
            secrets=(_secret(token),),
            certificate=request.certificate,
            quotas=_quotas(request.quotas, "quotas"),
        )
        if violations := key_violations(key, now_us):
            raise InvalidArgumentError.of(violations)

        def added(known: Mapping[str, KeyRecord]) -> tuple[str, KeyRecord]:
            if any(each.name == key.name for each in known.values()):
                raise KeyExistsError(f'name: there is a key "{key.name}" already; rotate or revoke it')
            if key.certificate and any(each.certificate == key.certificate for each in known.values()):
                raise KeyExistsError(f'certificate: another key has "{key.certificate}" already; revoke it')
            if len(known) >= MAX_KEYS:
                raise ResourceExhaustedError(f"there are {MAX_KEYS:,} keys, which is the limit; revoke some")
            if not any(ADMIN in each.scopes for each in (*known.values(), key)):
                expected = f"expected {ADMIN} among them: without it, nobody could make another key"
                raise InvalidArgumentError.of([FieldViolation("scopes", expected)])
            self._check_tenant(key.tenant)
            return key.id, key

        await self._change(added)
        return pb.CreateKeyResponse(key=_shown(key, now_us), token=token)

    async def ListKeys(self, request: pb.ListKeysRequest, context: Context) -> pb.ListKeysResponse:
        await reached(self._access.refresh())
        snapshot, now_us = self._access.snapshot, clock.now_us()
        in_order = sorted(snapshot.keys.values(), key=lambda key: (key.created_unix_us, key.id))
        return pb.ListKeysResponse(keys=[_shown(key, now_us, snapshot.used.get(key.id, 0)) for key in in_order])

    @audited("key.revoke", lambda request: request.key)
    @on_disk
    async def RevokeKey(self, request: pb.RevokeKeyRequest, context: Context) -> pb.RevokeKeyResponse:
        def without(known: Mapping[str, KeyRecord]) -> tuple[str, None]:
            key = _named(request.key, known)
            others = [each for each in known.values() if each.id != key.id]
            if others and not any(ADMIN in each.scopes for each in others):
                raise FailedPreconditionError(
                    f"key: it is the last one with the scope {ADMIN}; revoke the others first"
                )
            return key.id, None

        try:
            key_id, _ = await self._change(without)
        except KeyNotFoundError:
            return pb.RevokeKeyResponse(removed=False)
        await reached(self._access.store.forget_used(key_id))
        return pb.RevokeKeyResponse(removed=True)

    @audited("key.rotate", lambda request: request.key)
    @on_disk
    async def RotateKey(self, request: pb.RotateKeyRequest, context: Context) -> pb.RotateKeyResponse:
        grace_s = request.grace_s if request.HasField("grace_s") else DEFAULT_GRACE_S
        if not 0 <= grace_s <= MAX_GRACE_S:
            found = f"expected 0 to {MAX_GRACE_S:,.0f} seconds, got {grace_s:g}"
            raise InvalidArgumentError.of([FieldViolation("grace_s", found)])
        now_us, token = clock.now_us(), ""

        def rotated(known: Mapping[str, KeyRecord]) -> tuple[str, KeyRecord]:
            nonlocal token
            key = _named(request.key, known)
            token = new_token(key.id)
            return key.id, key.rotated(bytes.fromhex(_secret(token).sha256), now_us, grace_s)

        _, changed = await self._change(rotated)
        return pb.RotateKeyResponse(key=_shown(changed, now_us), token=token)

    @audited("key.set", lambda request: request.key)
    @on_disk
    async def SetKey(self, request: pb.SetKeyRequest, context: Context) -> pb.SetKeyResponse:
        quotas = _quotas(request.quotas, "quotas")

        def limited(known: Mapping[str, KeyRecord]) -> tuple[str, KeyRecord]:
            key = _named(request.key, known)
            return key.id, msgspec.structs.replace(key, quotas=quotas)

        _, changed = await self._change(limited)
        return pb.SetKeyResponse(key=_shown(changed, clock.now_us(), self._access.snapshot.used.get(changed.id, 0)))

    @audited("tenant.set", lambda request: request.tenant.name)
    @on_disk
    async def SetTenant(self, request: pb.SetTenantRequest, context: Context) -> pb.SetTenantResponse:
        quotas = _quotas(request.tenant.quotas, "tenant.quotas")
        tenant = TenantRecord(request.tenant.name, request.tenant.weight or DEFAULT.weight, quotas)
        if violations := tenant_violations(tenant):
            told = (FieldViolation(f"tenant.{each.field}", each.description) for each in violations)
            raise InvalidArgumentError.of(told)
        await reached(self._access.refresh())
        self._check_tenant(tenant.name)
        await reached(self._access.store.put_tenant(tenant))
        await reached(self._access.refresh())
        return pb.SetTenantResponse(tenant=_tenant(tenant))

    async def ListTenants(self, request: pb.ListTenantsRequest, context: Context) -> pb.ListTenantsResponse:
        await reached(self._access.refresh())
        tenants = self._tenants()
        return pb.ListTenantsResponse(tenants=[_tenant(tenants[name]) for name in sorted(tenants)])

    async def GetTenant(self, request: pb.GetTenantRequest, context: Context) -> pb.GetTenantResponse:
        await reached(self._access.refresh())
        tenant = self._tenants().get(request.name)
        if tenant is None:
            raise TenantNotFoundError(f"name: there is no tenant {request.name[:64]!r}")
        return pb.GetTenantResponse(tenant=_tenant(tenant))

    async def GetUsage(self, request: pb.GetUsageRequest, context: Context) -> pb.GetUsageResponse:
        return pb.GetUsageResponse(usage=await self._usage.by_day(request))

    def _tenants(self) -> dict[str, TenantRecord]:
        return {DEFAULT_TENANT: DEFAULT, **self._access.snapshot.tenants}

    def _check_tenant(self, name: str) -> None:
        """Raises ResourceExhaustedError when there may not be one more of this name."""
        if name not in self._tenants() and len(self._tenants()) >= MAX_TENANTS:
            raise ResourceExhaustedError(f"there are {MAX_TENANTS:,} tenants, which is the limit")

    async def _change(self, decide: Callable[[Mapping[str, KeyRecord]], tuple[str, Changed]]) -> tuple[str, Changed]:
        """Changes a key; returns once all front doors have looked.

        Args:
            decide: gives the id of a key and what becomes of it, by all keys that there are: None removes it. It is
                asked again when somebody else has changed any of them meanwhile.
        """
        for _ in range(_TRIES):
            await reached(self._access.refresh())
            snapshot = self._access.snapshot
            key_id, new = decide(snapshot.keys)
            if await reached(self._access.store.change_key(key_id, new, snapshot.version)):
                await reached(self._access.refresh())
                await asyncio.sleep(SPREAD_S)
                return key_id, new
        raise AbortedError("others change keys all the time; try again")


def _named(text: str, known: Mapping[str, KeyRecord]) -> KeyRecord:
    """The key of an id or a name.

    Raises:
        KeyNotFoundError: there is none.
    """
    found = known.get(text) or next((key for key in known.values() if key.name == text), None)
    if found is None:
        raise KeyNotFoundError(f"key: there is no key {text[:64]!r}")
    return found


def _secret(token: str) -> Secret:
    presented = read_token(token)
    if presented is None:
        raise AssertionError("what is made here is a key")
    return Secret(presented.sha256.hex())


def _shown(key: KeyRecord, now_us: int, used_unix_s: int = 0) -> pb.Key:
    """A key as the contract shows it."""
    shown = msgspec.structs.asdict(key) | {"deployments": key.deployments or (), "quotas": key.quotas.given()}
    shown["secrets"] = sum(not each.expires_unix_us or each.expires_unix_us > now_us for each in key.secrets)
    return pb.Key(**shown, last_used_unix_us=used_unix_s * 1_000_000)


def _tenant(tenant: TenantRecord) -> pb.Tenant:
    return pb.Tenant(name=tenant.name, weight=tenant.weight, quotas=tenant.quotas.given())


def _quotas(given: Mapping[str, float], field: str) -> Quotas:
    try:
        return Quotas.of(given)
    except QuotaError as error:
        raise InvalidArgumentError.of([FieldViolation(field, str(error))]) from error
