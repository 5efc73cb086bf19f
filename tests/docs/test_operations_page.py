"""The commands in docs/operations.md are ones that exist, and its links and pictures are there."""

import re
import shlex

import click
import pytest

from kernelport.cli import cli
from tests.cli.tree import below
from tests.compose import resolve
from tests.docs.commands import DOCS, commands

PAGE = "operations.md"
NAMED = [*commands(PAGE), *commands("deployments.md")]
COMPOSE = [command for command in NAMED if command.startswith("docker compose")]
OURS = [command for command in commands(PAGE) if command.startswith("kernelport ")]


@pytest.mark.parametrize("command", OURS)
def test_a_command_is_understood(command: str) -> None:
    group: click.Command = cli
    words = shlex.split(command)[1:]
    while isinstance(group, click.Group):
        group = below(group)[words.pop(0)]
    group.make_context("kernelport", words)


def test_each_compose_command_names_services_and_files_that_exist() -> None:
    for command in COMPOSE:
        files = tuple(re.findall(r"-f (\S+)", command)) or resolve.DEFAULT
        assert files in resolve.ALL
        services = resolve.resolve(files)["services"]
        named = re.findall(r"(?:restart|exec|logs|--scale) ([\w-]+)", command)
        assert set(named) <= set(services)


def test_links_and_pictures_lead_somewhere() -> None:
    text = (DOCS / PAGE).read_text()
    for target in re.findall(r"\]\(([^)#]+)", text):
        assert (DOCS / target).exists(), target
    anchors = {heading.lower().replace(" ", "-") for heading in re.findall(r"^#+ (.+)$", text, re.MULTILINE)}
    assert set(re.findall(r"\]\(#([^)]+)\)", text)) <= anchors
