"""Which deployments could run on this machine, and why the others could not.

The worker package knows; it is asked through a process of its own, since nothing here imports it.
"""

import json
import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kernelport.settings import Settings
from kernelport.stack import StackError
from kernelport.stack.processes import module_command


class ModelFileError(Exception):
    """A file that is no model; the message says what it is."""


def problems_by_deployment(settings: Settings) -> dict[str, str | None]:
    """For each deployment in the deployments file what keeps it from running here; None when nothing does.

    Raises:
        StackError: when the worker package cannot be asked.
    """
    problems: dict[str, str | None] = _ask("kernelport_workers.check", env={**os.environ, **settings.to_environment()})
    return problems


def rows_of_model(model: Path) -> dict[str, Any]:
    """What the graph of an ONNX file tells of its rows: `verdict` (proven, unknown or refuted), `reason`, and the batch
    axes of `inputs` and `outputs` by name.

    Raises:
        ModelFileError: when the file is no model.
        StackError: when the worker package cannot be asked.
    """
    found: dict[str, Any] = _ask("kernelport_workers.row_proof", str(model))
    if "problem" in found:
        raise ModelFileError(found["problem"])
    return found


def _ask(module: str, *arguments: str, env: Mapping[str, str] | None = None) -> Any:
    command = module_command(module, *arguments)
    finished = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    if finished.returncode != 0:
        raise StackError(f"cannot ask the worker package what runs here: {finished.stderr.strip()}")
    return json.loads(finished.stdout)
