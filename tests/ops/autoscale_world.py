"""Workers and work in virtual time. What the autoscaler sees of them is in a real Redis and the fake cloud's API."""

import random
from collections import Counter
from dataclasses import dataclass, field

import yaml
from redis import Redis

from kernelport.broker import keys
from kernelport.broker.registry import beat, forget, note_drained
from kernelport.internal.v1.queue_pb2 import FrontDoorRecord, Load, ServedDeployment, WorkerRecord
from kernelport.v1.deployment_pb2 import Worker
from tests.ops.fake_lambda.cloud import FakeInstance
from tests.ops.fake_lambda.processes import environment_of, files_of

DEPLOYMENT = "speech"
LEASE_S = 35.0
_BEAT_S = 3600.0


@dataclass
class _SimWorker:
    id: str
    instance: str
    hand: list[int] = field(default_factory=list)


class World:
    """Items that arrive, and the workers that answer them, `rate` a second each.

    Args:
        now: seconds of the virtual clock.
    """

    def __init__(self, redis: Redis, rate: float, now: float) -> None:
        self._redis = redis
        self._rate = rate
        self._now = now
        self.pending: list[int] = []
        self.answers: Counter[int] = Counter()
        self.workers: dict[str, _SimWorker] = {}
        self.cut_off: list[str] = []
        self._leases: list[tuple[float, list[int]]] = []
        self.accepted = 0

    def arrive(self, count: int) -> None:
        self.pending += range(self.accepted, self.accepted + count)
        self.accepted += count

    @property
    def lost(self) -> int:
        """Items that are nowhere."""
        held = sum(len(worker.hand) for worker in self.workers.values()) + sum(len(items) for _, items in self._leases)
        return self.accepted - len(self.answers) - len(self.pending) - held

    @property
    def done(self) -> bool:
        return len(self.answers) == self.accepted

    def start(self, instance: FakeInstance) -> None:
        files = files_of(instance.request["user_data"])
        for name, service in yaml.safe_load(files["compose.yaml"])["services"].items():
            if name.startswith("worker-"):
                worker = _SimWorker(environment_of(service, files)["KERNELPORT_WORKER_ID"], instance.id)
                self.workers[worker.id] = worker
                served = [ServedDeployment(name=DEPLOYMENT)]
                beat(self._redis, WorkerRecord(worker=Worker(id=worker.id), deployments=served), _BEAT_S)

    def stop(self, instance: FakeInstance) -> None:
        for worker in [each for each in self.workers.values() if each.instance == instance.id]:
            if worker.hand:
                self.cut_off.append(worker.id)
            self._leases.append((self._now + LEASE_S, worker.hand))
            self._end(worker)

    def pass_to(self, now: float) -> None:
        """Lets the workers work until `now`."""
        seconds, self._now = now - self._now, now
        for due, items in [lease for lease in self._leases if lease[0] <= now]:
            self.pending = items + self.pending
            self._leases.remove((due, items))
        for worker in list(self.workers.values()):
            self.answers.update(worker.hand)
            worker.hand = []
            if self._redis.exists(keys.drain(worker.id)):
                note_drained(self._redis, worker.id)
                self._end(worker)
                continue
            take = round(seconds * self._rate)
            worker.hand, self.pending = self.pending[:take], self.pending[take:]
        self._tell()

    def _end(self, worker: _SimWorker) -> None:
        forget(self._redis, worker.id)
        del self.workers[worker.id]

    def _tell(self) -> None:
        answered = len(self.answers)
        load = Load(deployment=DEPLOYMENT, requests=self.accepted - answered, accepted=self.accepted, answered=answered)
        with self._redis.pipeline() as pipeline:
            pipeline.set(keys.front_door("sim"), FrontDoorRecord(name="sim", loads=[load]).SerializeToString(), ex=3600)
            pipeline.sadd(keys.FRONT_DOORS, "sim")
            pipeline.expire(keys.FRONT_DOORS, 3600)
            pipeline.execute()


def arrivals(dice: random.Random, seconds: int, step_s: int, items: int) -> list[int]:
    """How many of `items` arrive in each step: in a few bursts at random times."""
    steps = seconds // step_s
    counts = [0] * steps
    for _ in range(4):
        start, length = dice.randrange(steps // 2), dice.randrange(1, steps // 4)
        for _ in range(items // 4):
            counts[start + dice.randrange(length)] += 1
    return counts
