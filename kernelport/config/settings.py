"""What every process is told by its environment. Each field is the variable KERNELPORT_<FIELD>."""

import ipaddress
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Self

from kernelport.config import values
from kernelport.tensors import MAX_MESSAGE_BYTES

PREFIX = "KERNELPORT_"
# Celery and Flower read the environment by themselves; what it says to another program is not meant for ours.
OTHERS_VARIABLES = ("CELERY_", "FLOWER_")
# The argument by which a front door takes the place of another.
BESIDE = "--beside"
DEFAULT_LISTEN = "127.0.0.1:50051"
# What `kernelport up` listens on for HTTP; a front door by itself does so when it is told to.
DEFAULT_HTTP_LISTEN = "127.0.0.1:8000"
DEFAULT_REDIS_URL = "redis://127.0.0.1:6379/0"


class SettingsError(ValueError):
    """A variable that does not hold what is expected; the message names both."""


def drop_variables(*prefixes: str) -> None:
    """Takes the variables that begin with one of these out of this process's environment."""
    for name in [name for name in os.environ if name.startswith(prefixes)]:
        del os.environ[name]


def is_loopback(host: str) -> bool:
    """Whether a host name or address is this machine's own, to which no proxy of the environment leads."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"


def bundled_deployments() -> Path:
    """The deployments file that comes with KernelPort: in the wheel, or in the repository it runs from."""
    package = Path(__file__).resolve().parent.parent
    in_wheel = package / "bundled_deployments" / "deployments.yaml"
    return in_wheel if in_wheel.exists() else package.parent / "deployments" / "deployments.yaml"


def default_deployments_file() -> Path:
    """`deployments/deployments.yaml` where the process was started, else the bundled file."""
    here = Path("deployments/deployments.yaml").absolute()
    return here if here.exists() else bundled_deployments()


def default_state_dir() -> Path:
    """Where the embedded stack keeps its data and logs: `$XDG_STATE_HOME/kernelport`."""
    base = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(base) / "kernelport"


def state_folder() -> Path:
    """The state folder that KERNELPORT_STATE_DIR names, or what `kernelport up` takes without it."""
    return Path(os.environ.get(f"{PREFIX}STATE_DIR") or default_state_dir())


@dataclass(frozen=True)
class Settings:
    """Settings shared by the processes of one KernelPort.

    Attributes:
        redis_url: the Redis that holds queues, replies and state.
        listen: host:port of the front door.
        http_listen: host:port on which it listens for HTTP, too; none when empty.
        http_hosts: names, comma-separated, by which HTTP callers may call it beside those of loopback and its own
            address.
        http_origins: origins, comma-separated, such as `https://app.example.com`, whose pages may call it.
        studio: whether its HTTP address shows the studio, the page of docs/studio.md: on or off.
        flower_url: where people find Flower, for the page; nothing when empty.
        grafana_url: where they find Grafana.
        voice_consent: what whoever adds a voice in the studio has to tick.
        share_ports: whether other front doors of the same user may listen on the same addresses; the system shares
            connections out among them. Somebody else's listener is an error all the same.
        own_listen: host:port on which this front door alone listens beside `listen`; none when empty.
        tls_cert: the PEM file of the certificate chain that the front door shows: with it, `listen` and `http_listen`
            speak TLS. A file that is replaced is taken up within seconds.
        tls_key: the PEM file of its key, without a password.
        tls_client_ca: the PEM file of the authorities of clients: with it, who has no certificate of theirs is refused.
        insecure: whether others than this machine may reach a front door that has no keys.
        first_key: the first key, where there is none yet: it may do everything.
        first_key_file: the file that holds it; one that is not there is made, with a new key.
        open_health: whether callers need no key to ask for the health of a front door. From its own machine they never
            do over gRPC.
        open_reflection: whether callers need no key for what describes methods and routes: gRPC's reflection,
            /openapi.json and /docs.
        deployments_file: the deployments file.
        max_message_bytes: largest request the front door takes, in bytes.
        max_answer_bytes: largest answer a worker gives, in bytes.
        heartbeat_ttl_s: seconds after its last heartbeat at which a worker counts as dead.
        lease_s: seconds for which a worker holds a batch unless it renews; a killed worker's batch is back after this
            and a sixth more.
        result_ttl_s: seconds for which the result of a request with an id is kept.
        result_bytes: of a deployment's results that are kept, at most.
        claim_bytes: requests and responses from this size on travel beside the queue, not in it.
        shared_dir: a folder in memory that processes of one machine pass large messages through; none when empty.
        stop_s: seconds a worker or front door that is told to stop has for what it has begun.
        metrics_listen: host:port of the Prometheus endpoint; none when empty.
        price_per_hour: what an hour of this worker costs, in dollars: usage tells what the time of models has cost.
        worker_id: the name a worker goes by in the registry; made of host and process id when empty.
        log_level: DEBUG, INFO, WARNING, ERROR or CRITICAL.
        webhook_networks: networks that webhooks may go to beside public addresses, such as `10.0.0.0/8,fd00::/8`.
        artifacts: the directory or URL that the outputs of jobs land in; `artifacts` in the state directory when empty.
        storage_patience_s: seconds for which an output is tried to be written before its job stops.
        retention: seconds for which what is over is kept at most: jobs that say nothing else themselves, dead letters,
            results of requests with an id. Infinite for times of their own: `job_retention_s`, for ever,
            `result_ttl_s`.
        keep_outputs: seconds after the end of a job at which its outputs go, once the job itself is gone; infinite for
            never.
        job_retention_s: seconds for which a job that is over is kept, where `retention` does not say.
        abandoned_s: seconds after which what was begun and left is swept: open jobs without new items, and what
            is half written of outputs whose job is gone.
        log_format: text, for people, or json, one object a line.
        log_file: where a process logs; to stderr when empty.
        log_bytes: size of a log file at which the next one begins; one more is kept.
        audit_file: where each change is recorded: a line of JSON with who, what, when and from where. Processes of one
            machine may share it; it changes with `log_bytes` as log files do. In the log when empty.
        log_inputs: whether logs may show what callers sent: the texts of models' exceptions and of errors.
        access_log: the share, from 0 to 1, of successful calls that front doors log a line of at INFO.
        custom_ops: whether workers load the libraries of custom operators that manifests name, which runs their code.
        roll: whether workers serve beside live ones of another revision of their deployments.
    """

    redis_url: str = field(default=DEFAULT_REDIS_URL, repr=False)
    listen: str = DEFAULT_LISTEN
    http_listen: str = ""
    http_hosts: str = ""
    http_origins: str = ""
    studio: bool = True
    flower_url: str = ""
    grafana_url: str = ""
    voice_consent: str = "The speaker knows that this voice is cloned, and has agreed to it."
    share_ports: bool = False
    own_listen: str = ""
    tls_cert: str = ""
    tls_key: str = ""
    tls_client_ca: str = ""
    insecure: bool = False
    first_key: str = field(default="", repr=False)
    first_key_file: str = ""
    open_health: bool = True
    open_reflection: bool = False
    deployments_file: Path = field(default_factory=default_deployments_file)
    max_message_bytes: int = 64 * 2**20
    max_answer_bytes: int = MAX_MESSAGE_BYTES
    heartbeat_ttl_s: float = 5.0
    lease_s: float = 30.0
    result_ttl_s: float = 600.0
    result_bytes: int = 2**30
    claim_bytes: int = 16 * 2**10
    shared_dir: str = ""
    stop_s: float = 30.0
    metrics_listen: str = ""
    price_per_hour: float = 0.0
    worker_id: str = ""
    log_level: str = "INFO"
    log_format: str = "text"
    log_file: str = ""
    log_bytes: int = 64 * 2**20
    audit_file: str = ""
    log_inputs: bool = False
    access_log: float = 0.0
    webhook_networks: str = ""
    artifacts: str = ""
    storage_patience_s: float = 30.0
    retention: float = math.inf
    keep_outputs: float = math.inf
    job_retention_s: float = 7 * 24 * 3600.0
    abandoned_s: float = 7 * 24 * 3600.0
    custom_ops: bool = False
    roll: bool = False

    @property
    def artifacts_url(self) -> str:
        """`artifacts`, or what stands for it when it is empty."""
        return self.artifacts or str(state_folder().absolute() / "artifacts")

    @property
    def jobs_kept_s(self) -> float:
        """Seconds for which jobs that are over are kept."""
        return self.job_retention_s if math.isinf(self.retention) else self.retention

    @property
    def results_kept_s(self) -> float:
        """Seconds for which results of requests with an id are kept."""
        return min(self.result_ttl_s, self.retention)

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> Self:
        """Reads the variables that are set; the rest keep their defaults.

        Raises:
            SettingsError: when one does not parse, or is out of range.
        """
        told: dict[str, Any] = {}
        for item in fields(cls):
            variable = PREFIX + item.name.upper()
            text = environment.get(variable, "")
            if not text:
                continue
            try:
                told[item.name] = _PARSERS.get(item.name, str)(text)
            except ValueError as error:
                raise SettingsError(f"{variable}: {error}") from None
        return cls(**told)

    def to_environment(self) -> dict[str, str]:
        """The variables that make a child process read these settings."""
        return {PREFIX + item.name.upper(): str(getattr(self, item.name)) for item in fields(self)}


_PARSERS: dict[str, Any] = {
    "redis_url": values.parse_redis_url,
    "listen": values.parse_address,
    "http_listen": values.parse_address,
    "http_origins": values.parse_origins,
    "flower_url": values.parse_page_url,
    "grafana_url": values.parse_page_url,
    "studio": values.parse_switch,
    "share_ports": values.parse_switch,
    "own_listen": values.parse_address,
    "metrics_listen": values.parse_address,
    "deployments_file": Path,
    "max_message_bytes": values.parse_message_size,
    "max_answer_bytes": values.parse_message_size,
    "claim_bytes": values.parse_size,
    "heartbeat_ttl_s": values.seconds_from(1),
    "lease_s": values.seconds_from(0.1),
    "result_ttl_s": values.seconds_from(1),
    "result_bytes": values.parse_size,
    "stop_s": values.seconds_from(0),
    "storage_patience_s": values.seconds_from(0.1),
    "retention": values.parse_time_kept,
    "keep_outputs": values.parse_time_kept,
    "job_retention_s": values.seconds_from(1),
    "abandoned_s": values.seconds_from(1),
    "webhook_networks": values.parse_networks,
    "log_level": values.parse_log_level,
    "log_format": values.parse_log_format,
    "log_bytes": values.parse_log_size,
    "log_inputs": values.parse_switch,
    "access_log": values.parse_share,
    "custom_ops": values.parse_switch,
    "insecure": values.parse_switch,
    "open_health": values.parse_switch,
    "open_reflection": values.parse_switch,
    "roll": values.parse_switch,
    "price_per_hour": values.parse_dollars,
}
