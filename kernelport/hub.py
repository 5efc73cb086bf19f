"""Fetching a model's files from the Hugging Face hub into the manifest's cache.

A connection that breaks is taken up again where it broke, give or take the 10 MiB that huggingface_hub writes at a
time. Files that are complete are never fetched again; a file that a stopped process left half done starts anew.
"""

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING

from kernelport.manifests import HubRecord, HuggingFaceSource, Manifest

if TYPE_CHECKING:
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError

_LOOK_UP_TIMEOUT_S = 10.0


class FetchError(Exception):
    """Files that could not be fetched; the message says why and what to do about it."""


class _UnreachableError(FetchError):
    """The hub does not answer, or answers that it is out of order."""


def fetch(manifest: Manifest, report: Callable[[str], None]) -> dict[str, Path]:
    """Makes a model's files present on this machine.

    The token is HF_TOKEN or else HUGGINGFACE_HUB_TOKEN, the hub is HF_ENDPOINT. Where the hub cannot be reached, what
    an earlier fetch left in the cache is enough. A manifest with another source has nothing to fetch: its files are
    only looked for.

    Args:
        report: is given one line for each file that is there.

    Returns:
        The local path of each role's file.

    Raises:
        FetchError: when the hub refuses or lacks something, or the connection fails.
        ModelFilesError: when files of another source are missing.
    """
    source = manifest.source
    if isinstance(source, HuggingFaceSource):
        api = _api()
        try:
            commit, listing = _look_up(api, source)
        except _UnreachableError as error:
            _check_cache(manifest, source, error)
            report(f"{error}; using what is in {manifest.cache_dir}")
        else:
            _download(api, manifest, source, commit, listing, report)
    paths = manifest.resolve()
    for role, path in paths.items():
        report(f"{role}: {path}")
    return paths


def _api() -> "HfApi":
    from huggingface_hub import HfApi  # here, because importing it takes a second and reads the environment

    token = os.environ.get("HF_TOKEN") or os.environ.get("HUGGINGFACE_HUB_TOKEN") or ""
    return HfApi(endpoint=os.environ.get("HF_ENDPOINT") or None, token=token.strip() or None)


def _look_up(api: "HfApi", source: HuggingFaceSource) -> tuple[str, list[str]]:
    """The commit that the revision stands for, and the names of its files."""
    with _errors_explained(api, source):
        info = api.model_info(source.repo, revision=source.revision, timeout=_LOOK_UP_TIMEOUT_S)
    if info.sha is None:
        raise FetchError(f"{api.endpoint} does not tell the commit of {source.repo}: is it a hub? See HF_ENDPOINT")
    return info.sha, [file.rfilename for file in info.siblings or ()]


def _download(
    api: "HfApi",
    manifest: Manifest,
    source: HuggingFaceSource,
    commit: str,
    listing: list[str],
    report: Callable[[str], None],
) -> None:
    names, missing = _select(manifest, source, listing)
    if missing:
        raise FetchError(f"{source.repo} at revision {source.revision} has no {', '.join(missing)}")
    unknown = source.sha256.keys() - set(names)
    if unknown:
        raise FetchError(f"source.sha256 names files that are not fetched: {', '.join(sorted(unknown))}")
    for name in names:
        with _errors_explained(api, source):
            path = Path(api.hf_hub_download(source.repo, name, revision=commit, cache_dir=manifest.cache_dir))
        checked = _verify(path, name, source.sha256.get(name))
        report(f"{name}: {path.stat().st_size} bytes{checked}")
    record = HubRecord(repo=source.repo, revision=source.revision, commit=commit, files=tuple(names))
    draft = manifest.record_file.with_suffix(f".{os.getpid()}.tmp")
    draft.write_text(record.model_dump_json(indent=2) + "\n", encoding="utf-8")
    draft.replace(manifest.record_file)
    report(f"{source.repo}: {len(names)} files at commit {commit}")


def _check_cache(manifest: Manifest, source: HuggingFaceSource, unreachable: FetchError) -> None:
    record = manifest.record()
    if record is None:
        raise FetchError(f"{unreachable}, and {source.repo} is not in {manifest.cache_dir}") from unreachable
    snapshot = source.snapshot(manifest.cache_dir, record.commit)
    names, missing = _select(manifest, source, record.files)
    missing += [name for name in names if not (snapshot / name).is_file()]
    if missing:
        raise FetchError(f"{unreachable}, and {manifest.cache_dir} lacks {', '.join(missing)}") from unreachable
    for name in names:
        _verify(snapshot / name, name, source.sha256.get(name))


def _verify(path: Path, name: str, expected: str | None) -> str:
    """Compares a file with the hash it should have; what differs is removed, so that the next fetch gets it anew.

    Returns:
        What to say about it: nothing where no hash is known.
    """
    if expected is None:
        return ""
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if not found.startswith(expected):
        path.resolve().unlink()
        path.unlink(missing_ok=True)
        raise FetchError(f"{name}: expected SHA-256 {expected}, got {found}; the file was removed")
    return ", SHA-256 as expected"


def _select(manifest: Manifest, source: HuggingFaceSource, listing: Iterable[str]) -> tuple[list[str], list[str]]:
    """The listed files that the manifest asks for, and the names and patterns that match none."""
    asked = dict.fromkeys([*manifest.files.values(), *sorted(manifest.onnx.files), *source.files])
    matches = {pattern: [name for name in listing if _matches(name, pattern)] for pattern in asked}
    selected = dict.fromkeys(name for names in matches.values() for name in names)
    return list(selected), [pattern for pattern, names in matches.items() if not names]


def _matches(name: str, pattern: str) -> bool:
    names, patterns = name.split("/"), pattern.split("/")
    return name == pattern or (len(names) == len(patterns) and all(map(fnmatchcase, names, patterns)))


@contextmanager
def _errors_explained(api: "HfApi", source: HuggingFaceSource) -> Iterator[None]:
    from huggingface_hub.errors import HfHubHTTPError, HTTPError  # type: ignore[attr-defined]

    try:
        yield
    except HfHubHTTPError as error:
        status = error.response.status_code
        if status == 429 or status >= 500:
            raise _UnreachableError(f"{api.endpoint} does not serve now (HTTP {status})") from error
        raise FetchError(_refusal(error, api, source)) from error
    except (HTTPError, OSError) as error:
        reason = error.__cause__ or error
        raise _UnreachableError(f"cannot fetch from {api.endpoint}: {type(reason).__name__}: {reason}") from error
    except ValueError as error:
        raise FetchError(f"{source.repo}: {error}") from error


def _refusal(error: "HfHubHTTPError", api: "HfApi", source: HuggingFaceSource) -> str:
    from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError, RevisionNotFoundError

    status = error.response.status_code
    if isinstance(error, GatedRepoError):
        return f"{source.repo} asks for consent: accept its terms on {api.endpoint}/{source.repo}, then set HF_TOKEN"
    if status == 401 and api.token:
        return f"{api.endpoint} does not accept the token for {source.repo} (HTTP 401): check HF_TOKEN"
    if status == 403:
        return f"the token may not read {source.repo} (HTTP 403): check what HF_TOKEN permits"
    if isinstance(error, RepositoryNotFoundError):
        return f"{api.endpoint} has no repository {source.repo}; if it is private, set HF_TOKEN"
    if isinstance(error, RevisionNotFoundError):
        return f"{source.repo} has no revision {source.revision}"
    return f"{api.endpoint} refuses {source.repo}: HTTP {status}"
