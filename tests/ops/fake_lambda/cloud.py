"""The state of the cloud: instances that boot, run, fail and are paid for."""

import random
import threading
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from tests.ops.fake_lambda.faults import NONE, Fate, Faults, draw

TERMINATING_S = 20.0
REGIONS = ("us-west-1", "us-east-1", "europe-central-1")
# name: (cents an hour, GPUs)
TYPES = {
    "gpu_1x_a10": (129, 1),
    "gpu_1x_a100": (199, 1),
    "gpu_1x_gh200": (149, 1),
    "gpu_1x_h100_pcie": (329, 1),
    "gpu_8x_a100": (1592, 8),
    "cpu_4x_general": (20, 0),
}
KEY = "secret-key-of-the-test"


class Runner(Protocol):
    """What an instance runs once it has booted."""

    def start(self, instance: "FakeInstance") -> None: ...

    def stop(self, instance: "FakeInstance") -> None: ...


class Refusal(Exception):
    """An answer that is an error."""

    def __init__(self, status: int, code: str, message: str = "so it is") -> None:
        super().__init__(code)
        self.status, self.code, self.message = status, code, message


class Unanswered(Exception):
    """Something is done, and the connection breaks before the answer."""


@dataclass
class FakeInstance:
    """One instance. Times are seconds of the cloud's clock."""

    id: str
    request: dict[str, Any]
    fate: Fate
    launched_at: float
    status: str = "booting"
    running: bool = False
    ended_at: float | None = None
    terminated_at: float | None = None

    @property
    def name(self) -> str:
        return str(self.request["name"])

    @property
    def price(self) -> float:
        """Dollars an hour."""
        return TYPES[self.request["instance_type_name"]][0] / 100

    @property
    def billed(self) -> bool:
        return self.ended_at is None


@dataclass
class FakeCloud:
    """The cloud.

    Attributes:
        time: seconds.
        launches: names, in order, refused ones left out.
        planned: what becomes of the first launches, refused ones included; then it is drawn.
        refused: how many launches found no capacity.
        throttled: how many calls came too soon.
        limited: how many calls were refused though they did not.
    """

    time: Callable[[], float]
    runner: Runner
    faults: Faults = NONE
    seed: int = 0
    instances: dict[str, FakeInstance] = field(default_factory=dict)
    launches: list[str] = field(default_factory=list)
    rulesets: dict[str, dict[str, Any]] = field(default_factory=dict)
    planned: Sequence[Fate] = ()
    refused: int = 0
    throttled: int = 0
    limited: int = 0
    enforce_rates: bool = True

    def __post_init__(self) -> None:
        self._dice = random.Random(self.seed)
        self._fates = iter(self.planned)
        self._lock = threading.RLock()
        self._last_call = self._last_launch = float("-inf")
        self._outage_until = float("-inf")

    def call(self, method: str, path: str, body: Any, key: str) -> Any:
        """The `data` of an answer.

        Raises:
            Refusal, Unanswered: as they say.
        """
        with self._lock:
            self.advance()
            if key != KEY:
                raise Refusal(401, "global/invalid-api-key")
            self._check_rate(path)
            return self._answer(method, path, body)

    def advance(self) -> None:
        """Lets happen what is due."""
        with self._lock:
            now = self.time()
            for each in self.instances.values():
                self._advance(each, now)

    def fail(self, status: str) -> bool:
        """Lets an instance at work become unhealthy or preempted; False when none is at work."""
        with self._lock:
            now = self.time()
            each = next((each for each in self.instances.values() if each.running), None)
            if each is not None:
                each.fate = replace(each.fate, **{f"{status}_s": now - each.launched_at})
                self._advance(each, now)
            return each is not None

    def rate(self) -> float:
        """Dollars an hour of what is paid for now."""
        return sum(each.price for each in self.instances.values() if each.billed)

    def cost(self, since: float, until: float) -> float:
        """Dollars that were paid between two times."""
        return sum(
            max(0.0, min(until, each.ended_at or until) - max(since, each.launched_at)) / 3600 * each.price
            for each in self.instances.values()
        )

    def close(self) -> None:
        for each in self.instances.values():
            self._stop(each)

    def _advance(self, each: FakeInstance, now: float) -> None:
        age, fate = now - each.launched_at, each.fate
        if each.terminated_at is not None:
            if each.status == "terminating" and now - each.terminated_at >= TERMINATING_S:
                each.status, each.ended_at = "terminated", each.terminated_at + TERMINATING_S
            return
        if each.status == "booting" and age >= fate.active_s:
            each.status = "active"
        for status, at_s in (("unhealthy", fate.unhealthy_s), ("preempted", fate.preempted_s)):
            if at_s is not None and age >= at_s and each.status in ("booting", "active"):
                each.status = status
                self._stop(each)
        if each.status == "active" and fate.ready_s is not None and age >= fate.ready_s and not each.running:
            each.running = True
            self.runner.start(each)

    def _stop(self, each: FakeInstance) -> None:
        if each.running:
            self.runner.stop(each)
            each.running = False

    def _check_rate(self, path: str) -> None:
        now = self.time()
        launch = path == "/instance-operations/launch"
        soon = now - self._last_call < 1.0 - 1e-6 or (launch and now - self._last_launch < 12.0 - 1e-6)
        self._last_call = now
        if launch:
            self._last_launch = now
        if soon and self.enforce_rates:
            self.throttled += 1
            raise Refusal(429, "global/rate-limited")
        if self.faults.limited and self._dice.random() < self.faults.limited:
            self.limited += 1
            raise Refusal(429, "global/rate-limited")
        if now >= self._outage_until and self._dice.random() < self.faults.outages:
            self._outage_until = now + self._dice.uniform(0, 40)
        if now < self._outage_until:
            raise Refusal(503, "provider/internal-unavailable")

    def _answer(self, method: str, path: str, body: Any) -> Any:
        match (method, path):
            case ("GET", "/instance-types"):
                return {name: self._type(name) for name in TYPES}
            case ("GET", "/instances"):
                return [self._shown(each) for each in self.instances.values() if each.status != "terminated"]
            case ("POST", "/instance-operations/launch"):
                return self._launch(body)
            case ("POST", "/instance-operations/terminate"):
                return self._terminate(body["instance_ids"])
            case ("POST", "/firewall-rulesets"):
                ruleset = {"id": uuid.UUID(int=self._dice.getrandbits(128)).hex, **body, "instance_ids": []}
                self.rulesets[ruleset["id"]] = ruleset
                return ruleset
            case ("GET", "/firewall-rulesets"):
                return list(self.rulesets.values())
            case ("DELETE", _) if path.startswith("/firewall-rulesets/"):
                return self._delete_ruleset(path.rpartition("/")[2])
        raise Refusal(404, "global/not-found")

    def _launch(self, body: dict[str, Any]) -> Any:
        for name in ("region_name", "instance_type_name", "ssh_key_names"):
            if not body.get(name):
                raise Refusal(400, "global/invalid-parameters", f"{name} is required")
        if len(body.get("name", "")) > 64 or len(body.get("user_data", "")) > 1_000_000:
            raise Refusal(400, "global/invalid-parameters")
        if body["instance_type_name"] not in TYPES or body["region_name"] not in REGIONS:
            raise Refusal(404, "global/object-does-not-exist")
        fate = next(self._fates, None) or draw(self.faults, self._dice)
        if fate.refused:
            self.refused += 1
            raise Refusal(400, "instance-operations/launch/insufficient-capacity")
        instance_id = uuid.UUID(int=self._dice.getrandbits(128)).hex
        self.instances[instance_id] = FakeInstance(instance_id, body, fate, self.time())
        self.launches.append(body["name"])
        if fate.unanswered:
            raise Unanswered
        return {"instance_ids": [instance_id]}

    def _terminate(self, ids: list[str]) -> Any:
        found = [self.instances.get(each) for each in ids]
        chosen = [each for each in found if each is not None and each.status != "terminated"]
        if len(chosen) != len(ids):
            raise Refusal(404, "global/object-does-not-exist")
        for each in chosen:
            if each.terminated_at is None:
                each.status, each.terminated_at = "terminating", self.time()
                self._stop(each)
        return {"terminated_instances": [self._shown(each) for each in chosen]}

    def _delete_ruleset(self, ruleset: str) -> Any:
        for each in self.instances.values():
            if {"id": ruleset} in each.request.get("firewall_rulesets", []) and each.billed:
                raise Refusal(400, "firewall-rulesets/firewall-ruleset-in-use")
        self.rulesets.pop(ruleset, None)
        return {}

    def _type(self, name: str) -> dict[str, Any]:
        cents, gpus = TYPES[name]
        kind = {
            "name": name,
            "description": name,
            "gpu_description": name.split("_")[-1].upper() if gpus else "N/A",
            "price_cents_per_hour": cents,
            "specs": {"vcpus": 30, "memory_gib": 200, "storage_gib": 1400, "gpus": gpus},
        }
        regions = [{"name": region, "description": region} for region in REGIONS]
        return {"instance_type": kind, "regions_with_capacity_available": regions}

    def _shown(self, each: FakeInstance) -> dict[str, Any]:
        possible = {"available": True}
        shown = {
            "id": each.id,
            "name": each.name,
            "status": each.status,
            "ssh_key_names": each.request["ssh_key_names"],
            "file_system_names": [],
            "region": {"name": each.request["region_name"], "description": ""},
            "instance_type": self._type(each.request["instance_type_name"])["instance_type"],
            "jupyter_token": "jupyter-token-of-the-test",
            "jupyter_url": "https://jupyter.example/?token=jupyter-token-of-the-test",
            "actions": dict.fromkeys(("migrate", "rebuild", "restart", "cold_reboot", "terminate"), possible),
            "tags": each.request.get("tags", []),
        }
        if each.fate.ip and self.time() - each.launched_at > 10:
            shown["ip"] = "127.0.0.1"
        return shown
