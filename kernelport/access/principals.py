"""Who makes a call, and what that lets them do."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from kernelport.access.quotas import Quotas
from kernelport.names import DEFAULT_TENANT, MARK, is_tenant_name, owned, owner_of

INFER: Final = "infer"
JOBS: Final = "jobs"
VOICES: Final = "voices"
ADMIN: Final = "admin"
# What each lets its bearer do.
SCOPES: dict[str, str] = {
    INFER: "run requests and streams, look at dead letters and replay them",
    JOBS: "submit, watch, change and delete bulk jobs, batches and files",
    VOICES: "register and delete voices",
    ADMIN: "everything, of every tenant: keys and tenants, too",
}


@dataclass(frozen=True, slots=True)
class Principal:
    """Who makes a call.

    Attributes:
        tenant: to whom belongs what it makes.
        scopes: what it may do.
        deployments: the names of those that it may use; None for all.
        key_id, name: of its key; empty for a caller who needs none.
        quotas: those that its calls are counted against, by whose they are: its tenant's, its key's.
        stock: those that hold for what is kept.
    """

    tenant: str
    scopes: frozenset[str]
    deployments: frozenset[str] | None = None
    key_id: str = ""
    name: str = ""
    quotas: tuple[tuple[str, Quotas], ...] = ()
    stock: tuple[tuple[str, Quotas], ...] = ()

    @property
    def is_admin(self) -> bool:
        """Whether it sees what belongs to others, too."""
        return ADMIN in self.scopes

    def may(self, scopes: Iterable[str]) -> bool:
        """Whether it has one of these scopes, or may do everything."""
        return ADMIN in self.scopes or not self.scopes.isdisjoint(scopes)

    def stored(self, name: str) -> str:
        """Under which name something is stored that this caller names. Admins put the tenant before what is not their
        own, as they are shown it."""
        tenant, mark, rest = name.partition(MARK)
        if mark and self.is_admin and is_tenant_name(tenant):
            return owned(tenant, rest)
        return owned(self.tenant, name)

    def shown(self, stored: str) -> str:
        """What this caller is told of the name under which something is stored."""
        tenant, name = owner_of(stored)
        return name if tenant == self.tenant else f"{tenant}{MARK}{name}"

    def sees(self, stored: str) -> bool:
        """Whether it is shown what is stored under a name among others."""
        return self.is_admin or owner_of(stored)[0] == self.tenant

    def may_use(self, deployment: str) -> bool:
        """Whether it may know of a deployment."""
        return self.deployments is None or deployment in self.deployments


# Everybody, where no keys are needed.
ANYBODY = Principal(DEFAULT_TENANT, frozenset({ADMIN}))
# Who has shown no key, of what needs none.
NOBODY = Principal(DEFAULT_TENANT, frozenset(), frozenset())
