"""Names what a deployment's answers depend on: another revision may answer otherwise."""

import contextlib
import hashlib
import importlib.util
import json
from importlib import metadata
from pathlib import Path

from kernelport.deployments import Deployment
from kernelport.manifests import HuggingFaceSource, Manifest, ModelFilesError

_DIGITS = 16
# Of the policy nothing counts: who waits how long, and how many share a run, changes no answer.
_WHAT_ANSWERS = {"backend", "image", "pipeline", "kernel", "device"}
# Files up to this size are read whole; of larger ones as many pieces as make it up, evenly spread.
_READ_BYTES, _PIECE_BYTES = 64 * 2**20, 2**20


def revision_of(deployment: Deployment) -> str:
    """16 hexadecimal digits of a SHA-256 over the deployment's entry, its manifest, the commit or the files of its
    model, the source file of its pipeline, and KernelPort's version. Reads at most 64 MiB of each file."""
    known = {
        "kernelport": metadata.version("kernelport"),
        "deployment": deployment.model_dump(mode="json", include=_WHAT_ANSWERS),
        "source": _source_digest(deployment.pipeline or deployment.kernel),
    }
    if deployment.manifest is not None:
        known["manifest"] = deployment.manifest.model_dump(mode="json", exclude={"cache"})
        known["model"] = _model(deployment.manifest)
    return hashlib.sha256(json.dumps(known, sort_keys=True).encode()).hexdigest()[:_DIGITS]


def _model(manifest: Manifest) -> str | dict[str, str] | None:
    """The commit of a model from the hub, else the digests of its files; None where there are none."""
    if isinstance(manifest.source, HuggingFaceSource):
        record = manifest.record()
        return record.commit if record else None
    with contextlib.suppress(ModelFilesError):  # a pipeline may need none of them
        return {role: _digest(path) for role, path in manifest.resolve().items()}
    return None


def _source_digest(reference: str | None) -> str | None:
    """Of the file of `module:attribute`."""
    spec = importlib.util.find_spec(reference.partition(":")[0]) if reference else None
    return _digest(Path(spec.origin)) if spec and spec.has_location and spec.origin else None


def _digest(path: Path) -> str:
    size = path.stat().st_size
    digest = hashlib.sha256(str(size).encode())
    with path.open("rb") as file:
        if size <= _READ_BYTES:
            digest.update(file.read())
        else:
            pieces = _READ_BYTES // _PIECE_BYTES
            for number in range(pieces):
                file.seek(number * (size - _PIECE_BYTES) // (pieces - 1))
                digest.update(file.read(_PIECE_BYTES))
    return digest.hexdigest()
