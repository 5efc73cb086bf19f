"""A deployment's revision: what decides the numbers that it answers with.

Workers of one revision answer alike, up to rounding. Where and how they compute (device, precision, threads, kernels)
is their compute path, which is no part of it; nor is where files lie.
"""

import contextlib
import hashlib
import importlib.util
import json
import mmap
import os
from collections.abc import Collection
from importlib import metadata
from pathlib import Path
from typing import Any

from kernelport.config.deployments import Deployment
from kernelport.config.manifests import HuggingFaceSource, Manifest, ModelFilesError, PackageSource

_DIGITS = 16
# The digest of a file from this size on is kept, so that a restart does not read gigabytes.
_KEPT_FROM_BYTES = 16 * 2**20
# How an ONNX model names a file beside it that holds the data of a tensor: the key of a serialized
# StringStringEntryProto, and the tag of its value.
_LOCATION = b"\n\x08location\x12"


def revision_of(deployment: Deployment, compute_options: Collection[str] = ()) -> str:
    """16 hexadecimal digits of a SHA-256 over the model's files, the code of a pipeline or kernel, and those options of
    the deployment and its manifest that change results.

    Args:
        compute_options: the manifest's options that only choose a compute path.

    Raises:
        OSError: when a file of the model cannot be read.
    """
    known: dict[str, Any] = {"code": _code(deployment)}
    if (manifest := deployment.manifest) is not None:
        told = manifest.model_dump(mode="json", by_alias=True, include={"options", "batch_axes", "pad"})
        told["options"] = {name: value for name, value in told["options"].items() if name not in compute_options}
        known |= {"manifest": told, "files": _files(manifest)}
        if isinstance(manifest.source, PackageSource):
            known["package"] = _version_of(manifest.source.package)
    return hashlib.sha256(json.dumps(known, sort_keys=True).encode()).hexdigest()[:_DIGITS]


def _code(deployment: Deployment) -> dict[str, str | None]:
    """What runs the model: a pipeline or kernel by its name, the version of its package, and its module's file."""
    reference = deployment.pipeline or deployment.kernel
    if reference is None:
        return {"backend": deployment.backend}
    module = reference.partition(":")[0]
    spec = importlib.util.find_spec(module)
    source = Path(spec.origin) if spec and spec.has_location and spec.origin else None
    return {"name": reference, "version": _version_of(module), "source": _digest(source)[0] if source else None}


def _version_of(module: str) -> str | None:
    """The version of the distribution that a module comes from; None for a module in some folder."""
    package = module.partition(".")[0]
    if package == "kernelport_workers":  # an editable installation, such as that of a checkout, does not list it
        return metadata.version("kernelport")
    spec = importlib.util.find_spec(package)
    for folder in (spec.submodule_search_locations or []) if spec else []:
        for distribution in metadata.distributions(path=[str(Path(folder).parent)]):
            if f"\n{package}/" in f"\n{distribution.read_text('RECORD')}":
                return distribution.version
    return None


def _files(manifest: Manifest) -> dict[str, str] | None:
    """The digest of each file of the model by its role, or else by its name in the model's directory; None where there
    are none: a pipeline may need none of them."""
    names = dict(manifest.files)
    others = set(manifest.onnx.custom_op_libraries)
    if isinstance(manifest.source, HuggingFaceSource) and (record := manifest.record()):
        others |= set(record.files)
    names |= {name: name for name in others - set(manifest.files.values())}
    found: dict[str, str] = {}
    with contextlib.suppress(ModelFilesError):
        for name, path in manifest.locate(names).items():
            found[name], beside = _digest(path, with_data=manifest.format == "onnx")
            for location in beside:
                # ONNX Runtime looks beside the path that it is given, then beside the file that this leads to.
                for folder in (path.parent, path.resolve().parent):
                    if (data := folder / location).is_file():
                        found[f"{name}: {location}"] = _digest(data)[0]
                        break
    return found or None


def _digest(path: Path, *, with_data: bool = False) -> tuple[str, list[str]]:
    """A file's SHA-256; and `with_data` the files beside it that this ONNX model takes the data of tensors from."""
    with path.open("rb") as file:
        about = os.fstat(file.fileno())
        kept = _kept_file(about, with_data)
        if about.st_size >= _KEPT_FROM_BYTES and (known := _read(kept)) is not None:
            return known
        if about.st_size == 0:  # which cannot be mapped
            return hashlib.sha256().hexdigest(), []
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            found = hashlib.sha256(content).hexdigest(), _locations(content) if with_data else []
    if about.st_size >= _KEPT_FROM_BYTES:
        _keep(kept, found)
    return found


def _locations(model: mmap.mmap) -> list[str]:
    found: set[str] = set()
    at = model.find(_LOCATION)
    while at >= 0:
        start = at + len(_LOCATION) + 1
        length = model[start - 1]
        if length >= 0x80:  # a varint of two bytes: no path is longer
            length, start = (length & 0x7F) | model[start] << 7, start + 1
        found.add(model[start : start + length].decode(errors="replace"))
        at = model.find(_LOCATION, at + 1)
    return sorted(found)


def _kept_file(about: os.stat_result, with_data: bool) -> Path:
    """Where the digest of a file with this inode, size and time of change is kept."""
    base = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser()
    name = f"{about.st_dev:x}-{about.st_ino:x}-{about.st_size:x}-{about.st_mtime_ns:x}{'-onnx' if with_data else ''}"
    return base / "kernelport" / "digests" / f"{name}.json"


def _read(kept: Path) -> tuple[str, list[str]] | None:
    """A digest that was kept; None when there is none, or it is damaged."""
    with contextlib.suppress(OSError, ValueError, TypeError, KeyError):
        known = json.loads(kept.read_bytes())
        return str(known["sha256"]), [str(location) for location in known["beside"]]
    return None


def _keep(kept: Path, found: tuple[str, list[str]]) -> None:
    with contextlib.suppress(OSError):  # a folder that cannot be written: the next start reads the file again
        kept.parent.mkdir(parents=True, exist_ok=True)
        draft = kept.with_suffix(f".{os.getpid()}.tmp")
        draft.write_text(json.dumps({"sha256": found[0], "beside": found[1]}))
        draft.replace(kept)
