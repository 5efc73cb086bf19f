"""Manifests: which files a model consists of, where they come from, and where they are on this machine."""

import importlib.util
import os
from collections.abc import Mapping
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Annotated, Any, Literal, TypeVar

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    PrivateAttr,
    ValidationInfo,
    ValidatorFunctionWrapHandler,
    WrapValidator,
    field_validator,
)
from pydantic_core import PydanticCustomError

from kernelport.config.schema import ConfigError, Count, Expected, Strict, read_yaml, validate

# The backends that come with KernelPort, each with the `module:attribute` of its class.
BACKENDS: Mapping[str, str] = {
    "onnx": "kernelport_workers.backends.onnx:OnnxBackend",
    "helion": "kernelport_workers.backends.helion:HelionBackend",
}


class ModelFilesError(Exception):
    """Files of a model that are not on this machine; the message says what to do about it."""


def _known_backend(name: str) -> str:
    if name not in BACKENDS:
        raise ValueError
    return name


def _below(path: str) -> str:
    parts = path.split("/")
    if "\\" in path or "\0" in path or PureWindowsPath(path).drive or {"", ".", ".."} & set(parts):
        raise ValueError
    return path


def _directory(path: str) -> str:
    directory = PurePosixPath(path)
    if not path or "\0" in path or (".." in directory.parts and not directory.is_absolute()):
        raise ValueError
    return path


def _npz(path: str) -> str:
    if not path.endswith(".npz"):
        raise ValueError
    return _below(path)


def _no_deep_glob(pattern: str) -> str:
    if "**" in pattern or "[" in pattern:
        raise ValueError
    return _below(pattern)


Text = Annotated[str, Field(min_length=1), Expected("a text that is not empty")]
Device = Annotated[
    str, Field(pattern=r"^(auto|cpu|cuda(:[0-9]+)?)$"), Expected('"auto", "cpu", "cuda" or "cuda:N" (N is a number)')
]
BackendName = Annotated[str, AfterValidator(_known_backend), Expected(" or ".join(BACKENDS))]
_Id = Annotated[
    str,
    Field(pattern=r"^[a-z0-9][a-z0-9._-]*$"),
    Expected("lower-case letters, digits, dots, dashes and underscores"),
]
_Role = Annotated[
    str, Field(pattern=r"^[a-z][a-z0-9_]*$"), Expected("a role of lower-case letters, digits and underscores")
]
_ModelFile = Annotated[
    str, AfterValidator(_below), Expected('a path inside the model\'s directory, relative and without ".."')
]
_NpzFile = Annotated[str, AfterValidator(_npz)]
_FilePattern = Annotated[
    str,
    AfterValidator(_no_deep_glob),
    Expected('a path inside the repository, relative and without ".."; "*" and "?" stand for parts of one name'),
]
_ModelDirectory = Annotated[str, AfterValidator(_directory), Expected('a directory, absolute or without ".."')]
_Repo = Annotated[
    str,
    Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*(/[A-Za-z0-9][A-Za-z0-9._-]*)?$"),
    Expected("a repository such as org/name"),
]
Axis = Annotated[int, Field(ge=0), Expected("an axis, counted from 0")]
OptionValue = Annotated[str | int | float | bool, Expected("a text, a number, true or false")]
_Sha256 = Annotated[
    str, Field(pattern=r"^[0-9a-f]{16,64}$"), Expected("the first 16 to 64 hexadecimal digits, in lower case")
]
_Commit = Annotated[str, Field(pattern=r"^[0-9a-f]{40}$"), Expected("40 hexadecimal digits")]
_ProviderName = Annotated[
    str,
    Field(pattern=r"^[A-Za-z0-9]+ExecutionProvider$"),
    Expected("ONNX Runtime's name of an execution provider, such as CUDAExecutionProvider"),
]
_ImportName = Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_]*$"), Expected("the import name of a package")]


class HuggingFaceSource(Strict):
    """Files of a repository on the Hugging Face hub.

    Attributes:
        files: what to fetch beside the files that have a role; `*` and `?` match within one name.
        sha256: what the content of files must have, by path: all 64 hexadecimal digits, or the first 16 or more.
    """

    kind: Literal["huggingface"]
    repo: _Repo
    revision: Text = "main"
    files: tuple[_FilePattern, ...] = Field(default=(), strict=False)
    sha256: dict[_ModelFile, _Sha256] = Field(default_factory=dict)

    def snapshot(self, cache_dir: Path, commit: str) -> Path:
        """The directory of one commit, in the layout of the hub's cache."""
        return cache_dir / f"models--{self.repo.replace('/', '--')}" / "snapshots" / commit


class LocalSource(Strict):
    """Files in a directory: below the manifest's own directory, or anywhere when the path is absolute."""

    kind: Literal["local"]
    path: _ModelDirectory


class PackageSource(Strict):
    """Files in the directory of an installed Python package, which is not imported."""

    kind: Literal["package"]
    package: _ImportName


class Cache(Strict):
    """Where downloads go: relative to the manifest's file, `~` is the home directory."""

    dir: Text


class Runtime(Strict):
    """Where the model runs unless its deployment says otherwise."""

    device: Device = "auto"


class BatchAxes(Strict):
    """Along which axis requests are stacked, by tensor: of every input that must be given, and of every output."""

    inputs: dict[Text, Axis] = Field(min_length=1)
    outputs: dict[Text, Axis] = Field(min_length=1)


def _axes_or_none(value: Any, handler: ValidatorFunctionWrapHandler, info: ValidationInfo) -> Any:
    # Of a union pydantic would tell what keeps a mapping from being each of its kinds.
    if isinstance(value, dict):
        return BatchAxes.model_validate(value, context=info.context)
    if value is None or value == "none":
        return handler(value)
    raise PydanticCustomError("expected", 'expected a mapping of inputs and outputs, or "none"')


class InputPad(Strict):
    """An axis along which stacked requests may differ: the shorter are filled up with `value`."""

    axis: Axis
    value: Annotated[int | float, Expected("a number")] = 0


class OutputPad(Strict):
    """An axis of an output that is as long as a padded axis of an input: each request gets its own length.

    Attributes:
        follows: the input.
        follows_axis: its padded axis; may be left out where it has one only.
    """

    axis: Axis
    follows: Text = Field(alias="as")
    follows_axis: Axis | None = Field(default=None, alias="as_axis")


_Pads = TypeVar("_Pads", list[InputPad], list[OutputPad])


def _as_list(value: Any) -> Any:
    if not isinstance(value, dict | list):
        raise PydanticCustomError("expected", "expected a mapping with an axis, or a list of such")
    return [value] if isinstance(value, dict) else value


def _each_axis_once(pads: _Pads) -> _Pads:
    axes = [pad.axis for pad in pads]
    for axis in axes:
        if axes.count(axis) > 1:
            raise PydanticCustomError("rule", f"expected each axis once, got {axis} twice")
    return pads


_OneOrMore = Annotated[_Pads, Field(min_length=1), AfterValidator(_each_axis_once), BeforeValidator(_as_list)]


class Pads(Strict):
    """The padded axes of each tensor: one, or a list of several."""

    inputs: dict[Text, _OneOrMore[list[InputPad]]] = Field(min_length=1)
    outputs: dict[Text, _OneOrMore[list[OutputPad]]] = Field(default_factory=dict)


class Provider(Strict):
    """An execution provider of ONNX Runtime, with its own options."""

    name: _ProviderName
    options: dict[Text, OptionValue] = Field(default_factory=dict)


class Filled(Strict):
    """A tensor of one value."""

    shape: tuple[Annotated[int, Field(ge=0)], ...] = Field(strict=False)
    fill: OptionValue


class FromFile(Strict):
    """The array of the tensor's name in an .npz file in the model's directory."""

    file: _NpzFile


WarmUpTensor = Annotated[
    Filled | FromFile | OptionValue | list[Any],
    Expected("a value, a list, {shape: [1, 2], fill: 0}, or {file: inputs.npz} inside the model's directory"),
]


class OnnxSettings(Strict):
    """How ONNX Runtime runs the model.

    Attributes:
        optimization: of the graph: `disabled`, `basic`, `extended` or `all`.
        intra_op_threads: that one operator may use, 1 or more; as many as there are cores when None.
        inter_op_threads: that may run operators beside each other, 1 or more; None is one.
        providers: in the order of preference, in place of the device.
        custom_op_libraries: shared libraries of operators, by their paths inside the model's directory.
        warm_up: requests, each with its tensors by name, that are run before the first caller's.
    """

    optimization: Literal["disabled", "basic", "extended", "all"] = "all"
    intra_op_threads: Count | None = None
    inter_op_threads: Count | None = None
    providers: tuple[Provider, ...] = Field(default=(), strict=False)
    custom_op_libraries: tuple[_ModelFile, ...] = Field(default=(), strict=False)
    warm_up: tuple[dict[Text, WarmUpTensor], ...] = Field(default=(), strict=False)

    @property
    def files(self) -> set[str]:
        """The paths inside the model's directory that it names."""
        tensors = (tensor for inputs in self.warm_up for tensor in inputs.values())
        return {*self.custom_op_libraries, *(tensor.file for tensor in tensors if isinstance(tensor, FromFile))}


class HubRecord(Strict):
    """What a fetch found: kept in the cache, so that the same commit is used until the next fetch."""

    repo: _Repo
    revision: Text
    commit: _Commit
    files: tuple[_ModelFile, ...] = Field(strict=False)


class Manifest(Strict):
    """One model: its source, a role for each file that a backend asks for, and options for what runs it.

    Attributes:
        batch_axes: of a model in ONNX format, along which axes requests may be stacked; `none` when they may not be.
            Without it they are where that is proven on the model's graph.
        pad: along which further axes stacked requests may differ.
        onnx: how ONNX Runtime runs a model in ONNX format.
    """

    id: _Id
    source: Annotated[HuggingFaceSource | LocalSource | PackageSource, Field(discriminator="kind")]
    format: Literal["onnx", "pytorch", "safetensors"]
    backend: BackendName
    files: dict[_Role, _ModelFile] = Field(min_length=1)
    cache: Cache | None = None
    runtime: Runtime = Runtime()
    batch_axes: Annotated[BatchAxes | Literal["none"] | None, WrapValidator(_axes_or_none)] = None
    pad: Pads | None = None
    options: dict[_Role, OptionValue] = Field(default_factory=dict)
    onnx: OnnxSettings = OnnxSettings()
    _file: Path = PrivateAttr(Path("manifest.yaml"))

    @field_validator("onnx")
    @classmethod
    def _only_for_onnx(cls, settings: OnnxSettings, info: ValidationInfo) -> OnnxSettings:
        if info.data.get("format", "onnx") != "onnx":
            raise PydanticCustomError("rule", "only the format onnx takes it")
        return settings

    @property
    def file(self) -> Path:
        """The file it was loaded from; its relative paths start there."""
        return self._file

    @property
    def cache_dir(self) -> Path:
        """The directory that holds what is fetched: `cache.dir`, else `kernelport/models` in the user's cache."""
        if self.cache:
            return self.file.parent / Path(self.cache.dir).expanduser()
        user_cache = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser()
        return user_cache / "kernelport" / "models"

    @property
    def record_file(self) -> Path:
        """Where a fetch notes the commit it resolved."""
        return self.cache_dir / f"{self.id}.json"

    def record(self) -> HubRecord | None:
        """What the last fetch of this repository and revision found; None when there was none."""
        if not isinstance(self.source, HuggingFaceSource):
            return None
        try:
            record = validate(HubRecord, read_yaml(self.record_file), str(self.record_file))
        except ConfigError:
            return None  # absent or damaged: either way the next fetch writes it anew
        return record if (record.repo, record.revision) == (self.source.repo, self.source.revision) else None

    def resolve(self) -> dict[str, Path]:
        """The local path of each role's file; see `locate`."""
        return self.locate(self.files)

    def locate(self, files: Mapping[str, str]) -> dict[str, Path]:
        """The local paths of files in the model's directory. Needs no network.

        Args:
            files: their paths inside it, by any name.

        Links are followed wherever they lead, as the hub's cache is made of them: who can put one into the model's
        directory can put a model there.

        Raises:
            ModelFilesError: when files are missing.
        """
        match self.source:
            case HuggingFaceSource() as hub:
                advice = f"run `kernelport model-fetch {self.file}`"
                record = self.record()
                if record is None:
                    raise ModelFilesError(f"{self.id}: {hub.repo} has not been fetched; {advice}")
                root = hub.snapshot(self.cache_dir, record.commit)
            case LocalSource(path=path):
                advice = f"put them there, or correct source.path and files in {self.file}"
                root = (self.file.parent / path).resolve()
            case PackageSource(package=package):
                advice = f"reinstall the package {package}, or correct files in {self.file}"
                root = self._package_directory(package)
        paths = {role: root / name for role, name in files.items()}
        missing = [
            f"{files[role]} (a directory)" if path.is_dir() else files[role]
            for role, path in paths.items()
            if not path.is_file()
        ]
        if missing:
            raise ModelFilesError(f"{self.id}: missing in {root}: {', '.join(missing)}; {advice}")
        return paths

    def _package_directory(self, package: str) -> Path:
        spec = importlib.util.find_spec(package)
        if spec is None or not spec.submodule_search_locations:
            raise ModelFilesError(f"{self.id}: the Python package {package} is not installed; install what provides it")
        return Path(next(iter(spec.submodule_search_locations))).resolve()


def load_manifest(path: Path) -> Manifest:
    """Reads a manifest. Whether its files exist is left to `Manifest.resolve`.

    Raises:
        ConfigError: when it is not as expected; with all findings.
    """
    manifest = validate(Manifest, read_yaml(path), str(path))
    manifest._file = path
    return manifest
