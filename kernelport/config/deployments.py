"""The deployments file: the authoritative map from a name to what serves it, and by which policy."""

import functools
import hashlib
import re
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError

from kernelport.config.manifests import BACKENDS, BackendName, Device, Manifest, Text, load_manifest
from kernelport.config.scaling import Autoscale, Scaling
from kernelport.config.schema import ConfigError, Count, Expected, Seconds, Strict, problem, read_yaml, validate
from kernelport.config.settings import bundled_deployments
from kernelport.config.values import parse_size


def _bytes(value: Any) -> Any:
    return parse_size(value) if isinstance(value, str) else value


NAME = r"^[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?$"
NAME_EXPECTED = "a name of letters, digits, dots, dashes and underscores, a letter or digit at both ends"
_Name = Annotated[str, Field(pattern=NAME), Expected(NAME_EXPECTED)]
_REFERENCE = r"^[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)*:[A-Za-z_][A-Za-z0-9_]*$"
_Reference = Annotated[str, Field(pattern=_REFERENCE), Expected('"module:attribute"')]
_Size = Annotated[
    int, Field(ge=1), BeforeValidator(_bytes), Expected("a size of at least 1 byte, such as 1048576 or 8MiB")
]


# By backend, what the image of a deployment is that does not say so; of any other, that of ONNX models.
_IMAGES: Mapping[str, str] = {"helion": "kernelport-helion:gpu"}

OnNoWorker = Literal["refuse", "wait"]

_DIGITS = 12
# What a worker that runs takes over without loading its model again, beside the limits of a batch.
_AT_ONCE = ("file", "image", "timeouts", "limits", "on_no_worker", "scaling")


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
        stream_s: of a whole answer that is taken piece by piece; to its first piece it is `request_s`.
        step_s: of one step of the model; a worker that passes it is taken to hang, and ends itself.
        load_s: of loading the model.
    """

    request_s: Seconds = 60.0
    stream_s: Seconds = 3600.0
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
        file: the deployments file that has its entry.
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
    file: Path = Path("deployments.yaml")
    image: Text
    manifest: Manifest | None = Field(default=None, validate_default=True)
    device: Device = "auto"

    @functools.cached_property
    def digest(self) -> str:
        """12 hexadecimal digits that change with what its entry and its manifest say, wherever these files lie."""
        return hashlib.sha256(self.model_dump_json(exclude={"file"}).encode()).hexdigest()[:_DIGITS]

    def needs_other_worker(self, other: "Deployment") -> bool:
        """Whether a worker that has loaded this one cannot go on as another: they differ in what it loads, not only in
        what it may be asked for."""
        same = {"batching": self.batching.model_copy(update={"axes": other.batching.axes})}
        same |= {name: getattr(self, name) for name in _AT_ONCE}
        return other.model_copy(update=same) != self


class _Entry(_Served):
    image: Text | None = None
    manifest: Text | None = Field(default=None, validate_default=True)
    device: Device | None = None


class Aliases(Strict):
    """Further names by which clients of OpenAI's API may call.

    Attributes:
        models: deployments by alias, such as `tts-1: hibari-en`.
        voices: registered voices by alias, such as `alloy: anna`; `default` stands for a voice that is not named.
    """

    models: dict[Text, _Name] = Field(default_factory=dict)
    voices: dict[Text, Text] = Field(default_factory=dict)


class _File(Strict):
    include: Text | None = None
    deployments: dict[_Name, _Entry]
    aliases: Aliases = Aliases()
    autoscale: Autoscale = Autoscale()


class DeploymentTable(dict[str, Deployment]):
    """Deployments by name.

    Attributes:
        file: the deployments file; where it has no entries, the one that it includes.
        aliases: of them and of voices.
        digest: 12 hexadecimal digits that change with what is said of any of them.
    """

    def __init__(self, file: Path, deployments: Mapping[str, Deployment], aliases: Aliases) -> None:
        super().__init__(deployments)
        self.file: Path = file
        self.aliases: Aliases = aliases
        self.digest: str = self._digest()

    def become(self, other: "DeploymentTable") -> None:
        """Takes over what another table says, for all who hold this one. No name that both have is ever missing."""
        self.update(other)
        for name in self.keys() - other.keys():
            del self[name]
        self.file, self.aliases, self.digest = other.file, other.aliases, other.digest

    def unknown(self, name: str) -> str:
        """What to say of a name that none of them has, to whoever has the file."""
        return f"{unknown_deployment(name, self)} (in {self.file})"

    def _digest(self) -> str:
        told = "".join(f"{name} {self[name].digest}\n" for name in sorted(self))
        return hashlib.sha256(told.encode()).hexdigest()[:_DIGITS]


def unknown_deployment(name: str, known: Iterable[str]) -> str:
    """What to say of a name that none of those has who may be told."""
    return f'no deployment is named "{name}"; there are: {", ".join(sorted(known)) or "none"}'


def load_deployments(path: Path, names: Container[str] | None = None) -> DeploymentTable:
    """The deployments of a deployments file and of the manifests it names, in the file's order. Those of a file that it
    includes come first; an entry of the same name replaces one of them.

    Args:
        names: those that are wanted, as far as the file has them; all by default. No manifest of another is read.

    Raises:
        ConfigError: when a file or a manifest is not as expected; with all findings.
    """
    deployments: dict[str, Deployment] = {}
    files, problems = _chain(path)
    is_whole = not problems
    named = path.absolute()
    for file in reversed(files):
        try:
            found = _of_one_file(file, names)
            named = file if found else named
            deployments |= found
        except ConfigError as error:
            problems += error.problems
    if names is None and is_whole:  # else it may be one of a file that is not there
        problems += _unknown_aliases(files)
    if problems:
        raise ConfigError(dict.fromkeys(problems))
    return DeploymentTable(named, deployments, _aliases(path))


def deployment_names(path: Path) -> list[str]:
    """The names in a deployments file and in those that it includes, in their order; no manifest is read.

    Raises:
        ConfigError: when a file is not as expected; with all findings.
    """
    files = reversed(_with_included(path))
    return list(dict.fromkeys(name for file in files for name in _validated(file, read_yaml(file)).deployments))


def references(path: Path) -> Iterator[tuple[Path, str, str]]:
    """The `module:attribute` that entries of a deployments file and of those that it includes name: the file, the field
    and what it says, as far as they are such.

    Raises:
        ConfigError: when a file cannot be read as YAML.
    """
    for file in reversed(_with_included(path)):
        for name, entry in _mappings(read_yaml(file), "deployments"):
            for key in ("pipeline", "kernel"):
                value = entry.get(key)
                if isinstance(value, str) and re.fullmatch(_REFERENCE, value):
                    yield file, f"{name}.{key}", value


def load_autoscale(path: Path) -> Autoscale:
    """What a deployments file, or else one that it includes, says to the autoscaler as a whole.

    Raises:
        ConfigError: when a file is not as expected; with all findings.
    """
    files = [_validated(file, read_yaml(file)) for file in _with_included(path)]
    return next((file.autoscale for file in files if "autoscale" in file.model_fields_set), Autoscale())


def _unknown_aliases(files: Sequence[Path]) -> Iterator[str]:
    """What is wrong with the aliases of models in some files, whatever else is: they are of no deployment."""
    known = {name for file in files for name, _ in _mappings(read_yaml(file), "deployments")}
    for file in files:
        models = dict(_mappings(read_yaml(file), "aliases")).get("models", {})
        for alias, name in models.items():
            if isinstance(name, str) and name not in known:
                yield problem(str(file), f"aliases.models.{alias}", "the name of a deployment", name)


def _aliases(path: Path) -> Aliases:
    """Those of a deployments file and of the files that it includes; the file's own go first."""
    found = [_validated(file, read_yaml(file)).aliases for file in reversed(_with_included(path))]
    models = {alias: name for each in found for alias, name in each.models.items()}
    voices = {alias: name for each in found for alias, name in each.voices.items()}
    return Aliases(models=models, voices=voices)


def _with_included(path: Path) -> list[Path]:
    """The file itself, the one that it includes, and so on.

    Raises:
        ConfigError: one of them cannot be had.
    """
    files, problems = _chain(path)
    if problems:
        raise ConfigError(problems)
    return files


def _chain(path: Path) -> tuple[list[Path], list[str]]:
    """The file itself, the one that it includes, and so on, as far as they can be had; and why no further."""
    files = [path.absolute()]
    while True:
        data = read_yaml(files[-1])
        included = data.get("include") if isinstance(data, dict) else None
        if not isinstance(included, str):
            return files, []
        found = bundled_deployments() if included == "bundled" else (files[-1].parent / included).resolve()
        if not found.is_file():
            return files, [problem(str(files[-1]), "include", "`bundled` or a deployments file", included)]
        if found in files:
            return files, [problem(str(files[-1]), "include", "a file that does not include this one", included)]
        files.append(found)


def _validated(path: Path, data: Any) -> _File:
    return validate(_File, data, str(path), root="deployments")


def _of_one_file(path: Path, names: Container[str] | None) -> dict[str, Deployment]:
    """The deployments of a file, without those that it includes."""
    data = read_yaml(path)
    problems: list[str] = []
    entries: dict[str, _Entry] = {}
    try:
        entries = _validated(path, data).deployments
    except ConfigError as error:
        problems += error.problems
    manifests: dict[str, Manifest] = {}
    # Of the data as it is, so that what is wrong with manifests is told together with what is wrong with entries.
    for name, entry in _mappings(data, "deployments"):
        manifest = entry.get("manifest")
        if manifest and isinstance(manifest, str) and (names is None or name in names):
            try:
                manifests[name] = _manifest(path, name, manifest, entry.get("backend"))
            except ConfigError as error:
                problems += error.problems
    if problems:
        raise ConfigError(problems)
    return {
        name: _deployment(path, name, entry, manifests.get(name))
        for name, entry in entries.items()
        if names is None or name in names
    }


def _mappings(data: Any, key: str) -> Iterator[tuple[str, dict[str, Any]]]:
    entries = data.get(key) if isinstance(data, dict) else None
    for name, entry in entries.items() if isinstance(entries, dict) else ():
        if isinstance(entry, dict):
            yield name, entry


def _deployment(path: Path, name: str, entry: _Entry, manifest: Manifest | None) -> Deployment:
    known = {
        "name": name,
        "file": path,
        "manifest": manifest,
        "image": entry.image or _IMAGES.get(entry.backend, "kernelport-onnx:cpu"),
        "device": entry.device or (manifest.runtime.device if manifest else "auto"),
    }
    return Deployment(**{**dict(entry), **known})


def _manifest(path: Path, name: str, manifest: str, backend: Any) -> Manifest:
    file = path.parent / manifest
    if not file.is_file():
        raise ConfigError([problem(str(path), f"{name}.manifest", "a manifest's file", manifest)])
    loaded = load_manifest(file)
    if backend in BACKENDS and loaded.backend != backend:
        expected = f"{loaded.backend} as in {file}"
        raise ConfigError([problem(str(path), f"{name}.backend", expected, backend)])
    return loaded
