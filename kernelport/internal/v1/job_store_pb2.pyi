from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import Any as _Any, ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Page(_message.Message):
    __slots__ = ("items", "places", "first_index", "compressed")
    ITEMS_FIELD_NUMBER: _ClassVar[int]
    PLACES_FIELD_NUMBER: _ClassVar[int]
    FIRST_INDEX_FIELD_NUMBER: _ClassVar[int]
    COMPRESSED_FIELD_NUMBER: _ClassVar[int]
    items: _containers.RepeatedScalarFieldContainer[bytes]
    places: _containers.RepeatedScalarFieldContainer[int]
    first_index: int
    compressed: bytes
    def __init__(self, items: _Optional[_Iterable[bytes]] = ..., places: _Optional[_Iterable[int]] = ..., first_index: _Optional[int] = ..., compressed: _Optional[bytes] = ...) -> None: ...

class BatchResult(_message.Message):
    __slots__ = ("page", "finished_unix_us", "backend_s", "batch_size", "attempts", "items", "suffix", "revision", "device", "compute_path", "portable_names")
    PAGE_FIELD_NUMBER: _ClassVar[int]
    FINISHED_UNIX_US_FIELD_NUMBER: _ClassVar[int]
    BACKEND_S_FIELD_NUMBER: _ClassVar[int]
    BATCH_SIZE_FIELD_NUMBER: _ClassVar[int]
    ATTEMPTS_FIELD_NUMBER: _ClassVar[int]
    ITEMS_FIELD_NUMBER: _ClassVar[int]
    SUFFIX_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    DEVICE_FIELD_NUMBER: _ClassVar[int]
    COMPUTE_PATH_FIELD_NUMBER: _ClassVar[int]
    PORTABLE_NAMES_FIELD_NUMBER: _ClassVar[int]
    page: int
    finished_unix_us: int
    backend_s: float
    batch_size: int
    attempts: int
    items: _containers.RepeatedCompositeFieldContainer[ItemResult]
    suffix: str
    revision: str
    device: str
    compute_path: str
    portable_names: bool
    def __init__(self, page: _Optional[int] = ..., finished_unix_us: _Optional[int] = ..., backend_s: _Optional[float] = ..., batch_size: _Optional[int] = ..., attempts: _Optional[int] = ..., items: _Optional[_Iterable[_Union[ItemResult, _Mapping[str, _Any]]]] = ..., suffix: _Optional[str] = ..., revision: _Optional[str] = ..., device: _Optional[str] = ..., compute_path: _Optional[str] = ..., portable_names: _Optional[bool] = ...) -> None: ...

class ItemResult(_message.Message):
    __slots__ = ("position", "error", "file_bytes", "sha256", "audio_s", "warnings", "lasting")
    POSITION_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    FILE_BYTES_FIELD_NUMBER: _ClassVar[int]
    SHA256_FIELD_NUMBER: _ClassVar[int]
    AUDIO_S_FIELD_NUMBER: _ClassVar[int]
    WARNINGS_FIELD_NUMBER: _ClassVar[int]
    LASTING_FIELD_NUMBER: _ClassVar[int]
    position: int
    error: str
    file_bytes: int
    sha256: bytes
    audio_s: float
    warnings: _containers.RepeatedScalarFieldContainer[str]
    lasting: bool
    def __init__(self, position: _Optional[int] = ..., error: _Optional[str] = ..., file_bytes: _Optional[int] = ..., sha256: _Optional[bytes] = ..., audio_s: _Optional[float] = ..., warnings: _Optional[_Iterable[str]] = ..., lasting: _Optional[bool] = ...) -> None: ...
