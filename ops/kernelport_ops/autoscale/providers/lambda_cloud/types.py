"""What Lambda Cloud's API speaks of, as far as it is used here. Fields that are not used are not read."""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Self


class InstanceStatus(StrEnum):
    """The status of an instance. None of them says that its worker works."""

    BOOTING = "booting"
    ACTIVE = "active"
    UNHEALTHY = "unhealthy"
    TERMINATED = "terminated"
    TERMINATING = "terminating"
    PREEMPTED = "preempted"
    UNKNOWN = "unknown"

    @classmethod
    def _missing_(cls, value: object) -> Self:
        return cls("unknown")


@dataclass(frozen=True)
class InstanceType:
    """A kind of instance.

    Attributes:
        price: dollars an hour.
        regions: names of those that list capacity now; advice.
    """

    name: str
    description: str
    gpu_description: str
    price: float
    gpus: int
    regions: tuple[str, ...]

    @classmethod
    def of(cls, item: dict[str, Any]) -> Self:
        """Of an InstanceTypesItem."""
        kind = item["instance_type"]
        return cls(
            kind["name"],
            kind["description"],
            kind.get("gpu_description", ""),
            kind["price_cents_per_hour"] / 100,
            kind["specs"]["gpus"],
            tuple(region["name"] for region in item["regions_with_capacity_available"]),
        )

    @property
    def arm64(self) -> bool:
        """Whether its processor is an ARM one. The API does not say: Grace is the only one offered."""
        return "gh200" in self.name.lower() or "gb200" in self.name.lower() or "gb300" in self.name.lower()


@dataclass(frozen=True)
class Instance:
    """An instance. The API knows its Jupyter token, too: it is a secret, and is not read.

    Attributes:
        ip: empty until there is one; some never get one.
        price: dollars an hour.
    """

    id: str
    name: str
    ip: str
    status: InstanceStatus
    region: str
    type: str
    price: float
    gpus: int
    tags: dict[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, item: dict[str, Any]) -> Self:
        """Of an Instance of the API."""
        kind = item["instance_type"]
        return cls(
            item["id"],
            item.get("name") or "",
            item.get("ip") or "",
            InstanceStatus(item["status"]),
            item["region"]["name"],
            kind["name"],
            kind["price_cents_per_hour"] / 100,
            kind["specs"]["gpus"],
            {tag["key"]: tag["value"] for tag in item.get("tags") or ()},
        )


@dataclass(frozen=True)
class Launch:
    """What is asked for in a launch.

    Attributes:
        user_data: a secret: it carries the worker's credentials.
    """

    name: str
    type: str
    region: str
    ssh_key: str
    image_family: str
    user_data: str = field(repr=False)
    tags: dict[str, str]
    firewall_rulesets: tuple[str, ...] = ()

    def body(self) -> dict[str, Any]:
        """As the API takes it."""
        body: dict[str, Any] = {
            "name": self.name,
            "hostname": self.name[:63],
            "instance_type_name": self.type,
            "region_name": self.region,
            "ssh_key_names": [self.ssh_key],
            "image": {"family": self.image_family},
            "user_data": self.user_data,
            "tags": [{"key": key, "value": value} for key, value in self.tags.items()],
        }
        if self.firewall_rulesets:
            body["firewall_rulesets"] = [{"id": each} for each in self.firewall_rulesets]
        return body
