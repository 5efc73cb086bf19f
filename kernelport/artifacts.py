"""Where the outputs of jobs land: a directory, or object storage behind any URL that fsspec knows.

A file appears under its final name complete or not at all, and what has appeared stays: whoever comes second adopts it.
"""

import contextlib
import os
import secrets
from collections.abc import Iterator
from pathlib import Path

import fsspec
from fsspec.implementations.local import LocalFileSystem

PART_SUFFIX = ".part"
# Whoever writes here tries again by itself, and for as long as it has been told to. botocore's own tries and the many
# of s3fs on top would keep a stalled bucket from becoming an error for minutes.
_S3_OPTIONS = {"config_kwargs": {"retries": {"max_attempts": 0}}}
_S3_TRIES = 2


class ArtifactsError(ValueError):
    """The place for outputs is none; the message says what was expected."""


class Artifacts:
    """Files below one URL.

    Args:
        url: a directory, or a URL such as `s3://bucket/prefix`. Keys, endpoints and timeouts come from where fsspec
            and the storage's own library look for them, such as AWS_ENDPOINT_URL and FSSPEC_S3.

    Every method that reaches the storage raises one of `storage_errors` when it fails.

    Raises:
        ArtifactsError: when nothing here knows such a URL.
    """

    def __init__(self, url: str) -> None:
        options = {**_S3_OPTIONS, **fsspec.config.conf.get("s3", {})} if url.startswith("s3://") else {}
        try:
            self._fs, self._root = fsspec.core.url_to_fs(url, **options)
        except (ImportError, ValueError) as error:
            raise ArtifactsError(f"cannot keep outputs at {url!r}: {error}") from error
        if url.startswith("s3://"):
            self._fs.retries = _S3_TRIES
        self._local = isinstance(self._fs, LocalFileSystem)

    def url(self, path: str) -> str:
        """What to tell people of a path: a directory's name, or a URL."""
        place = f"{self._root}/{path}"
        return place if self._local else str(self._fs.unstrip_protocol(place))

    def publish(self, path: str, data: bytes, may_exist: bool) -> bytes:
        """Writes a file unless there is one; returns what the file holds, which may be what somebody else wrote.

        Args:
            may_exist: whether somebody else has tried before. A directory and S3 refuse to overwrite by themselves; for
                object storage that cannot, this tells when to look first.
        """
        if self._local:
            return data if self._link(path, data) else self.read(path)
        place = f"{self._root}/{path}"
        try:
            if may_exist and self._fs.exists(place):
                return self.read(path)
            self._fs.pipe_file(place, data, mode="create")
        except FileExistsError:
            return self.read(path)
        return data

    def replace(self, path: str, source: Path) -> None:
        """Puts a local file in a path's place, whether there is one or not."""
        if self._local:
            part = self._part(path)
            self._fs.put_file(str(source), str(part))
            part.replace(self._path(path))
        else:
            self._fs.put_file(str(source), f"{self._root}/{path}")

    def read(self, path: str) -> bytes:
        """The whole file.

        Raises:
            FileNotFoundError: when there is none.
        """
        data: bytes = self._fs.cat_file(f"{self._root}/{path}")
        return data

    def chunks(self, path: str, size: int) -> Iterator[bytes]:
        """The file in pieces of `size` bytes.

        Raises:
            FileNotFoundError: when there is none.
        """
        with self._fs.open(f"{self._root}/{path}", "rb") as file:
            while chunk := file.read(size):
                yield chunk

    def delete(self, folder: str) -> None:
        """Deletes a folder with all that is in it, if there is one."""
        with contextlib.suppress(FileNotFoundError):
            self._fs.rm(f"{self._root}/{folder}", recursive=True)

    def sweep(self, folder: str) -> None:
        """Deletes what writers that died left unfinished. Only while nobody writes there."""
        if self._local:
            for part in self._path(folder).glob(f".*{PART_SUFFIX}"):
                part.unlink(missing_ok=True)

    def _link(self, path: str, data: bytes) -> bool:
        part = self._part(path)
        try:
            part.write_bytes(data)
            try:
                os.link(part, self._path(path))
            except FileExistsError:
                return False
            return True
        finally:
            part.unlink(missing_ok=True)

    def _part(self, path: str) -> Path:
        final = self._path(path)
        final.parent.mkdir(parents=True, exist_ok=True)
        return final.with_name(f".{secrets.token_hex(8)}{PART_SUFFIX}")

    def _path(self, path: str) -> Path:
        return Path(self._root) / path


def storage_errors() -> tuple[type[Exception], ...]:
    """What a storage that fails raises: OSError, and the exceptions of object storage libraries that are none."""
    errors: list[type[Exception]] = [OSError]
    with contextlib.suppress(ImportError):
        import botocore.exceptions

        errors += [botocore.exceptions.BotoCoreError, botocore.exceptions.ClientError]
    return tuple(errors)
