"""Worker processes on this machine: one a GPU, or without GPUs one a core.

They live and die with the autoscaler's process.
"""

import os
import shutil
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from redis import Redis

from kernelport.config.scaling import Local
from kernelport.config.settings import Settings
from kernelport.supervisor.ports import port_after
from kernelport.supervisor.processes import Child
from kernelport.supervisor.state_folder import private_folder
from kernelport.supervisor.worker_command import worker_command
from kernelport.supervisor.workers import end_worker
from kernelport_ops.autoscale.providers.provider import Machine, NoCapacityError, Offer, Order, Status


@dataclass
class _Running:
    machine: Machine
    child: Child
    slot: int
    draining: bool = False

    @property
    def status(self) -> Status:
        if self.draining:
            return Status.ENDING
        return Status.FAILED if self.child.has_failed else Status.RUNNING


class LocalProvider:
    """Starts and stops worker processes.

    Args:
        settings: what the workers are told. The one on each slot shows its metrics at a port after `metrics_listen`.
        folder: for their logs.
        redis: learns of it when one ends by itself.
    """

    def __init__(self, local: Local, settings: Settings, folder: Path, redis: Redis) -> None:
        self._redis = redis
        self._local = local
        self._settings = settings
        self._folder = folder
        self._gpus = _count_gpus()
        self._slots = local.slots or self._gpus or os.cpu_count() or 1
        self._running: dict[str, _Running] = {}

    @property
    def boot_limit_s(self) -> float:
        """As the deployments file says."""
        return self._local.boot_limit_s

    def offers(self) -> list[Offer]:
        """A process, as long as a slot is free."""
        free = self._free_slots()
        return [Offer("process", "", 1, self._local.price_per_hour)] if free else []

    def machines(self) -> list[Machine]:
        """The processes; one that ends by itself is started again, until it has failed several times without getting to
        work."""
        return [replace(each.machine, status=each.status) for each in self._running.values()]

    def launch(self, order: Order, may_act: Callable[[], None]) -> None:
        """Starts a process on a free slot; with GPUs, it sees the slot's alone."""
        free = self._free_slots()
        if not free:
            raise NoCapacityError(f"all {self._slots} slots are taken")
        may_act()
        machine = Machine(
            order.name, order.deployment, 1, order.offer.price, float(order.epoch), Status.RUNNING, order.name
        )
        log_file = private_folder(self._folder).absolute() / f"{order.name}.log"
        settings = replace(
            self._settings,
            worker_id=machine.worker_ids[0],
            metrics_listen=port_after(self._settings.metrics_listen, 1 + free[0]),
            roll=True,
            price_per_hour=order.offer.price,
            log_file=str(log_file),
        )
        environment = {**os.environ, **settings.to_environment(), "PYTHONUNBUFFERED": "1"}
        if self._gpus:
            environment["CUDA_VISIBLE_DEVICES"] = str(free[0] % self._gpus)
        command = worker_command([order.deployment])
        on_exit = partial(end_worker, self._redis, settings.worker_id, order.deployment)
        child = Child(order.name, command, environment, log_file, on_exit, deployment=order.deployment)
        self._running[order.name] = _Running(machine, child, free[0])
        child.start()

    def drain(self, machine: Machine) -> None:
        """SIGTERM: the worker takes no more, finishes what it has, and ends."""
        running = self._running.get(machine.name)
        if running is not None and not running.draining:  # a second SIGTERM would cut its work off
            running.draining = True
            running.child.terminate()

    def is_drained(self, machine: Machine) -> bool:
        """Whether the process has ended."""
        running = self._running.get(machine.name)
        return running is None or running.child.pid is None

    def terminate(self, machines: Sequence[Machine]) -> None:
        """Ends processes; one that has not been told to finish gets no time for it."""
        for machine in machines:
            running = self._running.pop(machine.name, None)
            if running is not None:
                running.child.terminate()
                running.child.join(0.0 if not running.draining else 1.0)

    def close(self) -> None:
        """Lets every process finish what it has; returns when all have ended."""
        for running in self._running.values():
            running.child.terminate()
        for running in self._running.values():
            running.child.join(self._settings.stop_s + 5)
        self._running.clear()

    def _free_slots(self) -> list[int]:
        taken = {running.slot for running in self._running.values()}
        return [slot for slot in range(self._slots) if slot not in taken]


def _count_gpus() -> int:
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return 0
    finished = subprocess.run([tool, "--list-gpus"], capture_output=True, text=True, check=False)
    return sum(line.startswith("GPU ") for line in finished.stdout.splitlines()) if finished.returncode == 0 else 0
