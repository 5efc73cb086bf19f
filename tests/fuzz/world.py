"""The stack that gets random input, and what must stay as it is meanwhile: its processes, its logs, other callers."""

import itertools
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import grpc
import numpy as np
from redis import Redis

from kernelport import Client, KernelPortError
from kernelport.config.settings import bundled_deployments
from kernelport.supervisor.stack import Stack
from tests.conftest import serving_stack, stack_settings
from tests.fuzz.target import expect
from tests.stack.models import write_deployments

FUZZED, SPEECH, STEADY = "fuzzed", "speech", "steady"
# Deployments that nobody serves: what Redis says of their models is believed once by each front door.
UNSERVED = [f"unserved-{number}" for number in range(200)]
LEASE_S, HEARTBEAT_TTL_S = 3.0, 3.0
CALL_TIMEOUT_S = 30.0
PAUSE_S = 0.02
# What a log has when an error was not foreseen.
_SHOWN_BYTES = 4000
_UNFORESEEN = (b"Traceback (most recent call last)", b"Task exception was never retrieved")


class World:
    """A stack of which one deployment, and what all share, gets random input."""

    def __init__(self, stack: Stack) -> None:
        self.stack = stack
        self.channel = grpc.insecure_channel(stack.target, [("grpc.max_receive_message_length", -1)])
        self.redis = Redis.from_url(stack.settings.redis_url)
        self._pids = {name: child.pid for name, child in stack.children.items()}
        self._read: dict[Path, int] = {}
        self._troubles: list[str] = []
        self._stopped = threading.Event()
        self._steady = threading.Thread(target=self._call, name="steady")
        self.answered = 0

    def start(self) -> None:
        """The steady caller begins."""
        self._steady.start()

    def stop(self) -> None:
        """It ends."""
        self._stopped.set()
        self._steady.join()
        self.channel.close()
        self.redis.close()

    def check(self) -> None:
        """Raises FindingError when a process has ended, a log has a traceback, or the steady caller was let down."""
        pids = {name: child.pid for name, child in self.stack.children.items()}
        ended = {name: self.stack.children[name].log_tail() for name, pid in pids.items() if pid != self._pids[name]}
        self._pids = pids
        expect(not ended, f"ended: {ended}")
        for child in self.stack.children.values():
            said = self._news(child.log_file)
            shown = f"{child.name}: {said[-_SHOWN_BYTES:].decode(errors='replace')}"
            expect(not any(each in said for each in _UNFORESEEN), shown)
        troubles, self._troubles = self._troubles, []
        expect(not troubles, f"another caller: {troubles[:3]}")

    def _news(self, log_file: Path) -> bytes:
        """What a log has got since it was read last."""
        with log_file.open("rb") as file:
            file.seek(self._read.get(log_file, 0))
            said = file.read()
            self._read[log_file] = file.tell()
        return said

    def _call(self) -> None:
        with Client(self.stack.target, timeout_s=CALL_TIMEOUT_S) as client:
            for number in itertools.count():
                if self._stopped.wait(PAUSE_S):
                    return
                x = np.full((1, 1, 2, 2), number, np.float32)
                try:
                    right = bool(np.array_equal(client.infer(STEADY, {"x": x})["y"], x))
                except KernelPortError as error:
                    self._troubles.append(f"{error.code.name} {error} at {time.strftime('%T')}")
                else:
                    self.answered += 1
                    if not right:
                        self._troubles.append(f"a wrong answer to {number}")


@contextmanager
def serving_world(folder: Path) -> Iterator[World]:
    """A world whose steady caller calls."""
    folder.mkdir()
    models = bundled_deployments().parent / "models"
    identity = {"backend": "onnx", "image": "test", "manifest": str(models / "sample-manifest.yaml"), "device": "cpu"}
    speech = {
        **{"backend": "onnx", "image": "test", "manifest": str(models / "hibari-manifest.yaml"), "device": "cpu"},
        "pipeline": "kernelport_workers.pipelines.hibari:HibariPipeline",
    }
    unserved = {name: {**identity, "on_no_worker": "wait"} for name in UNSERVED}
    file = write_deployments(folder, **{FUZZED: identity, SPEECH: speech, STEADY: identity, **unserved})
    settings = replace(stack_settings(file), lease_s=LEASE_S, heartbeat_ttl_s=HEARTBEAT_TTL_S)
    with serving_stack(settings, [FUZZED, SPEECH, STEADY], folder / "state") as stack:
        world = World(stack)
        world.start()
        try:
            yield world
        finally:
            world.stop()
