"""Names of machines: unique, tell the fleet and the time of the launch, and are allowed as host names."""

import re

PREFIX = "kp"
_LONGEST_SLUG = 24


def machine_name(fleet: str, deployment: str, epoch: int, unique: str) -> str:
    """`kp-<fleet>-<deployment>-<epoch>-<unique>`, at most 63 small letters, digits and dashes.

    Args:
        epoch: Unix time in seconds.
    """
    slug = re.sub(r"[^a-z0-9]+", "-", deployment.lower()).strip("-")[:_LONGEST_SLUG].strip("-")
    return f"{PREFIX}-{fleet}-{slug}-{epoch}-{unique}"


def epoch_of(name: str) -> int | None:
    """When a machine was launched, by its name; None when it is no such name."""
    match = re.fullmatch(rf"{PREFIX}-[a-z][a-z0-9]*-[a-z0-9-]+-(\d+)-[0-9a-f]+", name)
    return int(match[1]) if match else None


def belongs_to(fleet: str, name: str) -> bool:
    """Whether a machine of this name is the fleet's."""
    return name.startswith(f"{PREFIX}-{fleet}-") and epoch_of(name) is not None
