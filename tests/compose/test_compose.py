"""The compose files say what the code understands."""

import re
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import compose_spec
import pytest
import yaml

from kernelport.cli import cli
from kernelport.config import described
from kernelport.config.deployments import load_deployments
from kernelport.config.settings import (
    DEFAULT_HTTP_LISTEN,
    DEFAULT_LISTEN,
    PREFIX,
    Settings,
    bundled_deployments,
)
from kernelport.config.values import parts_of
from kernelport.supervisor.redis_server import redis_command
from tests.cli.tree import below
from tests.compose import resolve
from tests.compose.dockerfile import stages, target_of
from tests.docs.pages import PAGES, REPOSITORY
from tests.docs.settings_page import OF_CONTAINERS

# What the pages name of the variables that libraries read.
OTHERS_VARIABLES = re.compile(r"\b(?:AWS|OTEL)_[A-Z_]*[A-Z]\b")
DEPLOYMENTS = load_deployments(bundled_deployments())
each_combination = pytest.mark.parametrize("files", resolve.ALL, ids=" ".join)


@each_combination
def test_the_files_follow_the_compose_specification(files: tuple[str, ...]) -> None:
    text = yaml.safe_dump(resolve.resolve(files))
    parsed = compose_spec.PyCompose.from_yaml(text)
    parsed.validate()
    assert parsed.service_names() == list(yaml.safe_load(text)["services"])


@each_combination
def test_each_worker_serves_a_deployment_with_the_image_that_the_table_names(files: tuple[str, ...]) -> None:
    workers = resolve.workers(resolve.resolve(files))
    assert workers
    for name, service in workers.items():
        assert service["image"] == DEPLOYMENTS[name].image
        assert (service.get("deploy") is not None) == service["image"].endswith(":gpu")
        assert service["networks"] == {"default": {"aliases": ["workers"]}}


@each_combination
def test_an_image_is_built_from_the_target_of_its_name(files: tuple[str, ...]) -> None:
    for service in resolve.resolve(files)["services"].values():
        if "build" in service:
            build = service["build"]
            assert (resolve.COMPOSE / build["context"]).resolve() == resolve.REPOSITORY
            assert (resolve.REPOSITORY / build["dockerfile"]).exists()
            assert build["target"] == target_of(service["image"])
            assert build["target"] in stages()
        else:
            assert service["image"].rpartition(":")[2][:1] in "v0123456789", "a version, not a moving tag"


@each_combination
def test_every_variable_is_one_that_the_process_reads(files: tuple[str, ...]) -> None:
    options = {parameter.envvar for command in below(cli).values() for parameter in command.params if parameter.envvar}
    known = {*Settings().to_environment(), *options, "KERNELPORT_FLOWER_PASSWORD"}
    for service in resolve.resolve(files, {"KERNELPORT_FLOWER_PASSWORD": "x"})["services"].values():
        environment = service["environment"]
        assert {name for name in environment if name.startswith(PREFIX)} <= known
        Settings.from_environment(environment)


@each_combination
def test_our_images_run_on_a_root_that_cannot_be_written(files: tuple[str, ...]) -> None:
    services = resolve.resolve(files)["services"].values()
    for service in (each for each in services if each["image"].startswith("kernelport-")):
        assert service["read_only"] is True
        assert [mount.partition(":")[0] for mount in service["tmpfs"]] == ["/tmp"]  # noqa: S108
        written = [volume.split(":")[1] for volume in service["volumes"] if not volume.endswith(":ro")]
        artifacts = service["environment"].get("KERNELPORT_ARTIFACTS")
        assert artifacts is None or artifacts in written


@each_combination
def test_a_process_has_the_time_to_finish_what_it_has_begun(files: tuple[str, ...]) -> None:
    for told, seconds in (({}, Settings().stop_s), ({"KERNELPORT_STOP_S": "600"}, 600)):
        for name, settings in settings_of(resolve.resolve(files)).items():
            if "stop_s" in settings and name != "flower":
                service = resolve.resolve(files, told)["services"][name]
                assert service["stop_grace_period"] == f"{seconds:g}s15000ms", "their sum"


@each_combination
def test_every_setting_and_variable_of_the_docs_reaches_the_containers(files: tuple[str, ...]) -> None:
    others = {variable for page in PAGES for variable in OTHERS_VARIABLES.findall((REPOSITORY / page).read_text())}
    assert others
    for name, settings in settings_of(resolve.resolve(files)).items():
        free = {described.variable(each) for each in settings} - {described.variable(each) for each in OF_CONTAINERS}
        free |= others if name != "flower" else {"KERNELPORT_FLOWER_PASSWORD"}
        told = {variable: f"a {variable}" for variable in free}
        environment = resolve.resolve(files, told)["services"][name]["environment"]
        assert {each for each in free if told[each] not in (environment.get(each) or "")} == set()


def settings_of(model: Mapping[str, Any]) -> dict[str, Sequence[str]]:
    """The settings that the services of ours read, by the services' names."""
    commands = {"front-door": "front door", "flower": "Flower", "worker": "worker"}
    return {
        name: described.PROCESSES[commands[words[1]]]
        for name, service in model["services"].items()
        if (words := str(service.get("command", "")).split())[:1] == ["kernelport"] and words[1] in commands
    }


def test_a_client_finds_the_front_door_where_it_looks_by_default() -> None:
    front_door = resolve.resolve(resolve.DEFAULT)["services"]["front-door"]
    told = front_door["environment"]
    port, http_port = (told[name].rpartition(":")[2] for name in ("KERNELPORT_LISTEN", "KERNELPORT_HTTP_LISTEN"))
    assert front_door["ports"] == [f"{DEFAULT_LISTEN}:{port}", f"{DEFAULT_HTTP_LISTEN}:{http_port}"]
    elsewhere = {"KERNELPORT_PUBLISH": "0.0.0.0:443", "KERNELPORT_PUBLISH_HTTP": "0.0.0.0:80"}
    moved = resolve.resolve(resolve.DEFAULT, elsewhere)["services"]["front-door"]
    assert moved["ports"] == [f"0.0.0.0:443:{port}", f"0.0.0.0:80:{http_port}"]


def test_http_callers_are_known_by_the_names_that_the_shell_says() -> None:
    names = {"KERNELPORT_HTTP_HOSTS": "speech.example", "KERNELPORT_HTTP_ORIGINS": "https://app.example"}
    for given in ({}, names):
        told = Settings.from_environment(resolve.resolve(resolve.CPU, given)["services"]["front-door"]["environment"])
        assert parts_of(told.http_hosts) == ["front-door", *([names["KERNELPORT_HTTP_HOSTS"]] if given else [])]
        assert told.http_origins == given.get("KERNELPORT_HTTP_ORIGINS", "")


@each_combination
def test_nothing_but_loopback_is_published_unless_asked_for(files: tuple[str, ...]) -> None:
    ports = [port for service in resolve.resolve(files)["services"].values() for port in service.get("ports", [])]
    assert ports
    assert all(port.startswith("127.0.0.1:") for port in ports)


def test_redis_keeps_and_refuses_as_the_embedded_one_does() -> None:
    command = shlex.split(resolve.resolve(resolve.DEFAULT)["services"]["redis"]["command"])
    given = dict(zip(command[1::2], command[2::2], strict=True))
    embedded = redis_command(Path("redis-server"), 6379, Path("/data"))
    of_embedded = dict(zip(embedded[1::2], embedded[2::2], strict=True))
    for option in ("--appendonly", "--appendfsync", "--save", "--maxmemory-policy"):
        assert given[option] == of_embedded[option]
    assert given["--maxmemory"] == "2gb", "noeviction refuses only where there is a limit"


def test_luxtts_takes_the_place_of_the_demo_on_the_gpu() -> None:
    below, above = (resolve.resolve(files)["services"] for files in (resolve.DEFAULT, resolve.LUXTTS))
    assert below["gpu-worker"]["command"] == "kernelport worker helion-demo --roll"
    worker = above["gpu-worker"]
    assert worker["command"] == "kernelport worker luxtts --roll"
    assert set(worker["depends_on"]) == {"redis", "model-fetch"}
    for kept in ("deploy", "environment", "volumes", "stop_grace_period", "networks"):
        assert worker[kept] == below["gpu-worker"][kept]
    manifest = above["model-fetch"]["command"].removeprefix("kernelport model-fetch /deployments/")
    assert bundled_deployments().parent / manifest == DEPLOYMENTS["luxtts"].manifest.file
    assert "cache:/home/kernelport/.cache" in set(above["model-fetch"]["volumes"]) & set(worker["volumes"])


def test_the_hub_token_reaches_the_fetch_and_nothing_else() -> None:
    tokens = {"HF_TOKEN": "hf_secret", "HUGGINGFACE_HUB_TOKEN": "hf_secret"}
    services = resolve.resolve(resolve.LUXTTS, tokens)["services"]
    holders = {name for name, service in services.items() if "hf_secret" in str(service)}
    assert holders == {"model-fetch"}
    assert "hf_secret" not in str(services["model-fetch"]["build"])
    assert not resolve.resolve(resolve.LUXTTS)["services"]["model-fetch"]["environment"], "absent where it is not set"


def test_workers_on_the_cpu_are_told_what_those_on_the_gpu_are() -> None:
    gpu = resolve.resolve(resolve.DEFAULT)["services"]["gpu-worker"]
    for worker in resolve.workers(resolve.resolve(resolve.CPU)).values():
        for same in ("environment", "depends_on", "restart", "stop_grace_period", "cap_drop", "security_opt"):
            assert worker[same] == gpu[same]
