"""Whether the code that a deployments file names is there, without running any of it."""

import importlib.util
import os
import sys
from collections.abc import Iterator, Sequence
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path

from kernelport.config.deployments import DeploymentTable, load_deployments, references
from kernelport.config.schema import ConfigError, problem


def load_to_run(path: Path) -> DeploymentTable:
    """The deployments of a file that are to run on this machine, as `load_deployments` gives them.

    Code that is not there is no mistake in the file, as another machine may have it. Where the file has mistakes, it is
    told with them, so that all can be mended at once.

    Raises:
        ConfigError: when a file or a manifest is not as expected; with all findings.
    """
    try:
        return load_deployments(path)
    except ConfigError as error:
        raise ConfigError([*error.problems, *_missing(path)]) from error


def _missing(path: Path) -> Iterator[str]:
    try:
        named = list(references(path))
    except ConfigError:  # which has been told
        return
    for file, field, reference in named:
        if not _is_there(reference.partition(":")[0]):
            yield problem(str(file), field, "a module that is installed, or lies in this folder", reference)


def _is_there(module: str) -> bool:
    """Whether there is such a module. To ask Python itself would import the packages that it is in."""
    first, *others = module.split(".")
    try:
        spec = importlib.util.find_spec(first)
    except (ImportError, ValueError):  # something else stands in its place among those that are imported
        spec = None
    spec = spec or _found(first, [*sys.path, os.getcwd()])  # workers look there, too
    name = first
    for part in others:
        name = f"{name}.{part}"
        spec = _found(name, spec.submodule_search_locations or []) if spec else None
    return spec is not None


def _found(module: str, folders: Sequence[str]) -> ModuleSpec | None:
    return PathFinder.find_spec(module, list(folders))
