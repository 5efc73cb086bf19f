"""A stack whose callers show keys, and keys of every kind."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from kernelport import Client, UnauthenticatedError
from kernelport.access.principals import SCOPES
from kernelport.config.settings import bundled_deployments
from kernelport.supervisor.stack import Stack
from tests.conftest import START_TIMEOUT_S, discard, stack_settings, sync_each_write

OTHER = "acme"


@dataclass(frozen=True)
class Guarded:
    """A stack with two front doors.

    Attributes:
        first: its first key.
        doors: the address of each front door by itself.
        scoped: a key for each scope, with no other.
        other: a key of another tenant with all scopes but `admin`.
    """

    stack: Stack
    first: str
    doors: tuple[str, ...]
    scoped: Mapping[str, str]
    other: str

    def knows(self, token: str, door: int) -> bool:
        """Whether a door has heard of a key."""
        with self.client(token, door) as client:
            try:
                client.deployments()
            except UnauthenticatedError:
                return False
        return True

    def client(self, token: str = "", door: int | None = None) -> Client:
        """A client with a key; the first one by default."""
        target = self.stack.target if door is None else self.doors[door]
        return Client(target, timeout_s=30, max_retries=0, api_key=token or self.first)


@pytest.fixture(scope="package")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    folder: Path = tmp_path_factory.mktemp("guarded")
    settings = replace(
        stack_settings(bundled_deployments()), first_key_file=str(folder / "first-key"), price_per_hour=3.6
    )
    with Stack(settings, ["identity-onnx", "hibari-en"], folder / "state", front_doors=2) as stack:
        try:
            stack.wait_ready(START_TIMEOUT_S)
            sync_each_write(stack)
            first = (folder / "first-key").read_text().strip()
            with Client(stack.target, api_key=first) as admin:
                made = {scope: admin.access.create_key(f"only-{scope}", scopes=[scope])[1] for scope in SCOPES}
                scopes = [scope for scope in SCOPES if scope != "admin"]
                other = admin.access.create_key("others", tenant=OTHER, scopes=scopes)[1]
            yield Guarded(stack, first, tuple(stack.door_addresses), made, other)
        finally:
            discard(stack.children.values())
