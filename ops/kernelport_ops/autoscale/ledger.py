"""What is known of a fleet's machines, in Redis: written before a launch, so that no restart forgets a machine.

A record is made before the launch is asked for, and counts as a machine from then on, in numbers and in dollars.
Listing the provider's machines then settles it: what is listed exists; what never shows up did not come to be; what was
there and is gone has ended. Machines that are listed and not known, as after the loss of a Redis, are taken in.
"""

import json
from collections.abc import Collection, Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from redis import Redis
from redis.exceptions import ResponseError

from kernelport.broker import keys
from kernelport_ops.autoscale.lock import LUA, FencedError, Lock
from kernelport_ops.autoscale.providers.provider import Machine, Order, Status, worker_ids

DAY_S = 24 * 3600.0
# A launch without an answer may still show up among the machines for this long.
IN_DOUBT_S = 180.0


@dataclass(frozen=True)
class Entry:
    """One machine, from the intent to launch it to a day after its end. Times are Unix seconds, None for not yet.

    Attributes:
        price: dollars an hour.
        launched_at: when its launch was asked for.
        seen: whether it has been listed.
        ready_at: when its workers were first heard of.
        lost_at: since when they have not been heard of.
        drain_at, terminate_at: when that was asked for.
        ended_at: when it was gone; not before it really was.
    """

    name: str
    deployment: str
    workers: int
    price: float
    launched_at: float
    seen: bool = False
    status: Status = Status.STARTING
    id: str = ""
    ready_at: float | None = None
    lost_at: float | None = None
    drain_at: float | None = None
    terminate_at: float | None = None
    ended_at: float | None = None

    @property
    def going(self) -> bool:
        """Whether it has been told to end."""
        return self.drain_at is not None or self.terminate_at is not None

    @property
    def machine(self) -> Machine:
        """As its provider knows it."""
        return Machine(self.name, self.deployment, self.workers, self.price, self.launched_at, self.status, self.id)

    @property
    def worker_ids(self) -> list[str]:
        """The ids of its workers in the registry."""
        return worker_ids(self.name, self.workers)


class Ledger:
    """The records of one fleet."""

    def __init__(self, redis: Redis, fleet: str, lock: Lock) -> None:
        self._redis = redis
        self._lock = lock
        self._key = keys.autoscale_machines(fleet)
        self._write: Any = redis.register_script(LUA.source("write_machines"))
        self._keys = [keys.autoscale_lock(fleet), self._key]
        self.entries: dict[str, Entry] = {}

    def read(self) -> None:
        """Reads what Redis has."""
        stored: Any = self._redis.hgetall(self._key)
        self.entries = {name.decode(): _entry(value) for name, value in stored.items()}

    @property
    def live(self) -> list[Entry]:
        """The machines that are, or may be, paid for now."""
        return [entry for entry in self.entries.values() if entry.ended_at is None]

    def order(self, order: Order) -> None:
        """Notes a machine that is about to be launched.

        Raises:
            FencedError: when another autoscaler has the lock: then it must not be launched.
        """
        offer = order.offer
        self._put([Entry(order.name, order.deployment, offer.workers, offer.price, float(order.epoch))])

    def forget(self, name: str) -> None:
        """A machine was certainly not launched."""
        self._put([], [name])

    def change(self, name: str, **changes: Any) -> Entry:
        """Notes what has become of a machine."""
        entry = replace(self.entries[name], **changes)
        self._put([entry])
        return entry

    def reconcile(self, listed: Iterable[Machine], now: float) -> list[str]:
        """Holds the records against what the provider lists; drops what has been over for a day.

        Returns:
            for people, what was found.
        """
        found, changed, dropped = self._compared(listed, now)
        self._put(changed, dropped)
        return found

    def hear(self, heard: Collection[str], now: float) -> list[Entry]:
        """Notes of which machines' workers something is heard.

        Args:
            heard: the ids of workers.

        Returns:
            the machines that are heard of for the first time.
        """
        changed = self._as_heard(heard, now)
        first = [entry for entry in changed if self.entries[entry.name].ready_at is None]
        if changed:
            self._put(changed)
        return first

    def imagine(self, listed: Iterable[Machine], heard: Collection[str], now: float) -> None:
        """`reconcile` and `hear` in this process alone: Redis keeps what it has."""
        _, changed, dropped = self._compared(listed, now)
        self._take_over(changed, dropped)
        self._take_over(self._as_heard(heard, now))

    def _compared(self, listed: Iterable[Machine], now: float) -> tuple[list[str], list[Entry], list[str]]:
        """What the provider's list says of the records: in words for people, those that change, and those to drop."""
        found: list[str] = []
        changed: list[Entry] = []
        machines = {machine.name: machine for machine in listed}
        for machine in machines.values():
            entry = self.entries.get(machine.name)
            if entry is None:
                found.append(f"{machine.name} runs and was not known: taken in")
                entry = Entry(machine.name, machine.deployment, machine.workers, machine.price, machine.launched_at)
            current = replace(entry, seen=True, status=machine.status, id=machine.id, ended_at=None)
            if current != self.entries.get(machine.name):
                changed.append(current)
        dropped: list[str] = []
        for entry in self.entries.values():
            if entry.name in machines:
                continue
            if entry.ended_at is None and (entry.seen or now - entry.launched_at > IN_DOUBT_S):
                found.append(f"{entry.name} is gone" if entry.seen else f"{entry.name} never came to be")
                changed.append(replace(entry, ended_at=now))
            elif entry.ended_at is not None and now - entry.ended_at > DAY_S:
                dropped.append(entry.name)
        return found, changed, dropped

    def _as_heard(self, heard: Collection[str], now: float) -> list[Entry]:
        """The machines whose workers are heard of, or no more, other than before."""
        changed: list[Entry] = []
        for entry in self.live:
            if any(worker in heard for worker in entry.worker_ids):
                current = replace(entry, ready_at=now if entry.ready_at is None else entry.ready_at, lost_at=None)
            elif entry.ready_at is not None and entry.lost_at is None:
                current = replace(entry, lost_at=now)
            else:
                continue
            if current != entry:
                changed.append(current)
        return changed

    def spent(self, now: float, since: float) -> float:
        """Dollars that machines have cost between two times; every begun minute counts as one."""
        return sum(_cost(entry, now, since) for entry in self.entries.values())

    def _put(self, entries: Sequence[Entry], dropped: Sequence[str] = ()) -> None:
        arguments: list[Any] = [self._lock.token, keys.MACHINES_TTL_S, len(entries)]
        for entry in entries:
            arguments += [entry.name, json.dumps(asdict(entry))]
        try:
            self._write(keys=self._keys, args=[*arguments, *dropped])
        except ResponseError as error:
            if "FENCED" in str(error):
                raise FencedError(str(error)) from error
            raise
        self._take_over(entries, dropped)

    def _take_over(self, entries: Sequence[Entry], dropped: Sequence[str] = ()) -> None:
        self.entries.update((entry.name, entry) for entry in entries)
        for name in dropped:
            del self.entries[name]


def _entry(value: bytes) -> Entry:
    fields = json.loads(value)
    return Entry(**{**fields, "status": Status(fields["status"])})


def _cost(entry: Entry, now: float, since: float) -> float:
    start, end = max(since, entry.launched_at), entry.ended_at if entry.ended_at is not None else now
    minutes = -(-max(0.0, end - start) // 60)
    return minutes / 60 * entry.price
