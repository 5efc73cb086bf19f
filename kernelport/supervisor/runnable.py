"""Which deployments could run on this machine, why the others could not, and which revisions their files make.

The worker package knows; it is asked through a process of its own, since nothing here imports it.
"""

import json
import os
import signal
import subprocess
import tempfile
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import IO, Any

from kernelport.config.deployments import load_deployments
from kernelport.config.schema import ConfigError
from kernelport.config.settings import Settings
from kernelport.errors import StackError
from kernelport.supervisor.processes import module_command

# While the code of a deployment is imported. Torch takes half a minute on a busy machine.
LONGEST_SILENCE_S = 60.0


class ModelFileError(ConfigError):
    """A file that is no model; the message says what it is."""


def problems_by_deployment(settings: Settings, names: Iterable[str] | None = None) -> dict[str, str | None]:
    """For each deployment in the deployments file, or for these, what keeps it from running here; None when nothing
    does. The code of its pipeline is imported; one that ends the process or hangs there keeps no other from running.

    Raises:
        StackError: when the worker package cannot be asked.
    """
    wanted = load_deployments(settings.deployments_file) if names is None else names
    return _told(settings, wanted, [], lambda end: f"importing its code {end}")


def revisions_by_deployment(settings: Settings, names: Iterable[str]) -> dict[str, str | None]:
    """For each of these deployments, the revision that a worker would serve now; None when that cannot be told.

    Raises:
        StackError: when the worker package cannot be asked.
    """
    return _told(settings, names, ["--revisions"], lambda end: None)


def rows_of_model(model: Path) -> dict[str, Any]:
    """What the graph of an ONNX file tells of its rows: `verdict` (proven, unknown or refuted), `reason`, and the batch
    axes of `inputs` and `outputs` by name.

    Raises:
        ModelFileError: when the file is no model.
        StackError: when the worker package cannot be asked.
    """
    command = module_command("kernelport_workers.row_proof", str(model))
    finished = subprocess.run(command, capture_output=True, text=True, check=False)
    if finished.returncode != 0:
        raise _cannot_ask(finished.stderr)
    found: dict[str, Any] = json.loads(finished.stdout)
    if "problem" in found:
        raise ModelFileError([found["problem"]])
    return found


def _told(
    settings: Settings, names: Iterable[str], options: Sequence[str], of_end: Callable[[str], str | None]
) -> dict[str, str | None]:
    """What the worker package tells of each deployment.

    Args:
        of_end: what is to be said of one whose code ends the process, or hangs there, from how it does.
    """
    waiting = sorted(set(names))
    found: dict[str, str | None] = {}
    while waiting:
        told, end = _checked(settings, [*options, *waiting])
        found |= told
        waiting = waiting[len(told) :]
        if waiting:
            found[waiting.pop(0)] = of_end(end)
    return found


def _checked(settings: Settings, arguments: Sequence[str]) -> tuple[dict[str, str | None], str]:
    """What a process of the worker package tells of deployments, in turn, until it ends; and how it ends.

    Raises:
        StackError: it tells nothing.
    """
    command = module_command("kernelport_workers.check", *arguments)
    environment = {**os.environ, **settings.to_environment()}
    # Files: whatever the code starts may hold a pipe open for ever.
    with (
        tempfile.TemporaryFile() as told,
        tempfile.TemporaryFile() as errors,
        subprocess.Popen(command, env=environment, stdout=told, stderr=errors) as process,
    ):
        end = _end_of(process, told)
        lines = _content(told).splitlines()
        if not lines:
            raise _cannot_ask(_content(errors).decode(errors="replace"))
    return {name: value for line in lines for name, value in json.loads(line).items()}, end


def _end_of(process: subprocess.Popen[bytes], told: IO[bytes]) -> str:
    """Waits for the end of a process; ends it when, having begun to tell, it tells nothing more."""
    heard = b""
    while True:
        try:
            code = process.wait(LONGEST_SILENCE_S)
            return f"ends the process with code {code}" if code >= 0 else f"crashes: {signal.strsignal(-code)}"
        except subprocess.TimeoutExpired:
            before, heard = heard, _content(told)
            if heard and heard == before:
                process.kill()
                return f"takes longer than {LONGEST_SILENCE_S:g} s"


def _content(file: IO[bytes]) -> bytes:
    """All that is in a file, whose place the process that writes it shares."""
    return os.pread(file.fileno(), os.fstat(file.fileno()).st_size, 0)


def _cannot_ask(said: str) -> StackError:
    return StackError(f"cannot ask the worker package what runs here: {said.strip()}")
