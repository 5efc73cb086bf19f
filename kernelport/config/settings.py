"""What every process is told by its environment. Each field is the variable KERNELPORT_<FIELD>."""

import ipaddress
import math
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Self

from kernelport.tensors import MAX_MESSAGE_BYTES

PREFIX = "KERNELPORT_"
# Celery and Flower read the environment by themselves; what it says to another program is not meant for ours.
OTHERS_VARIABLES = ("CELERY_", "FLOWER_")
DEFAULT_LISTEN = "127.0.0.1:50051"
# What `kernelport up` listens on for HTTP; a front door by itself does so when it is told to.
DEFAULT_HTTP_LISTEN = "127.0.0.1:8000"
DEFAULT_REDIS_URL = "redis://127.0.0.1:6379/0"
_SIZE = re.compile(r"(\d+)\s*(B|KiB|MiB|GiB)?", re.IGNORECASE)
_ADDRESS = re.compile(r"(\[[^\s\[\]]*\]|[^\s\[\]]*):(?P<port>[0-9]{1,5})")
MAX_PORT = 65535
# What counts as for ever: longer times overflow somewhere on their way.
_MOST_S = 10 * 365 * 24 * 3600
_ORIGIN = re.compile(r"https?://[^/\s,]+")
_PAGE_URL = re.compile(r"https?://[^\s]+")
_LOG_FORMATS = ("text", "json")
_LEAST_LOG_BYTES = 64 * 2**10
_LOG_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")
_UNITS = {"b": 1, "kib": 2**10, "mib": 2**20, "gib": 2**30}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)([smhd])")
_SECONDS_OF = {"s": 1, "m": 60, "h": 3600, "d": 86400}


class SettingsError(ValueError):
    """A variable that does not hold what is expected; the message names both."""


def parse_size(text: str) -> int:
    """Bytes of a size such as `512`, `64MiB`, `1 GiB`.

    Raises:
        ValueError: when it is no size.
    """
    match = _SIZE.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"expected a size such as 1048576 or 64MiB, got {text!r}")
    return int(match[1]) * _UNITS[(match[2] or "B").lower()]


def parse_duration(text: str) -> float:
    """Seconds of a duration such as `90s`, `30m`, `12h` or `7d`, up to ten years.

    Raises:
        ValueError: when it is none.
    """
    match = _DURATION.fullmatch(text)
    seconds = float(match[1]) * _SECONDS_OF[match[2]] if match else math.inf
    if seconds > _MOST_S:
        raise ValueError(f"expected a duration such as 90s, 30m, 12h or 7d, up to ten years, got {text!r}")
    return seconds


def parse_address(text: str) -> str:
    """A `host:port` to listen on, as it is; the port 0 stands for a free one.

    Raises:
        ValueError: when it is none.
    """
    match = _ADDRESS.fullmatch(text)
    if match is None or int(match["port"]) > MAX_PORT:
        raise ValueError(f"expected host:port with a port of at most {MAX_PORT}, got {text!r}")
    return text


def parse_origins(text: str) -> str:
    """Comma-separated origins, as they are.

    Raises:
        ValueError: when one is none.
    """
    for origin in parts_of(text):
        if not _ORIGIN.fullmatch(origin):
            raise ValueError(f"expected origins such as https://app.example.com, comma-separated; got {origin!r}")
    return text


def parse_page_url(text: str) -> str:
    """The URL of a page, as it is.

    Raises:
        ValueError: when it is none.
    """
    if not _PAGE_URL.fullmatch(text):
        raise ValueError(f"expected a URL such as http://127.0.0.1:3000, got {text!r}")
    return text


def parts_of(text: str) -> list[str]:
    """The parts of a comma-separated text that are not empty."""
    return [part.strip() for part in text.split(",") if part.strip()]


def parse_redis_url(text: str) -> str:
    """A Redis URL, as it is.

    Raises:
        ValueError: when it is none.
    """
    from kernelport.broker import connections

    try:
        connections.parameters(text)
    except ValueError:  # neither the URL nor what is said of it is told: they may hold a password
        expected = f"expected a URL such as {DEFAULT_REDIS_URL}, rediss://... or unix:///path"
        raise ValueError(f"{expected}, user and password percent-encoded, and no options but db and ssl_*") from None
    return text


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


def _networks(text: str) -> str:
    for part in text.split(","):
        ipaddress.ip_network(part.strip())
    return text


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
        flower_url: where people find Flower, for the page; nothing when empty.
        grafana_url: where they find Grafana.
        share_ports: whether other front doors of the same user may listen on the same addresses; the system shares
            connections out among them. Somebody else's listener is an error all the same.
        own_listen: host:port on which this front door alone listens beside `listen`; none when empty.
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
        worker_id: the name a worker goes by in the registry; made of host and process id when empty.
        log_level: DEBUG, INFO, WARNING, ERROR or CRITICAL.
        webhook_networks: networks that webhooks may go to beside public addresses, such as `10.0.0.0/8,fd00::/8`.
        artifacts: the directory or URL that the outputs of jobs land in; below the default state directory when empty.
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
    flower_url: str = ""
    grafana_url: str = ""
    share_ports: bool = False
    own_listen: str = ""
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
    worker_id: str = ""
    log_level: str = "INFO"
    log_format: str = "text"
    log_file: str = ""
    log_bytes: int = 64 * 2**20
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
        return self.artifacts or str(default_state_dir() / "artifacts")

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
        values: dict[str, Any] = {}
        for item in fields(cls):
            variable = PREFIX + item.name.upper()
            text = environment.get(variable, "")
            if not text:
                continue
            try:
                values[item.name] = _PARSERS.get(item.name, str)(text)
            except ValueError as error:
                raise SettingsError(f"{variable}: {error}") from None
        return cls(**values)

    def to_environment(self) -> dict[str, str]:
        """The variables that make a child process read these settings."""
        return {PREFIX + item.name.upper(): str(getattr(self, item.name)) for item in fields(self)}


def _log_format(text: str) -> str:
    if text not in _LOG_FORMATS:
        raise ValueError(f"expected one of {', '.join(_LOG_FORMATS)}, got {text!r}")
    return text


def _log_level(text: str) -> str:
    if text.upper() not in _LOG_LEVELS:
        raise ValueError(f"expected one of {', '.join(_LOG_LEVELS)}, got {text!r}")
    return text.upper()


def _message_size(text: str) -> int:
    size = parse_size(text)
    if size > MAX_MESSAGE_BYTES:
        raise ValueError(f"expected at most {MAX_MESSAGE_BYTES} bytes, which is all that gRPC carries, got {text!r}")
    if size == 0:
        raise ValueError(f"expected at least 1 byte, got {text!r}")
    return size


def _seconds_from(least: float) -> Callable[[str], float]:
    def parse(text: str) -> float:
        try:
            seconds = float(text)
        except ValueError:
            seconds = math.nan
        if not least <= seconds <= _MOST_S:
            raise ValueError(f"expected seconds from {least:g} to {_MOST_S}, got {text!r}")
        return seconds

    return parse


def _share(text: str) -> float:
    try:
        share = float(text)
    except ValueError:
        share = math.nan
    if not 0 <= share <= 1:
        raise ValueError(f"expected a share from 0 to 1, got {text!r}")
    return share


def _log_size(text: str) -> int:
    size = parse_size(text)
    if size < _LEAST_LOG_BYTES:
        raise ValueError(f"expected at least {_LEAST_LOG_BYTES} bytes, got {text!r}")
    return size


def _time_kept(text: str) -> float:
    """A duration, or seconds; `inf` for ever."""
    if text == str(math.inf):
        return math.inf
    seconds = parse_duration(f"{text}s" if text.replace(".", "", 1).isdecimal() else text)
    if seconds < 1:
        raise ValueError(f"expected at least 1s, got {text!r}")
    return seconds


def _switch(text: str) -> bool:
    known = {"1": True, "true": True, "0": False, "false": False}
    if text.lower() not in known:
        raise ValueError(f"expected 1 or 0, got {text!r}")
    return known[text.lower()]


_PARSERS: dict[str, Any] = {
    "redis_url": parse_redis_url,
    "listen": parse_address,
    "http_listen": parse_address,
    "http_origins": parse_origins,
    "flower_url": parse_page_url,
    "grafana_url": parse_page_url,
    "share_ports": _switch,
    "own_listen": parse_address,
    "metrics_listen": parse_address,
    "deployments_file": Path,
    "max_message_bytes": _message_size,
    "max_answer_bytes": _message_size,
    "claim_bytes": parse_size,
    "heartbeat_ttl_s": _seconds_from(1),
    "lease_s": _seconds_from(0.1),
    "result_ttl_s": _seconds_from(1),
    "result_bytes": parse_size,
    "stop_s": _seconds_from(0),
    "storage_patience_s": _seconds_from(0.1),
    "retention": _time_kept,
    "keep_outputs": _time_kept,
    "job_retention_s": _seconds_from(1),
    "abandoned_s": _seconds_from(1),
    "webhook_networks": _networks,
    "log_level": _log_level,
    "log_format": _log_format,
    "log_bytes": _log_size,
    "log_inputs": _switch,
    "access_log": _share,
    "custom_ops": _switch,
    "roll": _switch,
}
