"""AccessService: keys and tenants."""

import asyncio
from collections.abc import Iterable, Mapping
from typing import Any

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
_CHANGED = "somebody else changes this key at the same time; try again"


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
        known = await self._all()
        if any(each.name == key.name for each in known):
            raise KeyExistsError(f'name: there is a key "{key.name}" already; rotate or revoke it')
        if key.certificate and any(each.certificate == key.certificate for each in known):
            raise KeyExistsError(f'certificate: another key has "{key.certificate}" already; revoke it')
        if len(known) >= MAX_KEYS:
            raise ResourceExhaustedError(f"there are {MAX_KEYS:,} keys, which is the limit; revoke some")
        if not any(ADMIN in each.scopes for each in (*known, key)):
            expected = f"expected {ADMIN} among them: without it, nobody could make another key"
            raise InvalidArgumentError.of([FieldViolation("scopes", expected)])
        if key.tenant not in self._tenants():
            await self._put(TenantRecord(key.tenant))
        await self._change(key.id, key)
        return pb.CreateKeyResponse(key=_shown(key, now_us), token=token)

    async def ListKeys(self, request: pb.ListKeysRequest, context: Context) -> pb.ListKeysResponse:
        in_order = sorted(await self._all(), key=lambda key: (key.created_unix_us, key.id))
        used, now_us = self._access.snapshot.used, clock.now_us()
        return pb.ListKeysResponse(keys=[_shown(key, now_us, used.get(key.id, 0)) for key in in_order])

    @audited("key.revoke", lambda request: request.key)
    @on_disk
    async def RevokeKey(self, request: pb.RevokeKeyRequest, context: Context) -> pb.RevokeKeyResponse:
        known = await self._all()
        key = _named(request.key, known)
        if key is None:
            return pb.RevokeKeyResponse(removed=False)
        others = [each for each in known if each.id != key.id]
        if others and not any(ADMIN in each.scopes for each in others):
            raise FailedPreconditionError(f"key: it is the last one with the scope {ADMIN}; revoke the others first")
        await self._change(key.id, None)
        await reached(self._access.store.forget_used(key.id))
        return pb.RevokeKeyResponse(removed=True)

    @audited("key.rotate", lambda request: request.key)
    @on_disk
    async def RotateKey(self, request: pb.RotateKeyRequest, context: Context) -> pb.RotateKeyResponse:
        grace_s = request.grace_s if request.HasField("grace_s") else DEFAULT_GRACE_S
        if not 0 <= grace_s <= MAX_GRACE_S:
            found = f"expected 0 to {MAX_GRACE_S:,.0f} seconds, got {grace_s:g}"
            raise InvalidArgumentError.of([FieldViolation("grace_s", found)])
        key = _named(request.key, await self._all())
        if key is None:
            raise KeyNotFoundError(f"key: there is no key {request.key[:64]!r}")
        token, now_us = new_token(key.id), clock.now_us()
        changed = key.rotated(bytes.fromhex(_secret(token).sha256), now_us, grace_s)
        await self._change(key.id, changed)
        return pb.RotateKeyResponse(key=_shown(changed, now_us), token=token)

    @audited("tenant.set", lambda request: request.tenant.name)
    @on_disk
    async def SetTenant(self, request: pb.SetTenantRequest, context: Context) -> pb.SetTenantResponse:
        quotas = _quotas(request.tenant.quotas, "tenant.quotas")
        tenant = TenantRecord(request.tenant.name, request.tenant.weight or DEFAULT.weight, quotas)
        if violations := tenant_violations(tenant):
            told = (FieldViolation(f"tenant.{each.field}", each.description) for each in violations)
            raise InvalidArgumentError.of(told)
        await reached(self._access.refresh())
        await self._put(tenant)
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

    async def _all(self) -> list[KeyRecord]:
        """All keys as they are now."""
        await reached(self._access.refresh())
        return list(self._access.snapshot.keys.values())

    def _tenants(self) -> dict[str, TenantRecord]:
        return {DEFAULT_TENANT: DEFAULT, **self._access.snapshot.tenants}

    async def _put(self, tenant: TenantRecord) -> None:
        if tenant.name not in self._tenants() and len(self._tenants()) >= MAX_TENANTS:
            raise ResourceExhaustedError(f"there are {MAX_TENANTS:,} tenants, which is the limit")
        await reached(self._access.store.put_tenant(tenant))
        await reached(self._access.refresh())

    async def _change(self, key_id: str, new: KeyRecord | None) -> None:
        old = self._access.snapshot.raw.get(key_id)
        if not await reached(self._access.store.change_key(key_id, old, new)):
            raise AbortedError(_CHANGED)
        await reached(self._access.refresh())
        await asyncio.sleep(SPREAD_S)


def _named(text: str, known: Iterable[KeyRecord]) -> KeyRecord | None:
    """The key of an id or a name."""
    found = sorted((key for key in known if text in (key.id, key.name)), key=lambda key: key.id != text)
    return found[0] if found else None


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
