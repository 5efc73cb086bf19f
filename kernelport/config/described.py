"""What the settings mean, and which processes read them: for their `--help`, the docs and the containers."""

import inspect
import re
from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path

from kernelport.config.settings import PREFIX, Settings

_LOGS = ("log_level", "log_format", "log_file", "log_bytes", "log_inputs")
_SERVING = (
    "deployments_file",
    "artifacts",
    "claim_bytes",
    "heartbeat_ttl_s",
    "metrics_listen",
    "retention",
    "shared_dir",
    "stop_s",
    "storage_patience_s",
    "webhook_networks",
)
FRONT_DOOR = (
    "redis_url",
    "listen",
    "http_listen",
    "http_hosts",
    "http_origins",
    "studio",
    "flower_url",
    "grafana_url",
    "voice_consent",
    "share_ports",
    "own_listen",
    "tls_cert",
    "tls_key",
    "tls_client_ca",
    "insecure",
    "first_key",
    "first_key_file",
    "open_health",
    "open_reflection",
    "max_message_bytes",
    "result_bytes",
    "keep_outputs",
    "job_retention_s",
    "abandoned_s",
    "access_log",
    "audit_file",
    *_SERVING,
    *_LOGS,
)
WORKER = (
    "redis_url",
    "worker_id",
    "roll",
    "price_per_hour",
    "custom_ops",
    "lease_s",
    "max_answer_bytes",
    "result_ttl_s",
    *_SERVING,
    *_LOGS,
)
FLOWER = ("redis_url", *_LOGS)
# Its local workers are told what it is told.
AUTOSCALER = ("redis_url", "audit_file", *dict.fromkeys((*WORKER[3:], "metrics_listen")))
PROCESSES: Mapping[str, Sequence[str]] = {
    "front door": FRONT_DOOR,
    "worker": WORKER,
    "Flower": FLOWER,
    "autoscaler": AUTOSCALER,
}
_ATTRIBUTE = re.compile(r"^ {4}(\w+): (.*(?:\n {8}.*)*)$", re.MULTILINE)
_UNITS = (("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10))


def variable(name: str) -> str:
    """The environment variable of a setting."""
    return PREFIX + name.upper()


def meanings() -> dict[str, str]:
    """What each setting means, by name, as `Settings` says it; nothing where Python runs without docstrings."""
    told = (inspect.getdoc(Settings) or "").partition("Attributes:\n")[2]
    return {name: " ".join(text.split()) for name, text in _ATTRIBUTE.findall(told)}


def explained(names: Sequence[str]) -> dict[str, str]:
    """What the variables of settings mean, and their defaults, in a line each."""
    told, preset = meanings(), defaults()
    return {variable(name): f"{told.get(name, '')} [default: {preset[name] or 'none'}]" for name in names}


def defaults() -> dict[str, str]:
    """The default of each setting, as it would be set; empty for none."""
    settings = Settings()
    return {each.name: _shown(each.name, getattr(settings, each.name)) for each in fields(Settings)}


def _shown(name: str, value: object) -> str:
    match value:
        case Path():
            return "deployments/deployments.yaml, else the bundled file"
        case bool():
            return str(int(value))
        case int() if name.endswith("_bytes"):
            return next(
                (f"{value // size}{unit}" for unit, size in _UNITS if value >= size and not value % size), f"{value}"
            )
        case float():
            return f"{value:g}"
    return str(value)
