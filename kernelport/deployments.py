"""The deployments file: the authoritative map from a name to what serves it, and by which policy."""

from collections.abc import Container
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError

from kernelport.manifests import BackendName, Device, Manifest, Text, load_manifest
from kernelport.scaling import Autoscale, Scaling
from kernelport.schema import ConfigError, Count, Expected, Seconds, Strict, problem, read_yaml, validate
from kernelport.settings import parse_size


def _bytes(value: Any) -> Any:
    return parse_size(value) if isinstance(value, str) else value


_Name = Annotated[
    str,
    Field(pattern=r"^[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?$"),
    Expected("a name of letters, digits, dots, dashes and underscores"),
]
_Reference = Annotated[
    str,
    Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)*:[A-Za-z_][A-Za-z0-9_]*$"),
    Expected('"module:attribute"'),
]
_Size = Annotated[
    int, Field(ge=1), BeforeValidator(_bytes), Expected("a size of at least 1 byte, such as 1048576 or 8MiB")
]


OnNoWorker = Literal["refuse", "wait"]


BatchAxes = Literal["auto", "declared", "off"]


class Batching(Strict):
    """What may share a batch. A single request travels whatever its size.

    Attributes:
        max_batch: the most requests, 1 or more.
        max_rows: the most rows of requests that are stacked, 1 or more.
        max_bytes: the most bytes of inputs, padding included, 1 or more.
        axes: requests are stacked where it is proven or declared that their rows are independent (`auto`), only where
            it is `declared`, or never (`off`).
    """

    max_batch: Count = 32
    max_rows: Count = 8192
    max_bytes: _Size = 64 * 2**20
    axes: BatchAxes = "auto"


class Timeouts(Strict):
    """Time limits in seconds, above 0.

    Attributes:
        request_s: of one request, whatever its caller allows.
        step_s: of one step of the model; a worker that passes it is taken to hang, and ends itself.
        load_s: of loading the model.
    """

    request_s: Seconds = 60.0
    step_s: Seconds = 120.0
    load_s: Seconds = 300.0


class Limits(Strict):
    """What may wait, and what may be tried.

    Attributes:
        max_waiting: requests without an answer at all front doors together, 1 or more.
        max_waiting_bytes: their bytes, 1 or more.
        max_attempts: workers that may die over a request alone before it becomes a dead letter, 1 or more.
    """

    max_waiting: Count = 10_000
    max_waiting_bytes: _Size = 2**30
    max_attempts: Count = 3


class _Served(Strict):
    """What a deployment and its entry in the file have in common. Fields that depend on others come after them."""

    backend: BackendName
    image: Text
    pipeline: _Reference | None = None
    kernel: _Reference | None = Field(default=None, validate_default=True)
    batching: Batching = Batching()
    timeouts: Timeouts = Timeouts()
    limits: Limits = Limits()
    on_no_worker: OnNoWorker = "refuse"
    scaling: Scaling | None = None

    @field_validator("kernel")
    @classmethod
    def _kernel_is_for_helion(cls, kernel: str | None, info: ValidationInfo) -> str | None:
        if _bare(info, "helion") and kernel is None:
            raise PydanticCustomError("rule", "required with backend helion, unless there is a pipeline")
        if kernel is not None and info.data.get("backend", "helion") != "helion":
            raise PydanticCustomError("rule", "only the backend helion takes a kernel")
        return kernel

    @field_validator("scaling")
    @classmethod
    def _from_zero_needs_waiting(cls, scaling: Scaling | None, info: ValidationInfo) -> Scaling | None:
        if scaling is not None and scaling.min == 0 and info.data.get("on_no_worker") == "refuse":
            raise PydanticCustomError("rule", "min 0 needs on_no_worker: wait, since a refused request calls no worker")
        return scaling

    @field_validator("manifest", check_fields=False)
    @classmethod
    def _onnx_needs_manifest(cls, manifest: Any, info: ValidationInfo) -> Any:
        if _bare(info, "onnx") and manifest is None:
            raise PydanticCustomError("rule", "required with backend onnx, unless there is a pipeline")
        return manifest


def _bare(info: ValidationInfo, backend: str) -> bool:
    """Whether it is this backend, with no pipeline in its place."""
    return info.data.get("backend") == backend and info.data.get("pipeline", "invalid") is None


class Deployment(_Served):
    """One deployment.

    Attributes:
        name: letters, digits, dots, dashes and underscores; the first and last a letter or digit.
        backend: what runs it, such as `onnx` or `helion`.
        image: the container image of its workers.
        pipeline: `module:attribute` of a Backend class that replaces the backend's own.
        kernel: `module:attribute` of a Helion kernel; only with backend helion.
        manifest: its model; None when it has no files.
        device: `cpu`, `cuda`, `cuda:N` or `auto`.
        batching: how large a batch may get.
        timeouts: time limits in seconds.
        limits: what may wait, and how often a request is tried.
        on_no_worker: `refuse` requests while no worker is live, or let them `wait` for one.
        scaling: how many workers the autoscaler may give it, and when; None when it leaves it alone.
    """

    name: _Name
    manifest: Manifest | None = Field(default=None, validate_default=True)
    device: Device = "auto"


class _Entry(_Served):
    manifest: Text | None = Field(default=None, validate_default=True)
    device: Device | None = None


class _File(Strict):
    deployments: dict[_Name, _Entry]
    autoscale: Autoscale = Autoscale()


def load_deployments(path: Path, names: Container[str] | None = None) -> dict[str, Deployment]:
    """The deployments of a deployments file and of the manifests it names, in the file's order.

    Args:
        names: those that are wanted, as far as the file has them; all by default. No manifest of another is read.

    Raises:
        ConfigError: when the file or a manifest is not as expected; with all findings.
    """
    deployments: dict[str, Deployment] = {}
    problems: list[str] = []
    for name, entry in _file(path).deployments.items():
        if names is not None and name not in names:
            continue
        try:
            manifest = _manifest(path, name, entry)
        except ConfigError as error:
            problems += error.problems
            continue
        device = entry.device or (manifest.runtime.device if manifest else "auto")
        deployments[name] = Deployment(name=name, **{**dict(entry), "manifest": manifest, "device": device})
    if problems:
        raise ConfigError(dict.fromkeys(problems))
    return deployments


def deployment_names(path: Path) -> list[str]:
    """The names in a deployments file, in its order; no manifest is read.

    Raises:
        ConfigError: when the file is not as expected; with all findings.
    """
    return list(_file(path).deployments)


def load_autoscale(path: Path) -> Autoscale:
    """What a deployments file says to the autoscaler as a whole.

    Raises:
        ConfigError: when the file is not as expected; with all findings.
    """
    return _file(path).autoscale


def _file(path: Path) -> _File:
    return validate(_File, read_yaml(path), path.name, root="deployments")


def _manifest(path: Path, name: str, entry: _Entry) -> Manifest | None:
    if entry.manifest is None:
        return None
    file = path.parent / entry.manifest
    if not file.is_file():
        raise ConfigError([problem(path.name, f"{name}.manifest", "a manifest's file", entry.manifest)])
    manifest = load_manifest(file)
    if manifest.backend != entry.backend:
        expected = f"{manifest.backend} as in {file.name}"
        raise ConfigError([problem(path.name, f"{name}.backend", expected, entry.backend)])
    return manifest
