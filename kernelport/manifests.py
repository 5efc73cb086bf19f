"""Manifests: which files a model consists of, where they come from, and where they are on this machine."""

import importlib.util
import os
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, PrivateAttr

from kernelport.schema import ConfigError, Expected, Strict, read_yaml, validate


class ModelFilesError(Exception):
    """Files of a model that are not on this machine; the message says what to do about it."""


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


def _no_deep_glob(pattern: str) -> str:
    if "**" in pattern or "[" in pattern:
        raise ValueError
    return _below(pattern)


Text = Annotated[str, Field(min_length=1), Expected("a text that is not empty")]
Device = Annotated[
    str, Field(pattern=r"^(auto|cpu|cuda(:[0-9]+)?)$"), Expected('"auto", "cpu", "cuda" or "cuda:N" (N is a number)')
]
BackendName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]*$"), Expected("the name of a backend, such as onnx")]
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
OptionValue = Annotated[str | int | float | bool, Expected("a text, a number, true or false")]
_Sha256 = Annotated[
    str, Field(pattern=r"^[0-9a-f]{16,64}$"), Expected("the first 16 to 64 hexadecimal digits, in lower case")
]
_Commit = Annotated[str, Field(pattern=r"^[0-9a-f]{40}$"), Expected("40 hexadecimal digits")]
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


class HubRecord(Strict):
    """What a fetch found: kept in the cache, so that the same commit is used until the next fetch."""

    repo: _Repo
    revision: Text
    commit: _Commit
    files: tuple[_ModelFile, ...] = Field(strict=False)


class Manifest(Strict):
    """One model: its source, a role for each file that a backend asks for, and options for the code that runs it."""

    id: _Id
    source: Annotated[HuggingFaceSource | LocalSource | PackageSource, Field(discriminator="kind")]
    format: Literal["onnx", "pytorch", "safetensors"]
    backend: BackendName
    files: dict[_Role, _ModelFile] = Field(min_length=1)
    cache: Cache | None = None
    runtime: Runtime = Runtime()
    options: dict[_Role, OptionValue] = Field(default_factory=dict)
    _file: Path = PrivateAttr(Path("manifest.yaml"))

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
            record = validate(HubRecord, read_yaml(self.record_file), self.record_file.name)
        except ConfigError:
            return None  # absent or damaged: either way the next fetch writes it anew
        return record if (record.repo, record.revision) == (self.source.repo, self.source.revision) else None

    def resolve(self) -> dict[str, Path]:
        """The local path of each role's file. Needs no network.

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
        paths = {role: root / name for role, name in self.files.items()}
        missing = [self.files[role] for role, path in paths.items() if not path.is_file()]
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
    manifest = validate(Manifest, read_yaml(path), path.name)
    manifest._file = path
    return manifest
