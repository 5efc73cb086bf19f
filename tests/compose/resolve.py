"""What `docker compose -f A -f B config` makes of the compose files, for the parts of the specification they use."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

REPOSITORY = Path(__file__).resolve().parents[2]
COMPOSE = REPOSITORY / "compose"
# The combinations that the docs name.
DEFAULT = ("docker-compose.yml",)
LUXTTS = ("docker-compose.yml", "docker-compose.luxtts.yml")
CPU = ("docker-compose.cpu.yml",)
MONITORED = ("docker-compose.yml", "docker-compose.monitoring.yml")
CPU_MONITORED = ("docker-compose.cpu.yml", "docker-compose.monitoring.yml")
ALL = (DEFAULT, LUXTTS, CPU, MONITORED, CPU_MONITORED)

_VARIABLE = re.compile(r"\$\{(\w+)(?::-([^}]*))?\}")
_REPLACED = {"command", "entrypoint", "test"}


def resolve(files: tuple[str, ...], environment: Mapping[str, str] | None = None) -> dict[str, Any]:
    """The model of the files, later ones on top, with the variables of `environment`."""
    environment = environment or {}
    model: dict[str, Any] = {}
    for file in files:
        model = _merged(model, _load(file, environment))
    for service in model["services"].values():
        given = service.get("environment", {})
        # A variable without a value is the shell's, and absent where the shell has none.
        service["environment"] = {
            name: str(environment[name] if value is None else value)
            for name, value in given.items()
            if value is not None or name in environment
        }
    return {name: value for name, value in model.items() if not name.startswith("x-")}


def workers(model: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The services that are workers, by the deployment that each serves."""
    prefix, suffix = "kernelport worker ", " --roll"
    commands = {name: str(service.get("command", "")) for name, service in model["services"].items()}
    return {
        command.removeprefix(prefix).removesuffix(suffix): model["services"][name]
        for name, command in commands.items()
        if command.startswith(prefix) and command.endswith(suffix)
    }


def _load(file: str, environment: Mapping[str, str]) -> dict[str, Any]:
    text = (COMPOSE / file).read_text()
    text = _VARIABLE.sub(lambda match: environment.get(match[1]) or match[2] or "", text)
    model: dict[str, Any] = yaml.safe_load(text)
    for name, service in model["services"].items():
        base = service.pop("extends", None)
        if base is not None:
            extended = _load(base["file"], environment)["services"][base["service"]]
            model["services"][name] = _merged(extended, service)
    return model


def _merged(below: Any, above: Any, key: str = "") -> Any:
    if isinstance(below, dict) and isinstance(above, dict):
        both = {name: _merged(below[name], above[name], name) for name in below.keys() & above.keys()}
        return {**below, **above, **both}
    if isinstance(below, list) and isinstance(above, list) and key not in _REPLACED:
        if key == "volumes":
            return list({volume.split(":")[1]: volume for volume in [*below, *above]}.values())
        return [*below, *(item for item in above if item not in below)]
    return above
