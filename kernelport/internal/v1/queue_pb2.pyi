from kernelport.v1 import dead_letter_pb2 as _dead_letter_pb2
from kernelport.v1 import deployment_pb2 as _deployment_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import Any as _Any, ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Batch(_message.Message):
    __slots__ = ("deployment", "front_door", "items", "id", "shared_folder")
    DEPLOYMENT_FIELD_NUMBER: _ClassVar[int]
    FRONT_DOOR_FIELD_NUMBER: _ClassVar[int]
    ITEMS_FIELD_NUMBER: _ClassVar[int]
    ID_FIELD_NUMBER: _ClassVar[int]
    SHARED_FOLDER_FIELD_NUMBER: _ClassVar[int]
    deployment: str
    front_door: str
    items: _containers.RepeatedCompositeFieldContainer[BatchItem]
    id: str
    shared_folder: str
    def __init__(self, deployment: _Optional[str] = ..., front_door: _Optional[str] = ..., items: _Optional[_Iterable[_Union[BatchItem, _Mapping[str, _Any]]]] = ..., id: _Optional[str] = ..., shared_folder: _Optional[str] = ...) -> None: ...

class BatchItem(_message.Message):
    __slots__ = ("id", "request", "request_claim", "request_file", "deadline_unix_us", "attempts", "result_key", "traceparent", "request_id", "stream", "resume_from", "tenant", "dead_letter")
    ID_FIELD_NUMBER: _ClassVar[int]
    REQUEST_FIELD_NUMBER: _ClassVar[int]
    REQUEST_CLAIM_FIELD_NUMBER: _ClassVar[int]
    REQUEST_FILE_FIELD_NUMBER: _ClassVar[int]
    DEADLINE_UNIX_US_FIELD_NUMBER: _ClassVar[int]
    ATTEMPTS_FIELD_NUMBER: _ClassVar[int]
    RESULT_KEY_FIELD_NUMBER: _ClassVar[int]
    TRACEPARENT_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    STREAM_FIELD_NUMBER: _ClassVar[int]
    RESUME_FROM_FIELD_NUMBER: _ClassVar[int]
    TENANT_FIELD_NUMBER: _ClassVar[int]
    DEAD_LETTER_FIELD_NUMBER: _ClassVar[int]
    id: bytes
    request: bytes
    request_claim: str
    request_file: str
    deadline_unix_us: int
    attempts: _containers.RepeatedCompositeFieldContainer[_dead_letter_pb2.Attempt]
    result_key: str
    traceparent: str
    request_id: str
    stream: bool
    resume_from: int
    tenant: str
    dead_letter: str
    def __init__(self, id: _Optional[bytes] = ..., request: _Optional[bytes] = ..., request_claim: _Optional[str] = ..., request_file: _Optional[str] = ..., deadline_unix_us: _Optional[int] = ..., attempts: _Optional[_Iterable[_Union[_dead_letter_pb2.Attempt, _Mapping[str, _Any]]]] = ..., result_key: _Optional[str] = ..., traceparent: _Optional[str] = ..., request_id: _Optional[str] = ..., stream: _Optional[bool] = ..., resume_from: _Optional[int] = ..., tenant: _Optional[str] = ..., dead_letter: _Optional[str] = ...) -> None: ...

class Reply(_message.Message):
    __slots__ = ("completions",)
    COMPLETIONS_FIELD_NUMBER: _ClassVar[int]
    completions: _containers.RepeatedCompositeFieldContainer[Completion]
    def __init__(self, completions: _Optional[_Iterable[_Union[Completion, _Mapping[str, _Any]]]] = ...) -> None: ...

class Completion(_message.Message):
    __slots__ = ("id", "response", "error", "response_claim", "response_file", "out_of_reach", "worker_us", "prepare_us", "backend_us", "sequence", "more", "used_us", "audio_us", "nano_dollars")
    ID_FIELD_NUMBER: _ClassVar[int]
    RESPONSE_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    RESPONSE_CLAIM_FIELD_NUMBER: _ClassVar[int]
    RESPONSE_FILE_FIELD_NUMBER: _ClassVar[int]
    OUT_OF_REACH_FIELD_NUMBER: _ClassVar[int]
    WORKER_US_FIELD_NUMBER: _ClassVar[int]
    PREPARE_US_FIELD_NUMBER: _ClassVar[int]
    BACKEND_US_FIELD_NUMBER: _ClassVar[int]
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    MORE_FIELD_NUMBER: _ClassVar[int]
    USED_US_FIELD_NUMBER: _ClassVar[int]
    AUDIO_US_FIELD_NUMBER: _ClassVar[int]
    NANO_DOLLARS_FIELD_NUMBER: _ClassVar[int]
    id: bytes
    response: bytes
    error: bytes
    response_claim: str
    response_file: str
    out_of_reach: bool
    worker_us: int
    prepare_us: int
    backend_us: int
    sequence: int
    more: bool
    used_us: int
    audio_us: int
    nano_dollars: int
    def __init__(self, id: _Optional[bytes] = ..., response: _Optional[bytes] = ..., error: _Optional[bytes] = ..., response_claim: _Optional[str] = ..., response_file: _Optional[str] = ..., out_of_reach: _Optional[bool] = ..., worker_us: _Optional[int] = ..., prepare_us: _Optional[int] = ..., backend_us: _Optional[int] = ..., sequence: _Optional[int] = ..., more: _Optional[bool] = ..., used_us: _Optional[int] = ..., audio_us: _Optional[int] = ..., nano_dollars: _Optional[int] = ...) -> None: ...

class FrontDoorRecord(_message.Message):
    __slots__ = ("name", "loads", "front_door")
    NAME_FIELD_NUMBER: _ClassVar[int]
    LOADS_FIELD_NUMBER: _ClassVar[int]
    FRONT_DOOR_FIELD_NUMBER: _ClassVar[int]
    name: str
    loads: _containers.RepeatedCompositeFieldContainer[Load]
    front_door: _deployment_pb2.FrontDoor
    def __init__(self, name: _Optional[str] = ..., loads: _Optional[_Iterable[_Union[Load, _Mapping[str, _Any]]]] = ..., front_door: _Optional[_Union[_deployment_pb2.FrontDoor, _Mapping[str, _Any]]] = ...) -> None: ...

class Load(_message.Message):
    __slots__ = ("deployment", "requests", "bytes", "accepted", "answered")
    DEPLOYMENT_FIELD_NUMBER: _ClassVar[int]
    REQUESTS_FIELD_NUMBER: _ClassVar[int]
    BYTES_FIELD_NUMBER: _ClassVar[int]
    ACCEPTED_FIELD_NUMBER: _ClassVar[int]
    ANSWERED_FIELD_NUMBER: _ClassVar[int]
    deployment: str
    requests: int
    bytes: int
    accepted: int
    answered: int
    def __init__(self, deployment: _Optional[str] = ..., requests: _Optional[int] = ..., bytes: _Optional[int] = ..., accepted: _Optional[int] = ..., answered: _Optional[int] = ...) -> None: ...

class WorkerRecord(_message.Message):
    __slots__ = ("worker", "deployments", "shared_folder", "redis_client")
    WORKER_FIELD_NUMBER: _ClassVar[int]
    DEPLOYMENTS_FIELD_NUMBER: _ClassVar[int]
    SHARED_FOLDER_FIELD_NUMBER: _ClassVar[int]
    REDIS_CLIENT_FIELD_NUMBER: _ClassVar[int]
    worker: _deployment_pb2.Worker
    deployments: _containers.RepeatedCompositeFieldContainer[ServedDeployment]
    shared_folder: str
    redis_client: int
    def __init__(self, worker: _Optional[_Union[_deployment_pb2.Worker, _Mapping[str, _Any]]] = ..., deployments: _Optional[_Iterable[_Union[ServedDeployment, _Mapping[str, _Any]]]] = ..., shared_folder: _Optional[str] = ..., redis_client: _Optional[int] = ...) -> None: ...

class ServedDeployment(_message.Message):
    __slots__ = ("name", "signature", "revision", "compute_path", "seconds_a_letter", "capacity", "settings")
    NAME_FIELD_NUMBER: _ClassVar[int]
    SIGNATURE_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    COMPUTE_PATH_FIELD_NUMBER: _ClassVar[int]
    SECONDS_A_LETTER_FIELD_NUMBER: _ClassVar[int]
    CAPACITY_FIELD_NUMBER: _ClassVar[int]
    SETTINGS_FIELD_NUMBER: _ClassVar[int]
    name: str
    signature: _deployment_pb2.Signature
    revision: str
    compute_path: str
    seconds_a_letter: float
    capacity: int
    settings: str
    def __init__(self, name: _Optional[str] = ..., signature: _Optional[_Union[_deployment_pb2.Signature, _Mapping[str, _Any]]] = ..., revision: _Optional[str] = ..., compute_path: _Optional[str] = ..., seconds_a_letter: _Optional[float] = ..., capacity: _Optional[int] = ..., settings: _Optional[str] = ...) -> None: ...
