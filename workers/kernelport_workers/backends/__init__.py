"""The backends a deployment can name, and how one is found and loaded."""

import importlib
from typing import Any

from kernelport.deployments import Deployment
from kernelport_workers.backends.base import Backend, LoadError

# A new backend: one module with a Backend class, and its line here.
BACKENDS = {
    "onnx": "kernelport_workers.backends.onnx:OnnxBackend",
    "helion": "kernelport_workers.backends.helion:HelionBackend",
}


def load(deployment: Deployment) -> Backend:
    """Loads what the deployment names.

    Raises:
        LoadError: when it cannot run here.
    """
    backend = find(deployment)
    backend.check_requirements()
    return backend.load(deployment)


def find(deployment: Deployment) -> type[Backend]:
    """The class that runs the deployment: its own pipeline, or else its backend.

    Raises:
        LoadError: when there is none of that name.
    """
    reference = deployment.pipeline or BACKENDS.get(deployment.backend)
    if reference is None:
        raise LoadError(
            f"{deployment.name}: unknown backend {deployment.backend!r}; expected one of {sorted(BACKENDS)}"
        )
    backend = import_attribute(reference)
    if not (isinstance(backend, type) and issubclass(backend, Backend)):
        raise LoadError(f"{deployment.name}: {reference} is no Backend class")
    return backend


def import_attribute(reference: str) -> Any:
    """The object that `module:attribute` names.

    Raises:
        LoadError: when there is none, or importing the module fails.
    """
    module_name, _, attribute = reference.partition(":")
    try:
        return getattr(importlib.import_module(module_name), attribute)
    except (ImportError, AttributeError) as error:
        raise LoadError(f"cannot import {reference!r}: {error}") from error
