"""Every option is an environment variable, too."""

from pathlib import Path

import click
import pytest

from kernelport.supervisor.stack import Stack
from tests.cli.running import called
from tests.cli.tree import every_command

COMMANDS = dict(every_command())


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_has_a_variable_that_its_help_shows(name: str) -> None:
    command = COMMANDS[name]
    shown = command.get_help(command.context_class(command, info_name=name))
    for parameter in command.params:
        if isinstance(parameter, click.Option):
            assert f"[env var: {parameter.envvar}" in shown, parameter.opts
            assert str(parameter.envvar).startswith("KERNELPORT_")


def test_a_variable_says_what_an_option_would(stack: Stack, tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("id;words\r\na;Café.\r\nb;\x81\r\n", encoding="latin-1")
    told = called(
        *("jobs", "submit", tmp_path / "t.csv"),
        KERNELPORT_TARGET=stack.target,
        KERNELPORT_DRY_RUN="1",
        KERNELPORT_ENCODING="windows-1252",
        KERNELPORT_COLUMN="text=words",
        KERNELPORT_SKIP_BAD="true",
    )
    assert '1 item: id <- "id", text <- "words"' in told.stderr
    assert "Café." in told.stdout


def test_a_variable_that_names_no_deployment_is_not_ignored(stack: Stack, tmp_path: Path) -> None:
    (tmp_path / "t.txt").write_text("Hello.\n")
    told = called(
        "jobs", "submit", tmp_path / "t.txt", expect=2, KERNELPORT_TARGET=stack.target, KERNELPORT_DEPLOYMENT="no-such"
    )
    assert 'no deployment is named "no-such"' in told.stderr
    assert f"(in {stack.settings.deployments_file})" in told.stderr


def test_a_dry_run_shows_what_was_understood_and_makes_no_job(stack: Stack, tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text(",text,speed\n" + "".join(f"{n},Line {n}.,1.5\n" for n in range(9)))
    before = called("jobs", "list", "--target", stack.target, "--json").stdout
    told = called("jobs", "submit", tmp_path / "t.csv", "--dry-run", "--target", stack.target)
    assert '9 items: id <- column 1, text <- "text", speed <- "speed"' in told.stderr
    assert "Line 4." in told.stdout
    assert "1.5" in told.stdout
    assert "Line 5." not in told.stdout
    assert called("jobs", "list", "--target", stack.target, "--json").stdout == before


def test_a_dry_run_shows_every_input_that_the_file_gives_and_says_that_nothing_was_submitted(tmp_path: Path) -> None:
    rows = [f"{number},A line that is rather long for a narrow terminal.,,\n" for number in range(9)]
    (tmp_path / "t.csv").write_text("".join(["id,text,speed,seed\n", *rows, "10,Last.,1.5,7\n", "11,,,\n"]))
    told = called("jobs", "submit", tmp_path / "t.csv", "--dry-run", "--skip-bad", COLUMNS="60")
    assert all(name in told.stdout for name in ("id", "text", "speed", "seed")), told.stdout
    assert "1 bad row left out, 10 good ones" in told.stderr
    assert told.stderr.endswith("10 items would be submitted; nothing was\n")


def test_columns_of_other_names_are_told_how_to_be_named(tmp_path: Path) -> None:
    source = tmp_path / "mine.csv"
    source.write_text("id,sentence\n1,Good morning.\n")
    told = called("jobs", "submit", source, expect=2).stderr
    assert "; --column NAME=COLUMN reads a column as an input, --ignore COLUMN leaves one out" in told
    source.write_text('id,text\n1,"Good morning.\n')
    told = called("jobs", "submit", source, expect=2).stderr
    assert "closing quote" in told
    assert "--column" not in told, "which is no matter of columns"
    source.write_text("id,sentence\n1,Good morning.\n")
    told = called("jobs", "submit", source, "--column", "text=sentense", expect=2).stderr
    assert "names the columns, with sentense" in told
    assert "did you mean" not in told, "a name that the file does not have"
    assert (
        '1 item: id <- "id", text <- "sentence"' in called("jobs", "submit", source, "--column", "text=sentence").stderr
    )


def test_a_table_that_is_read_aloud_is_told(tmp_path: Path) -> None:
    source = tmp_path / "mine.csv"
    source.write_text("id,text\n1,Good morning.\n")
    told = called("say", "-f", source, "-o", tmp_path / "said.wav").stderr
    assert f"{source} is read as plain text; `kernelport jobs submit` reads tables" in told
