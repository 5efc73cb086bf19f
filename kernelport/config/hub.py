"""Fetching a model's files from the Hugging Face hub into the manifest's cache.

A connection that breaks is taken up again where it broke, give or take the 10 MiB that huggingface_hub writes at a
time. Files that are complete are never fetched again; a file that a stopped process left half done starts anew. A hub
that says when to come back (HTTP 429 and 503 with Retry-After) is asked again then. What comes is compared with the
size and the SHA-256 that the hub lists, and with those of the manifest.
"""

import hashlib
import os
import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from fnmatch import fnmatchcase
from functools import partial
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, TypeVar

from kernelport.config.manifests import HubRecord, HuggingFaceSource, Manifest
from kernelport.counting import counted

if TYPE_CHECKING:
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError
    from huggingface_hub.hf_api import RepoSibling

_LOOK_UP_TIMEOUT_S = 10.0
_MOST_TRIES = 6
_LONGEST_WAIT_S = 120.0
_COMMIT = re.compile("[0-9a-f]{40}")
# What a repository holds in place of a large file; a mirror that knows no Git LFS hands it out.
_LFS_POINTER = b"version https://git-lfs.github.com/spec/"

_Answer = TypeVar("_Answer")


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
            commit, listing = _ask(api, source, report, partial(_look_up, api, source))
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


@dataclass(frozen=True)
class _Listed:
    """What the hub lists of a file.

    Attributes:
        size: in bytes; None when it does not say.
        sha256: 64 hexadecimal digits; None when it does not say. It does of what Git LFS holds, as all large files are.
    """

    size: int | None = None
    sha256: str | None = None


def _look_up(api: "HfApi", source: HuggingFaceSource) -> tuple[str, dict[str, _Listed]]:
    """The commit that the revision stands for, and its files by name."""
    info = api.model_info(source.repo, revision=source.revision, files_metadata=True, timeout=_LOOK_UP_TIMEOUT_S)
    if not (isinstance(info.sha, str) and _COMMIT.fullmatch(info.sha)):
        raise ValueError(f"expected a commit, got {info.sha!r}")
    return info.sha, {file.rfilename: _listed(file) for file in info.siblings or ()}


def _listed(file: "RepoSibling") -> _Listed:
    name, size, sha256 = file.rfilename, file.size, file.lfs.sha256 if file.lfs else None
    if not isinstance(name, str) or PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
        raise ValueError(f"expected a path in the repository, got {name!r}")
    if not isinstance(size, int | None) or not isinstance(sha256, str | None):
        raise ValueError(f"{name}: expected its size and SHA-256, got {size!r} and {sha256!r}")
    return _Listed(size, sha256)


def _download(
    api: "HfApi",
    manifest: Manifest,
    source: HuggingFaceSource,
    commit: str,
    listing: Mapping[str, _Listed],
    report: Callable[[str], None],
) -> None:
    names, missing = _select(manifest, source, listing)
    if missing:
        raise FetchError(f"{source.repo} at revision {source.revision} has no {', '.join(missing)}")
    unknown = source.sha256.keys() - set(names)
    if unknown:
        raise FetchError(f"source.sha256 names files that are not fetched: {', '.join(sorted(unknown))}")
    for name in names:
        path = Path(_ask(api, source, report, partial(_download_file, api, manifest, source, commit, name)))
        checked = _verify(path, name, source.sha256.get(name), listing[name])
        report(f"{name}: {counted(path.stat().st_size, 'byte')}{checked}")
    record = HubRecord(repo=source.repo, revision=source.revision, commit=commit, files=tuple(names))
    draft = manifest.record_file.with_suffix(f".{os.getpid()}.tmp")
    draft.write_text(record.model_dump_json(indent=2) + "\n", encoding="utf-8")
    draft.replace(manifest.record_file)
    report(f"{source.repo}: {counted(len(names), 'file')} at commit {commit}")


def _download_file(api: "HfApi", manifest: Manifest, source: HuggingFaceSource, commit: str, name: str) -> str:
    return api.hf_hub_download(source.repo, name, revision=commit, cache_dir=manifest.cache_dir)


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
        _verify(snapshot / name, name, source.sha256.get(name), _Listed())


def _verify(path: Path, name: str, expected: str | None, listed: _Listed) -> str:
    """Compares a file with what the manifest expects and the hub lists; what differs is removed, so that the next fetch
    gets it anew.

    Returns:
        What to say about it: nothing where the manifest knows no hash.
    """
    finding = _finding(path, expected, listed)
    if finding is not None:
        path.resolve().unlink()
        path.unlink(missing_ok=True)
        raise FetchError(f"{name}: {finding}; the file was removed")
    return ", SHA-256 as expected" if expected else ""


def _finding(path: Path, expected: str | None, listed: _Listed) -> str | None:
    """How a file is not the one it should be; None when it is, as far as that is known."""
    size = path.stat().st_size
    with path.open("rb") as file:
        is_pointer = file.read(len(_LFS_POINTER)) == _LFS_POINTER
    if is_pointer and listed.size != size:
        return (
            "expected the file itself, got the Git LFS pointer that stands for it: HF_ENDPOINT may be a mirror of Git"
        )
    if listed.size is not None and size != listed.size:
        return f"expected {listed.size} bytes as the hub lists, got {size}"
    hashes = [hash for hash in (expected, listed.sha256) if hash is not None]
    if not hashes:
        return None
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    wrong = next((hash for hash in hashes if not found.startswith(hash)), None)
    return None if wrong is None else f"expected SHA-256 {wrong}, got {found}"


def _select(manifest: Manifest, source: HuggingFaceSource, listing: Iterable[str]) -> tuple[list[str], list[str]]:
    """The listed files that the manifest asks for, and the names and patterns that match none."""
    asked = dict.fromkeys([*manifest.files.values(), *sorted(manifest.onnx.files), *source.files])
    matches = {pattern: [name for name in listing if _matches(name, pattern)] for pattern in asked}
    selected = dict.fromkeys(name for names in matches.values() for name in names)
    return list(selected), [pattern for pattern, names in matches.items() if not names]


def _matches(name: str, pattern: str) -> bool:
    names, patterns = name.split("/"), pattern.split("/")
    return name == pattern or (len(names) == len(patterns) and all(map(fnmatchcase, names, patterns)))


def _ask(
    api: "HfApi", source: HuggingFaceSource, report: Callable[[str], None], call: Callable[[], _Answer]
) -> _Answer:
    """What a call to the hub gives; while the hub says when to ask again, it is asked again then.

    Raises:
        FetchError: when it gives nothing; the message says why.
    """
    with _errors_explained(api, source):
        for _ in range(_MOST_TRIES - 1):
            try:
                return call()
            except Exception as error:
                wait_s = _told_wait_s(error)
                if wait_s is None:
                    raise
            report(f"{api.endpoint} is busy: asking again in {wait_s:g} s")
            time.sleep(wait_s)
        return call()


def _told_wait_s(error: BaseException | None) -> float | None:
    """The seconds after which a hub that is busy wants to be asked again; None when it does not say, or says too many.

    huggingface_hub wraps what fails while it looks for a file.
    """
    from huggingface_hub.errors import HfHubHTTPError

    if error is not None and not isinstance(error, HfHubHTTPError):
        return _told_wait_s(error.__cause__)
    if error is None or error.response.status_code not in (429, 503):
        return None
    headers = error.response.headers
    told, now = headers.get("Retry-After", ""), headers.get("Date", "")  # by the hub's clock, both
    try:
        seconds = int(told) if told.isdecimal() else _unix_s(told) - _unix_s(now)
    except ValueError:
        return None
    return max(0.0, seconds) if seconds <= _LONGEST_WAIT_S else None


def _unix_s(http_date: str) -> float:
    return parsedate_to_datetime(http_date).timestamp()


@contextmanager
def _errors_explained(api: "HfApi", source: HuggingFaceSource) -> Iterator[None]:
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, HTTPError  # type: ignore[attr-defined]

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
    except HFValidationError as error:
        raise FetchError(f"{source.repo}: {error}") from error
    except Exception as error:  # what the library raises on an answer that makes no sense: as many kinds as there are
        nonsense = f"{api.endpoint} gives an answer about {source.repo} that makes no sense"
        raise FetchError(f"{nonsense} ({type(error).__name__}: {error}): is it a hub? See HF_ENDPOINT") from error


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
