"""What goes on beside everything else, from a thread of its own."""

import logging
import threading
from abc import ABC, abstractmethod

from redis.exceptions import RedisError

from kernelport.broker.connections import outage
from kernelport.broker.stored import StoredError, tell

log: logging.Logger = logging.getLogger(__name__)


class Background(ABC):
    """Looks for work every second and whenever it is kicked, from `start` until `stop`.

    Attributes:
        interval_s: seconds between two looks.
    """

    interval_s: float = 1.0

    def __init__(self, name: str) -> None:
        """
        Args:
            name: of its thread.
        """
        self._kicked = threading.Event()
        self._stopped = False
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Begins."""
        self._thread.start()

    def kick(self) -> None:
        """There may be work: looks at once."""
        self._kicked.set()

    def stop(self) -> None:
        """Begins with nothing further; what it has begun is finished, here or by another process."""
        self._stopped = True
        self.kick()

    @abstractmethod
    def _work(self) -> None:
        """Does what there is to do.

        Raises:
            RedisError: it cannot be done now.
        """

    def _run(self) -> None:
        while not self._stopped:
            try:
                self._work()
            except RedisError as error:
                outage.tell(error)
            except StoredError as error:
                tell(error)
            except Exception:
                # The thread lives on for all other jobs. This one comes up again when its lease is over.
                log.exception("%s failed", self._thread.name)
            self._kicked.wait(self.interval_s)
            self._kicked.clear()
