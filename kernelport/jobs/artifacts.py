"""Where the outputs of jobs land: a directory, or object storage behind any URL that fsspec knows.

A file appears under its final name complete or not at all. Of two who write it, the second leaves it as it is or, if it
may, puts its own in its place.
"""

import contextlib
import errno
import functools
import os
import re
import secrets
import shutil
import tempfile
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path

import fsspec
from fsspec.implementations.local import LocalFileSystem

from kernelport.telemetry import metrics
from kernelport.telemetry.metrics import timed

PART_SUFFIX = ".part"
# Tells one storage from another.
ID_FILE = ".kernelport-storage"
_ID = re.compile(rb"[0-9a-f]{32}")
# Whoever writes here tries again by itself, and for as long as it has been told to.
_S3_OPTIONS = {"config_kwargs": {"retries": {"max_attempts": 0}}}
_S3_TRIES = 1
# What file systems that know no hard links answer: SMB, exFAT, some of FUSE.
_NO_HARD_LINKS = {errno.EPERM, errno.EOPNOTSUPP, errno.ENOTSUP, errno.ENOSYS}
_SLOW_BYTES_PER_S = 2**20
# What S3 lists and deletes in one call.
_NAMES_AT_ONCE = 1000


class ArtifactsError(ValueError):
    """The place for outputs is none; the message says what was expected."""


class UnsafePathError(OSError):
    """A path that would lead elsewhere than below the root."""


_timed = functools.partial(
    timed,
    seconds=metrics.STORAGE_SECONDS,
    failures=metrics.STORAGE_FAILURES,
    answers=(FileNotFoundError, UnsafePathError),
)


class Artifacts:
    """Files below one URL.

    Args:
        url: a directory, or a URL such as `s3://bucket/prefix`. Keys, endpoints and timeouts come from where fsspec
            and the storage's own library look for them, such as AWS_ENDPOINT_URL and FSSPEC_S3.
        timeout_s: seconds after which a call to object storage has failed; a large file has another second a MiB. (The
            timeouts of the libraries below do not see every stall.)

    Attributes:
        is_local: whether it is a directory.

    Every method that reaches the storage raises one of `storage_errors` when it fails; UnsafePathError, which is one,
    when a path has other parts than names.

    Raises:
        ArtifactsError: when nothing here knows such a URL.
    """

    def __init__(self, url: str, timeout_s: float = 30.0) -> None:
        self._timeout_s = timeout_s
        options = {**_S3_OPTIONS, **fsspec.config.conf.get("s3", {})} if url.startswith("s3://") else {}
        try:
            self._fs, self._root = fsspec.core.url_to_fs(url, **options)
        except (ImportError, ValueError) as error:
            raise ArtifactsError(f"cannot keep outputs at {url!r}: {error}") from error
        if url.startswith("s3://"):
            self._fs.retries = _S3_TRIES
        self.is_local: bool = isinstance(self._fs, LocalFileSystem)

    def identity(self, *, create: bool = True) -> str:
        """What the storage holds to be told from others: processes that see the same one read the same.

        Args:
            create: whether one is made where there is none.

        Raises:
            FileNotFoundError: there is none, and none is to be made.
        """
        try:
            found = self.read(ID_FILE)
        except FileNotFoundError:
            if not create:
                raise
            self.create(ID_FILE, secrets.token_hex(16).encode())
            found = self.read(ID_FILE)
        if not _ID.fullmatch(found):
            raise OSError(f"{self.url(ID_FILE)}: expected 32 hexadecimal digits")
        return found.decode()

    def url(self, path: str) -> str:
        """What to tell people of a path, or of the root when it is empty: a directory's name, or a URL."""
        place = self._place(path) if path else str(self._root)
        return place if self.is_local else str(self._fs.unstrip_protocol(place))

    @_timed("write")
    def create(self, path: str, data: bytes) -> bool:
        """Writes a file unless there is one; whether it has.

        A directory and S3 refuse to overwrite by themselves. A directory without hard links is looked into first; other
        object storage may overwrite.
        """
        if self.is_local:
            return self._link(path, data)
        try:
            self._fs.pipe_file(self._place(path), data, mode="create", **self._bound(len(data)))
        except FileExistsError:
            return False
        except OSError as error:
            # s3fs knows the refusal of AWS alone; that of MinIO and others comes as a wrong argument.
            answer = getattr(error.__cause__, "response", {})
            if answer.get("Error", {}).get("Code") != "PreconditionFailed":
                raise
            return False
        return True

    def publish(self, path: str, data: bytes, may_replace: Callable[[], bool]) -> None:
        """Writes a file, unless there is one of the same bytes.

        Args:
            may_replace: asked when there is one of other bytes, which stays unless this says that it may go.
        """
        if self.create(path, data) or self.read(path) == data or not may_replace():
            return
        with _timed("write"):
            self._overwrite(path, data)

    def _overwrite(self, path: str, data: bytes) -> None:
        place = self._place(path)
        if self.is_local:
            with _part(place) as part:
                _write(part, data)
                os.replace(part, place)
        else:
            self._fs.pipe_file(place, data, **self._bound(len(data)))

    @_timed("write")
    def replace(self, path: str, source: Path) -> None:
        """Puts a local file in a path's place, whether there is one or not."""
        place = self._place(path)
        if self.is_local:
            os.makedirs(os.path.dirname(place), exist_ok=True)
            with _part(place) as part:
                self._fs.put_file(str(source), part)
                os.replace(part, place)
        else:
            self._fs.put_file(str(source), place, **self._bound(source.stat().st_size))

    @_timed("read")
    def read(self, path: str) -> bytes:
        """The whole file.

        Raises:
            FileNotFoundError: when there is none.
        """
        data: bytes = self._fs.cat_file(self._place(path), **self._bound())
        return data

    def size(self, path: str) -> int:
        """Bytes of a file.

        Raises:
            FileNotFoundError: when there is none.
        """
        return int(self._fs.size(self._place(path), **self._bound()))

    def chunks(self, path: str, total: int, size: int) -> Iterator[bytes]:
        """A file of `total` bytes in pieces of `size` bytes.

        Raises:
            FileNotFoundError: when there is none.
        """
        for start in range(0, total, size):
            end = min(total, start + size)
            with _timed("read"):
                chunk = self._fs.cat_file(self._place(path), start=start, end=end, **self._bound())
            yield chunk

    def exists(self, path: str) -> bool:
        """Whether there is such a file."""
        return bool(self._fs.exists(self._place(path), **self._bound()))

    def free_bytes(self) -> int:
        """What is free on the disk of a directory."""
        os.makedirs(self._root, exist_ok=True)
        return shutil.disk_usage(self._root).free

    def unchanged_s(self, folder: str) -> float:
        """For how many seconds nothing has been added to a folder of a directory, or taken out, by the clock of its
        file system: that may be on another machine."""
        with tempfile.TemporaryFile(dir=self._root) as new:
            return os.fstat(new.fileno()).st_mtime - self._path(folder).stat().st_mtime

    def names(self, folder: str) -> Iterator[list[str]]:
        """The names of what is in a folder, some hundreds at a time; nothing when there is none.

        Args:
            folder: empty for the root.
        """
        place = self._place(folder) if folder else str(self._root)
        if self.is_local:
            with contextlib.suppress(FileNotFoundError), os.scandir(place) as entries:
                while some := [entry.name for entry in islice(entries, _NAMES_AT_ONCE)]:
                    yield some
        elif "s3" in self._fs.protocol:
            yield from map(list, self._s3_entries(place))
        else:
            found = iter(self._found(place))
            while some := list(islice(found, _NAMES_AT_ONCE)):
                yield some

    def sizes(self, folder: str) -> Iterator[dict[str, int]]:
        """The files of a folder and their bytes, by name, some at a time; nothing when there is none."""
        place = self._place(folder)
        if not self.is_local:
            yield from self._s3_entries(place) if "s3" in self._fs.protocol else [self._found(place)]
            return
        with contextlib.suppress(FileNotFoundError, NotADirectoryError), os.scandir(place) as entries:
            while some := list(islice(entries, _NAMES_AT_ONCE)):
                found = {}
                for entry in some:
                    with contextlib.suppress(FileNotFoundError):
                        found[entry.name] = entry.stat(follow_symlinks=False).st_size
                yield found

    def _found(self, place: str) -> dict[str, int]:
        """The files of a folder and their bytes, by name."""
        found = self._fs.find(place, detail=True, **self._bound())
        return {path.removeprefix(f"{place}/"): entry["size"] for path, entry in found.items()}

    def _s3_entries(self, place: str) -> Iterator[dict[str, int]]:
        """The same by pages, which `find` of the library would gather into one list."""
        bucket, key, _ = self._fs.split_path(place)
        prefix, after = f"{key}/", ""
        while True:
            page = self._fs.call_s3(
                "list_objects_v2",
                Bucket=bucket,
                Prefix=prefix,
                StartAfter=after,
                MaxKeys=_NAMES_AT_ONCE,
                **self._bound(),
            )
            sizes = {entry["Key"]: entry["Size"] for entry in page.get("Contents", ())}
            if not sizes:
                return
            after = next(reversed(sizes))
            yield {key.removeprefix(prefix): size for key, size in sizes.items()}

    def folders(self) -> list[str]:
        """The names of all folders."""
        if self.is_local:
            with contextlib.suppress(FileNotFoundError), os.scandir(self._root) as entries:
                return [entry.name for entry in entries if entry.is_dir(follow_symlinks=False)]
            return []
        with contextlib.suppress(FileNotFoundError):
            found = self._fs.ls(self._root, detail=True, refresh=True, **self._bound())
            return [each["name"].rstrip("/").rpartition("/")[2] for each in found if each["type"] == "directory"]
        return []

    def usage(self, folder: str) -> tuple[int, int]:
        """How many files a folder has, and their bytes."""
        files, size = 0, 0
        for some in self.sizes(folder):
            files += len(some)
            size += sum(some.values())
        return files, size

    @_timed("delete")
    def delete_some(self, folder: str) -> int:
        """Deletes up to a thousand files of a folder, and the folder itself when it has none.

        Returns:
            How many are gone; 0 when nothing is left.
        """
        names = next(self.names(folder), [])
        failures = [error for name in names if (error := self._unlink(folder, name))] if self.is_local else []
        if names and not self.is_local:
            self._fs.rm([f"{self._place(folder)}/{name}" for name in names], **self._bound(len(names) * 2**10))
            if self.exists(f"{folder}/{names[0]}"):  # S3 tells of none that it did not delete
                raise OSError(f"{self.url(f'{folder}/{names[0]}')} is still there")
        if names and len(failures) == len(names):
            raise failures[0]
        if not names and self.is_local:
            with contextlib.suppress(FileNotFoundError):
                self._path(folder).rmdir()
        return len(names) - len(failures)

    def _unlink(self, folder: str, name: str) -> OSError | None:
        path = self._path(folder) / name
        try:
            try:
                path.unlink(missing_ok=True)
            except IsADirectoryError:
                shutil.rmtree(path)
        except OSError as error:
            return error
        return None

    def sweep(self, folder: str) -> None:
        """Deletes what writers that died left unfinished. Only while nobody writes there."""
        if self.is_local:
            for part in self._path(folder).glob(f".*{PART_SUFFIX}"):
                part.unlink(missing_ok=True)

    def _bound(self, size: float = 0) -> dict[str, float]:
        """The argument that ends a call that moves so many bytes when it stalls."""
        return {"timeout": self._timeout_s + size / _SLOW_BYTES_PER_S} if self._fs.async_impl else {}

    def _link(self, path: str, data: bytes) -> bool:
        final = self._place(path)
        with _part(final) as part:
            try:
                _write(part, data)
            except FileNotFoundError:  # the first file of a job: its folder is not looked for before every one
                os.makedirs(os.path.dirname(part), exist_ok=True)
                _write(part, data)
            try:
                os.link(part, final)
            except FileExistsError:
                return False
            except OSError as error:
                if error.errno not in _NO_HARD_LINKS:
                    raise
                # Of two at the same moment the later one's file stays.
                if os.path.exists(final):
                    return False
                os.replace(part, final)
            return True

    def _path(self, path: str) -> Path:
        return Path(self._place(path))

    def _place(self, path: str) -> str:
        """Where a path is. Its parts are names that were made elsewhere: none leads out of the root."""
        if any(part in ("", ".", "..") or "\\" in part or "\0" in part for part in path.split("/")):
            raise UnsafePathError(f"expected names below {self._root}, got {path!r}")
        return f"{self._root}/{path}"


def is_part(name: str) -> bool:
    """Whether a file of this name is one that is being written, or was left half written."""
    return name.startswith(".") and name.endswith(PART_SUFFIX)


@contextlib.contextmanager
def _part(place: str) -> Iterator[str]:
    """Where to write what is to be at a place; what is still there in the end goes, or else is swept later."""
    part = f"{os.path.dirname(place)}/.{secrets.token_hex(8)}{PART_SUFFIX}"
    try:
        yield part
    finally:
        with contextlib.suppress(OSError):
            os.unlink(part)


def _write(file: str, data: bytes) -> None:
    with open(file, "wb") as opened:
        opened.write(data)


def storage_errors() -> tuple[type[Exception], ...]:
    """What a storage that fails raises: OSError, and the exceptions of object storage libraries that are none."""
    errors: list[type[Exception]] = [OSError]
    with contextlib.suppress(ImportError):
        import botocore.exceptions

        errors += [botocore.exceptions.BotoCoreError, botocore.exceptions.ClientError]
    return tuple(errors)
