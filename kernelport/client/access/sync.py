"""The synchronous twin of `access/aio.py`: generated, not to be edited; `make sync` writes it."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from kernelport.client.calling.messages import checked_names, checked_weight, message, unix_us
from kernelport.client.calling.sync import Channel
from kernelport.v1 import access_pb2 as pb
from kernelport.v1.access_pb2_grpc import AccessServiceStub


class Access:
    """The keys and tenants of a front door; made by a client, and as safe to share. Its calls need a key with the scope
    `admin`, or a front door that asks for none."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel

    def create_key(
        self,
        name: str,
        *,
        scopes: Iterable[str],
        tenant: str = "",
        deployments: Iterable[str] | None = (),
        expires: datetime | None = None,
        certificate: str = "",
        quotas: Mapping[str, float] | None = None,
    ) -> tuple[pb.Key, str]:
        """Makes a key; gives it with what its bearer shows, which nobody can ask for again.

        Args:
            name: small letters, digits, dots, dashes and underscores; no other key has it.
            scopes: some of infer, jobs, voices and admin.
            tenant: to whom belongs what its bearer makes; `default` when empty. Made where there is none of that name.
            deployments: the names of those that it may use; empty for all.
            expires: when it ends; None for never.
            certificate: the name in a certificate; over gRPC, who shows that one needs no secret.
            quotas: what its bearer may use, within what the tenant may, as those of a tenant.

        Raises:
            AlreadyExistsError: there is a key of this name.
        """
        request = message(
            pb.CreateKeyRequest,
            name=name,
            scopes=checked_names("scopes", scopes),
            tenant=tenant,
            deployments=checked_names("deployments", deployments),
            expires_unix_us=unix_us("expires", expires),
            certificate=certificate,
            quotas=quotas or {},
        )
        answer = self._call("CreateKey", request, repeatable=False)
        return answer.key, str(answer.token)

    def list_keys(self) -> list[pb.Key]:
        """Every key, in the order in which they were made."""
        return list((self._call("ListKeys", pb.ListKeysRequest())).keys)

    def revoke_key(self, key: str) -> bool:
        """Ends a key: within a second no front door takes it any more. False when there was none.

        Args:
            key: its id or name.
        """
        return bool((self._call("RevokeKey", message(pb.RevokeKeyRequest, key=key), repeatable=False)).removed)

    def rotate_key(self, key: str, *, grace_s: float | None = None) -> tuple[pb.Key, str]:
        """Gives a key a new secret; gives it with what its bearer shows from now on.

        Args:
            key: its id or name.
            grace_s: seconds for which the secret before it stays valid; None for an hour.
        """
        request = message(pb.RotateKeyRequest, key=key, grace_s=grace_s)
        answer = self._call("RotateKey", request, repeatable=False)
        return answer.key, str(answer.token)

    def set_key(self, key: str, *, quotas: Mapping[str, float]) -> pb.Key:
        """Puts quotas in the place of those that a key has.

        Args:
            key: its id or name.
            quotas: what its bearer may use, within what the tenant may, as those of a tenant.
        """
        changed: pb.Key = (self._call("SetKey", message(pb.SetKeyRequest, key=key, quotas=quotas))).key
        return changed

    def set_tenant(self, name: str, *, weight: float = 1.0, quotas: Mapping[str, float] | None = None) -> pb.Tenant:
        """Makes a tenant, or puts this in the place of what it has.

        Args:
            name: of the tenant.
            weight: its share of a deployment's workers beside those of others.
            quotas: what all of its keys together may use, by name: calls_a_second, calls (at a time), characters_a_day,
                bytes_a_day, items_waiting, stored_bytes, voices. What is not there is not limited.
        """
        tenant = message(pb.Tenant, name=name, weight=checked_weight(weight), quotas=quotas or {})
        made: pb.Tenant = (self._call("SetTenant", pb.SetTenantRequest(tenant=tenant))).tenant
        return made

    def list_tenants(self) -> list[pb.Tenant]:
        """Every tenant, sorted by name."""
        return list((self._call("ListTenants", pb.ListTenantsRequest())).tenants)

    def tenant(self, name: str) -> pb.Tenant:
        """One tenant.

        Args:
            name: of the tenant.
        """
        tenant: pb.Tenant = (self._call("GetTenant", message(pb.GetTenantRequest, name=name))).tenant
        return tenant

    def usage(self, *, first_day: str = "", last_day: str = "", tenant: str = "") -> list[pb.Usage]:
        """What tenants have used, by day and tenant. A key without the scope `admin` sees that of its own tenant.

        Args:
            first_day: of UTC, such as 2026-01-31; 30 days before the last when empty.
            last_day: today when empty.
            tenant: all when empty.
        """
        request = message(pb.GetUsageRequest, first_day=first_day, last_day=last_day, tenant=tenant)
        return list((self._call("GetUsage", request)).usage)

    def _call(self, method: str, request: Any, *, repeatable: bool = True) -> Any:
        deadline = self._channel.deadline(None)
        return self._channel.call(AccessServiceStub, method, request, deadline, repeatable=repeatable)
