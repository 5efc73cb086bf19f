"""How the backend of a deployment is found and loaded."""

import importlib
import logging
import os
from typing import Any

from kernelport.config.deployments import Deployment
from kernelport.config.manifests import BACKENDS
from kernelport.errors import in_words
from kernelport.signature import Signature, describe, is_speech
from kernelport.v1 import inference_pb2 as pb
from kernelport.v1.deployment_pb2 import ROW_INDEPENDENCE_DECLARED, ROW_INDEPENDENCE_UNSPECIFIED
from kernelport_workers.backends.base import Backend, LoadError
from kernelport_workers.backends.revisions import revision_of

log = logging.getLogger(__name__)

_FLOATS = {pb.F16, pb.BF16, pb.F32, pb.F64}


def load(deployment: Deployment) -> Backend:
    """Loads what the deployment names.

    Raises:
        LoadError: when it cannot run here, whatever the reason.
    """
    try:
        backend = find(deployment)
        backend.check_requirements()
        loaded = backend.load(deployment)
        _check_attributes(loaded)
        _check_speech(loaded)
        _say_basis(loaded.signature)
    except LoadError:
        raise
    # A model is anybody's code: it may even try to exit.
    except BaseException as error:
        log.exception("loading %s failed", deployment.name)
        raise LoadError(in_words(error)) from error
    return loaded


def revision(deployment: Deployment) -> str:
    """The deployment's revision.

    Raises:
        LoadError: when there is nothing of that name to run it, or its files cannot be read.
    """
    backend = find(deployment)
    try:
        return revision_of(deployment, backend.compute_options)
    except (OSError, ImportError, ValueError) as error:  # what looking for a kernel's module may raise, too
        raise LoadError(in_words(error)) from error


def _say_basis(signature: Signature) -> None:
    """A pipeline that calls itself batchable declares it."""
    if signature.batchable and signature.row_independence == ROW_INDEPENDENCE_UNSPECIFIED:
        signature.row_independence, signature.reason = ROW_INDEPENDENCE_DECLARED, "the pipeline's signature says so"


def find(deployment: Deployment) -> type[Backend]:
    """The class that runs the deployment: its own pipeline, or else its backend.

    Raises:
        LoadError: when there is none of that name.
    """
    reference = deployment.pipeline or BACKENDS[deployment.backend]
    backend = import_attribute(reference)
    if not (isinstance(backend, type) and issubclass(backend, Backend)):
        raise LoadError(f"{reference} is no Backend class")
    return backend


def import_attribute(reference: str) -> Any:
    """The object that `module:attribute` names.

    Raises:
        LoadError: when there is none, or importing the module fails.
    """
    module_name, _, attribute = reference.partition(":")
    try:
        return getattr(importlib.import_module(module_name), attribute)
    # A module runs when it is imported, and may raise anything.
    except BaseException as error:
        log.exception("cannot import %r", reference)
        raise LoadError(f"cannot import {reference!r}: {in_words(error)}{_looked_for(module_name, error)}") from error


def _looked_for(module_name: str, error: BaseException) -> str:
    """Where a module was looked for that is not there; nothing where what is missing is a module that it imports."""
    if isinstance(error, ModuleNotFoundError) and error.name and f"{module_name}.".startswith(f"{error.name}."):
        return f"; it is looked for where packages are, and in {os.getcwd()}"
    return ""


def _check_attributes(loaded: Any) -> None:
    if not isinstance(loaded, Backend):
        raise LoadError(f"load: expected it to return a Backend, got {type(loaded).__name__}")
    for name, kind in (("signature", Signature), ("device", str), ("compute_path", str)):
        value = getattr(loaded, name, None)
        if not isinstance(value, kind):
            got = type(value).__name__ if hasattr(loaded, name) else "none"
            raise LoadError(f"{type(loaded).__name__}.{name}: expected a {kind.__name__}, got {got}")


def _check_speech(loaded: Backend) -> None:
    """Of speech, refuses a declared `audio` that no result could be right with."""
    if not is_speech(loaded.signature):
        return
    audio = next(spec for spec in loaded.signature.outputs if spec.name == "audio")
    has_axes = loaded.checks_output_shapes and audio.ranked and len(audio.shape) != 1
    if has_axes or _FLOATS.isdisjoint((audio.dtype, *audio.other_dtypes)):
        raise LoadError(f'output "audio": expected floating-point samples on one axis (mono), got {describe(audio)}')
