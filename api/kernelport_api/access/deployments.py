"""The deployments that the current call may know of: of what others have nobody learns that it is there."""

from collections.abc import Iterator, Mapping

from kernelport.access.principals import Principal
from kernelport.config.deployments import Aliases, Deployment, DeploymentTable, unknown_deployment
from kernelport_api.calls import current


class CallersDeployments(Mapping[str, Deployment]):
    """A table as the caller sees it, whoever that is."""

    def __init__(self, table: DeploymentTable) -> None:
        self._table = table

    @property
    def aliases(self) -> Aliases:
        """As the table has them."""
        return self._table.aliases

    @property
    def tells_file(self) -> bool:
        """Whether the caller is told where the deployments file is: admins are, and everybody where nobody needs a
        key."""
        principal = current().principal
        return principal.is_admin and principal.deployments is None

    def unknown(self, name: str) -> str:
        """What to say of a name that none of them has."""
        return self._table.unknown(name) if self.tells_file else unknown_deployment(name, self)

    def known_to(self, principal: Principal, name: str) -> Deployment | None:
        """The deployment of a name, as far as somebody may know of it."""
        return self._table.get(name) if principal.may_use(name) else None

    def __getitem__(self, name: str) -> Deployment:
        if not current().principal.may_use(name):
            raise KeyError(name)
        return self._table[name]

    def __iter__(self) -> Iterator[str]:
        principal = current().principal
        return (name for name in self._table if principal.may_use(name))

    def __len__(self) -> int:
        return sum(1 for _ in self)
