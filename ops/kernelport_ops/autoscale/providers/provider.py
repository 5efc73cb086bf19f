"""Where workers come from: machines, each with one or more workers of one deployment, that are launched and ended."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol


class Status(StrEnum):
    """What a provider says of a machine. Only a worker's own heartbeat says that it is ready."""

    STARTING = "starting"
    RUNNING = "running"
    FAILED = "failed"
    ENDING = "ending"


class ProviderError(Exception):
    """The provider did not do what it was asked to, or cannot be asked; a later try may succeed."""


class NoCapacityError(ProviderError):
    """There is no such machine to be had now: a normal event, and certain to have launched nothing."""


class RefusedError(ProviderError):
    """The provider refused a launch for a reason that the next try will meet, too; certain to have launched nothing."""


class NotSetError(ProviderError):
    """A variable of the environment that the provider cannot do without is not set."""


@dataclass(frozen=True)
class Offer:
    """A machine that could be had.

    Attributes:
        kind: what the provider calls it, such as an instance type.
        region: where; empty when there is but one place.
        workers: how many it runs.
        price: dollars an hour.
    """

    kind: str
    region: str
    workers: int
    price: float


@dataclass(frozen=True)
class Order:
    """A machine to launch.

    Attributes:
        name: unique for ever; a launch under a name that exists launches nothing.
        epoch: Unix time in seconds of the order; providers do not tell when a machine was launched.
        fence: the fencing token of the autoscaler that orders.
    """

    name: str
    deployment: str
    offer: Offer
    epoch: int
    fence: int


@dataclass(frozen=True)
class Machine:
    """A machine that is paid for.

    Attributes:
        launched_at: Unix time in seconds.
    """

    name: str
    deployment: str
    workers: int
    price: float
    launched_at: float
    status: Status
    id: str = ""
    ip: str = ""

    @property
    def worker_ids(self) -> list[str]:
        """The ids under which its workers are in the registry."""
        return worker_ids(self.name, self.workers)


class Provider(Protocol):
    """A source of machines. Every method may raise ProviderError."""

    @property
    def boot_limit_s(self) -> float:
        """A machine whose worker is not ready after this is given back, in seconds."""

    def offers(self) -> list[Offer]:
        """What could be had, cheapest a worker first. It is advice: a launch may still find no capacity."""

    def machines(self) -> list[Machine]:
        """All machines of the fleet that are paid for, those that are ending included."""

    def launch(self, order: Order, may_act: Callable[[], None]) -> None:
        """Launches a machine; when it fails in doubt, the machine shows up among `machines` if it was launched.

        Args:
            may_act: called right before the launch leaves; raises when the autoscaler may not act any more.

        Raises:
            NoCapacityError: when there is none.
        """

    def drain(self, machine: Machine) -> None:
        """Asks its workers to take no more work, to finish what they have, and to end."""

    def is_drained(self, machine: Machine) -> bool:
        """Whether its workers have finished."""

    def terminate(self, machines: Sequence[Machine]) -> None:
        """Ends machines, whatever they do."""

    def close(self) -> None:
        """The autoscaler stops. What cannot live on without it ends."""


def worker_ids(name: str, workers: int) -> list[str]:
    """The ids under which the workers of a machine are in the registry."""
    return [f"{name}.{index}" for index in range(workers)]
