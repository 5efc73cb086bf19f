"""What jobs leave is told, and can be removed."""

import signal
import subprocess
import sys
from pathlib import Path
from subprocess import PIPE

import pytest

from kernelport import Client, FailedPreconditionError, NotFoundError
from tests.cli.running import called
from tests.everyday.conftest import tensor_file


def job_of(client: Client, count: int) -> tuple[str, Path]:
    """A job that is over, and where its outputs are."""
    source = tensor_file(Path("items.jsonl"), count)
    job = called("jobs", "submit", source, "--deployment", "identity-onnx").stdout.strip()
    return job, Path(client.jobs.wait(job).output_url)


def test_delete_says_what_it_leaves_and_prune_removes_it_when_told_to(client: Client) -> None:
    called("jobs", "prune", "--yes")
    (job, folder), (_, kept) = job_of(client, 3), job_of(client, 3)
    left = called("jobs", "delete", job).stderr
    assert f"3 outputs, manifest and summary stay in {folder}" in left
    assert "kernelport jobs prune" in left
    assert "1 job; kernelport jobs prune" in called("doctor").stdout

    listed = called("jobs", "prune", stdin="n\n", expect=1).stdout
    assert f"{folder}: 5 files" in listed
    assert str(kept) not in listed
    assert len(list(folder.iterdir())) == 5, "nothing goes before it is asked for"
    assert "5 files of 1 job," in called("jobs", "prune", stdin="y\n").stdout
    assert not folder.exists()
    assert len(list(kept.iterdir())) == 5
    assert "there are no outputs without a job" in called("jobs", "prune").stdout


def test_ctrl_c_at_a_question_ends_it_as_shells_expect(client: Client) -> None:
    job, folder = job_of(client, 1)
    called("jobs", "delete", job)
    # Tests that run in the background of a shell have Ctrl-C ignored, and children inherit that.
    run = (
        "import signal, kernelport.cli; signal.signal(signal.SIGINT, signal.default_int_handler); kernelport.cli.main()"
    )
    pruning = subprocess.Popen(
        [sys.executable, "-u", "-c", run, "jobs", "prune"], stdin=PIPE, stdout=PIPE, stderr=PIPE, text=True
    )
    assert pruning.stderr is not None
    assert pruning.stderr.read(len("delete ")) == "delete "
    pruning.send_signal(signal.SIGINT)
    pruning.communicate(timeout=20)
    assert pruning.returncode == 130
    assert folder.exists()
    called("jobs", "prune", "--yes")


def test_only_what_a_job_has_left_is_deleted(client: Client) -> None:
    job, folder = job_of(client, 1)
    with pytest.raises(FailedPreconditionError):
        client.jobs.delete_orphan(job)
    with pytest.raises(NotFoundError):
        client.jobs.delete_orphan("..")
    assert folder.exists()


def test_what_cannot_be_deleted_is_named_and_the_others_are(client: Client) -> None:
    (first, _), (second, _) = job_of(client, 1), job_of(client, 1)
    printed = called("jobs", "delete", first, "none", second, "--outputs", expect=2)
    assert printed.stdout == f"{first}: deleted\n{second}: deleted\n"
    assert printed.stderr == 'none: job_id: there is no job "none"\n'


@pytest.mark.parametrize(
    "command", [("jobs", "cancel"), ("dlq", "replay", "hibari-en"), ("dlq", "purge", "hibari-en"), ("voices", "delete")]
)
def test_each_thing_that_there_is_not_is_named(command: tuple[str, ...]) -> None:
    told = called(*command, "none", "nothing", expect=2).stderr.splitlines()
    assert [line.partition(": ")[0] for line in told] == ["none", "nothing"]
