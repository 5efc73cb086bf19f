"""A running worker goes by its deployments file again when it gets a SIGHUP."""

import logging
import signal
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from types import FrameType

from kernelport.config.deployments import DeploymentTable, load_deployments
from kernelport.config.schema import ConfigError
from kernelport_workers.backends.base import Backend

log = logging.getLogger(__name__)


class ReadingAgain:
    """Takes over what the file says of the deployments of a worker, except what they load: that takes another worker.

    Args:
        deployments: as the file said before; they are changed where they are.
        on_changed: called when they have been.
    """

    def __init__(
        self,
        file: Path,
        deployments: DeploymentTable,
        backends: Mapping[str, Backend],
        on_changed: Callable[[], None],
    ) -> None:
        self._file = file
        self._deployments = deployments
        self._backends = backends
        self._on_changed = on_changed
        self._asked = threading.Event()

    def start(self) -> None:
        """Begins with the SIGHUPs that came while they were blocked. For the main thread alone."""
        threading.Thread(target=self._run, name="reading-again", daemon=True).start()
        signal.signal(signal.SIGHUP, self._ask)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGHUP])

    def read(self) -> None:
        """Reads the file; one that is not valid changes nothing."""
        try:
            found = load_deployments(self._file, list(self._deployments))
        except (ConfigError, OSError) as error:
            log.error("the deployments stay as they were: %s", error)
            return
        for name, deployment in self._deployments.items():
            after = found.get(name)
            if after is None:
                log.warning("%s is in %s no more; this worker serves it until it is stopped", name, self._file)
            elif deployment.needs_other_worker(after):
                log.warning("%s stays as it was: what %s says of it now takes a new worker", name, self._file)
            else:
                self._deployments[name] = after
                self._backends[name].take_limits(after.batching)
        self._deployments.file = found.file
        log.info("read %s again", self._file)
        self._on_changed()

    def _ask(self, number: int, frame: FrameType | None) -> None:
        self._asked.set()

    def _run(self) -> None:
        while True:
            self._asked.wait()
            self._asked.clear()
            self.read()
