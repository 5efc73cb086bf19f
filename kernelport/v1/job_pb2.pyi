from kernelport.v1 import inference_pb2 as _inference_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import Any as _Any, ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class JobState(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    JOB_STATE_UNSPECIFIED: _ClassVar[JobState]
    JOB_STATE_PENDING: _ClassVar[JobState]
    JOB_STATE_RUNNING: _ClassVar[JobState]
    JOB_STATE_SUCCEEDED: _ClassVar[JobState]
    JOB_STATE_FAILED: _ClassVar[JobState]
    JOB_STATE_CANCELLING: _ClassVar[JobState]
    JOB_STATE_CANCELLED: _ClassVar[JobState]
    JOB_STATE_EXPIRED: _ClassVar[JobState]
    JOB_STATE_DELETING: _ClassVar[JobState]

class ItemState(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ITEM_STATE_UNSPECIFIED: _ClassVar[ItemState]
    ITEM_STATE_WAITING: _ClassVar[ItemState]
    ITEM_STATE_RUNNING: _ClassVar[ItemState]
    ITEM_STATE_SUCCEEDED: _ClassVar[ItemState]
    ITEM_STATE_FAILED: _ClassVar[ItemState]
    ITEM_STATE_CANCELLED: _ClassVar[ItemState]
    ITEM_STATE_NOT_RUN: _ClassVar[ItemState]

class OutputFormat(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    OUTPUT_FORMAT_UNSPECIFIED: _ClassVar[OutputFormat]
    OUTPUT_FORMAT_WAV: _ClassVar[OutputFormat]
    OUTPUT_FORMAT_FLAC: _ClassVar[OutputFormat]
    OUTPUT_FORMAT_OGG: _ClassVar[OutputFormat]
    OUTPUT_FORMAT_MP3: _ClassVar[OutputFormat]
    OUTPUT_FORMAT_NPZ: _ClassVar[OutputFormat]
    OUTPUT_FORMAT_AAC: _ClassVar[OutputFormat]
    OUTPUT_FORMAT_PCM: _ClassVar[OutputFormat]

class WebhookEvent(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    WEBHOOK_EVENT_UNSPECIFIED: _ClassVar[WebhookEvent]
    WEBHOOK_EVENT_STARTED: _ClassVar[WebhookEvent]
    WEBHOOK_EVENT_PROGRESS: _ClassVar[WebhookEvent]
    WEBHOOK_EVENT_SUCCEEDED: _ClassVar[WebhookEvent]
    WEBHOOK_EVENT_FAILED: _ClassVar[WebhookEvent]
    WEBHOOK_EVENT_CANCELLED: _ClassVar[WebhookEvent]
    WEBHOOK_EVENT_EXPIRED: _ClassVar[WebhookEvent]
JOB_STATE_UNSPECIFIED: JobState
JOB_STATE_PENDING: JobState
JOB_STATE_RUNNING: JobState
JOB_STATE_SUCCEEDED: JobState
JOB_STATE_FAILED: JobState
JOB_STATE_CANCELLING: JobState
JOB_STATE_CANCELLED: JobState
JOB_STATE_EXPIRED: JobState
JOB_STATE_DELETING: JobState
ITEM_STATE_UNSPECIFIED: ItemState
ITEM_STATE_WAITING: ItemState
ITEM_STATE_RUNNING: ItemState
ITEM_STATE_SUCCEEDED: ItemState
ITEM_STATE_FAILED: ItemState
ITEM_STATE_CANCELLED: ItemState
ITEM_STATE_NOT_RUN: ItemState
OUTPUT_FORMAT_UNSPECIFIED: OutputFormat
OUTPUT_FORMAT_WAV: OutputFormat
OUTPUT_FORMAT_FLAC: OutputFormat
OUTPUT_FORMAT_OGG: OutputFormat
OUTPUT_FORMAT_MP3: OutputFormat
OUTPUT_FORMAT_NPZ: OutputFormat
OUTPUT_FORMAT_AAC: OutputFormat
OUTPUT_FORMAT_PCM: OutputFormat
WEBHOOK_EVENT_UNSPECIFIED: WebhookEvent
WEBHOOK_EVENT_STARTED: WebhookEvent
WEBHOOK_EVENT_PROGRESS: WebhookEvent
WEBHOOK_EVENT_SUCCEEDED: WebhookEvent
WEBHOOK_EVENT_FAILED: WebhookEvent
WEBHOOK_EVENT_CANCELLED: WebhookEvent
WEBHOOK_EVENT_EXPIRED: WebhookEvent

class JobSpec(_message.Message):
    __slots__ = ("deployment", "shared_inputs", "priority", "deadline_unix_us", "output_format", "metadata", "webhook", "retention_s", "delete_outputs", "outputs", "deadline_in_s")
    class MetadataEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    DEPLOYMENT_FIELD_NUMBER: _ClassVar[int]
    SHARED_INPUTS_FIELD_NUMBER: _ClassVar[int]
    PRIORITY_FIELD_NUMBER: _ClassVar[int]
    DEADLINE_UNIX_US_FIELD_NUMBER: _ClassVar[int]
    OUTPUT_FORMAT_FIELD_NUMBER: _ClassVar[int]
    METADATA_FIELD_NUMBER: _ClassVar[int]
    WEBHOOK_FIELD_NUMBER: _ClassVar[int]
    RETENTION_S_FIELD_NUMBER: _ClassVar[int]
    DELETE_OUTPUTS_FIELD_NUMBER: _ClassVar[int]
    OUTPUTS_FIELD_NUMBER: _ClassVar[int]
    DEADLINE_IN_S_FIELD_NUMBER: _ClassVar[int]
    deployment: str
    shared_inputs: _containers.RepeatedCompositeFieldContainer[_inference_pb2.Tensor]
    priority: int
    deadline_unix_us: int
    output_format: OutputFormat
    metadata: _containers.ScalarMap[str, str]
    webhook: Webhook
    retention_s: int
    delete_outputs: bool
    outputs: _containers.RepeatedScalarFieldContainer[str]
    deadline_in_s: int
    def __init__(self, deployment: _Optional[str] = ..., shared_inputs: _Optional[_Iterable[_Union[_inference_pb2.Tensor, _Mapping[str, _Any]]]] = ..., priority: _Optional[int] = ..., deadline_unix_us: _Optional[int] = ..., output_format: _Optional[_Union[OutputFormat, str]] = ..., metadata: _Optional[_Mapping[str, str]] = ..., webhook: _Optional[_Union[Webhook, _Mapping[str, _Any]]] = ..., retention_s: _Optional[int] = ..., delete_outputs: _Optional[bool] = ..., outputs: _Optional[_Iterable[str]] = ..., deadline_in_s: _Optional[int] = ...) -> None: ...

class Webhook(_message.Message):
    __slots__ = ("url", "secret", "events", "progress_interval_s")
    URL_FIELD_NUMBER: _ClassVar[int]
    SECRET_FIELD_NUMBER: _ClassVar[int]
    EVENTS_FIELD_NUMBER: _ClassVar[int]
    PROGRESS_INTERVAL_S_FIELD_NUMBER: _ClassVar[int]
    url: str
    secret: str
    events: _containers.RepeatedScalarFieldContainer[WebhookEvent]
    progress_interval_s: float
    def __init__(self, url: _Optional[str] = ..., secret: _Optional[str] = ..., events: _Optional[_Iterable[_Union[WebhookEvent, str]]] = ..., progress_interval_s: _Optional[float] = ...) -> None: ...

class Job(_message.Message):
    __slots__ = ("id", "spec", "state", "reason", "sealed", "progress", "output_url", "created_unix_us", "started_unix_us", "finished_unix_us", "expires_unix_us", "resumed_unix_us")
    ID_FIELD_NUMBER: _ClassVar[int]
    SPEC_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    SEALED_FIELD_NUMBER: _ClassVar[int]
    PROGRESS_FIELD_NUMBER: _ClassVar[int]
    OUTPUT_URL_FIELD_NUMBER: _ClassVar[int]
    CREATED_UNIX_US_FIELD_NUMBER: _ClassVar[int]
    STARTED_UNIX_US_FIELD_NUMBER: _ClassVar[int]
    FINISHED_UNIX_US_FIELD_NUMBER: _ClassVar[int]
    EXPIRES_UNIX_US_FIELD_NUMBER: _ClassVar[int]
    RESUMED_UNIX_US_FIELD_NUMBER: _ClassVar[int]
    id: str
    spec: JobSpec
    state: JobState
    reason: str
    sealed: bool
    progress: JobProgress
    output_url: str
    created_unix_us: int
    started_unix_us: int
    finished_unix_us: int
    expires_unix_us: int
    resumed_unix_us: int
    def __init__(self, id: _Optional[str] = ..., spec: _Optional[_Union[JobSpec, _Mapping[str, _Any]]] = ..., state: _Optional[_Union[JobState, str]] = ..., reason: _Optional[str] = ..., sealed: _Optional[bool] = ..., progress: _Optional[_Union[JobProgress, _Mapping[str, _Any]]] = ..., output_url: _Optional[str] = ..., created_unix_us: _Optional[int] = ..., started_unix_us: _Optional[int] = ..., finished_unix_us: _Optional[int] = ..., expires_unix_us: _Optional[int] = ..., resumed_unix_us: _Optional[int] = ...) -> None: ...

class JobProgress(_message.Message):
    __slots__ = ("items", "waiting", "running", "succeeded", "failed", "cancelled", "audio_s", "backend_s", "output_bytes", "useful_cost", "padded_cost", "deleted_files", "not_run")
    ITEMS_FIELD_NUMBER: _ClassVar[int]
    WAITING_FIELD_NUMBER: _ClassVar[int]
    RUNNING_FIELD_NUMBER: _ClassVar[int]
    SUCCEEDED_FIELD_NUMBER: _ClassVar[int]
    FAILED_FIELD_NUMBER: _ClassVar[int]
    CANCELLED_FIELD_NUMBER: _ClassVar[int]
    AUDIO_S_FIELD_NUMBER: _ClassVar[int]
    BACKEND_S_FIELD_NUMBER: _ClassVar[int]
    OUTPUT_BYTES_FIELD_NUMBER: _ClassVar[int]
    USEFUL_COST_FIELD_NUMBER: _ClassVar[int]
    PADDED_COST_FIELD_NUMBER: _ClassVar[int]
    DELETED_FILES_FIELD_NUMBER: _ClassVar[int]
    NOT_RUN_FIELD_NUMBER: _ClassVar[int]
    items: int
    waiting: int
    running: int
    succeeded: int
    failed: int
    cancelled: int
    audio_s: float
    backend_s: float
    output_bytes: int
    useful_cost: int
    padded_cost: int
    deleted_files: int
    not_run: int
    def __init__(self, items: _Optional[int] = ..., waiting: _Optional[int] = ..., running: _Optional[int] = ..., succeeded: _Optional[int] = ..., failed: _Optional[int] = ..., cancelled: _Optional[int] = ..., audio_s: _Optional[float] = ..., backend_s: _Optional[float] = ..., output_bytes: _Optional[int] = ..., useful_cost: _Optional[int] = ..., padded_cost: _Optional[int] = ..., deleted_files: _Optional[int] = ..., not_run: _Optional[int] = ...) -> None: ...

class NewItem(_message.Message):
    __slots__ = ("id", "inputs")
    ID_FIELD_NUMBER: _ClassVar[int]
    INPUTS_FIELD_NUMBER: _ClassVar[int]
    id: str
    inputs: _containers.RepeatedCompositeFieldContainer[_inference_pb2.Tensor]
    def __init__(self, id: _Optional[str] = ..., inputs: _Optional[_Iterable[_Union[_inference_pb2.Tensor, _Mapping[str, _Any]]]] = ...) -> None: ...

class Item(_message.Message):
    __slots__ = ("id", "index", "state", "attempts", "reason", "text", "file", "file_bytes", "sha256", "audio_s", "backend_s", "batch_size", "finished_unix_us", "revision", "device", "warnings", "inputs", "lasting", "compute_path")
    ID_FIELD_NUMBER: _ClassVar[int]
    INDEX_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    ATTEMPTS_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    FILE_FIELD_NUMBER: _ClassVar[int]
    FILE_BYTES_FIELD_NUMBER: _ClassVar[int]
    SHA256_FIELD_NUMBER: _ClassVar[int]
    AUDIO_S_FIELD_NUMBER: _ClassVar[int]
    BACKEND_S_FIELD_NUMBER: _ClassVar[int]
    BATCH_SIZE_FIELD_NUMBER: _ClassVar[int]
    FINISHED_UNIX_US_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    DEVICE_FIELD_NUMBER: _ClassVar[int]
    WARNINGS_FIELD_NUMBER: _ClassVar[int]
    INPUTS_FIELD_NUMBER: _ClassVar[int]
    LASTING_FIELD_NUMBER: _ClassVar[int]
    COMPUTE_PATH_FIELD_NUMBER: _ClassVar[int]
    id: str
    index: int
    state: ItemState
    attempts: int
    reason: str
    text: str
    file: str
    file_bytes: int
    sha256: bytes
    audio_s: float
    backend_s: float
    batch_size: int
    finished_unix_us: int
    revision: str
    device: str
    warnings: _containers.RepeatedScalarFieldContainer[str]
    inputs: _containers.RepeatedCompositeFieldContainer[_inference_pb2.Tensor]
    lasting: bool
    compute_path: str
    def __init__(self, id: _Optional[str] = ..., index: _Optional[int] = ..., state: _Optional[_Union[ItemState, str]] = ..., attempts: _Optional[int] = ..., reason: _Optional[str] = ..., text: _Optional[str] = ..., file: _Optional[str] = ..., file_bytes: _Optional[int] = ..., sha256: _Optional[bytes] = ..., audio_s: _Optional[float] = ..., backend_s: _Optional[float] = ..., batch_size: _Optional[int] = ..., finished_unix_us: _Optional[int] = ..., revision: _Optional[str] = ..., device: _Optional[str] = ..., warnings: _Optional[_Iterable[str]] = ..., inputs: _Optional[_Iterable[_Union[_inference_pb2.Tensor, _Mapping[str, _Any]]]] = ..., lasting: _Optional[bool] = ..., compute_path: _Optional[str] = ...) -> None: ...

class SubmitJobRequest(_message.Message):
    __slots__ = ("request_id", "spec", "items", "open", "one_time_id")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    SPEC_FIELD_NUMBER: _ClassVar[int]
    ITEMS_FIELD_NUMBER: _ClassVar[int]
    OPEN_FIELD_NUMBER: _ClassVar[int]
    ONE_TIME_ID_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    spec: JobSpec
    items: _containers.RepeatedCompositeFieldContainer[NewItem]
    open: bool
    one_time_id: bool
    def __init__(self, request_id: _Optional[str] = ..., spec: _Optional[_Union[JobSpec, _Mapping[str, _Any]]] = ..., items: _Optional[_Iterable[_Union[NewItem, _Mapping[str, _Any]]]] = ..., open: _Optional[bool] = ..., one_time_id: _Optional[bool] = ...) -> None: ...

class SubmitJobResponse(_message.Message):
    __slots__ = ("job", "existed")
    JOB_FIELD_NUMBER: _ClassVar[int]
    EXISTED_FIELD_NUMBER: _ClassVar[int]
    job: Job
    existed: bool
    def __init__(self, job: _Optional[_Union[Job, _Mapping[str, _Any]]] = ..., existed: _Optional[bool] = ...) -> None: ...

class AddItemsRequest(_message.Message):
    __slots__ = ("job_id", "offset", "items", "seal", "digest")
    JOB_ID_FIELD_NUMBER: _ClassVar[int]
    OFFSET_FIELD_NUMBER: _ClassVar[int]
    ITEMS_FIELD_NUMBER: _ClassVar[int]
    SEAL_FIELD_NUMBER: _ClassVar[int]
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    job_id: str
    offset: int
    items: _containers.RepeatedCompositeFieldContainer[NewItem]
    seal: bool
    digest: bytes
    def __init__(self, job_id: _Optional[str] = ..., offset: _Optional[int] = ..., items: _Optional[_Iterable[_Union[NewItem, _Mapping[str, _Any]]]] = ..., seal: _Optional[bool] = ..., digest: _Optional[bytes] = ...) -> None: ...

class AddItemsResponse(_message.Message):
    __slots__ = ("job",)
    JOB_FIELD_NUMBER: _ClassVar[int]
    job: Job
    def __init__(self, job: _Optional[_Union[Job, _Mapping[str, _Any]]] = ...) -> None: ...

class GetJobRequest(_message.Message):
    __slots__ = ("job_id",)
    JOB_ID_FIELD_NUMBER: _ClassVar[int]
    job_id: str
    def __init__(self, job_id: _Optional[str] = ...) -> None: ...

class GetJobResponse(_message.Message):
    __slots__ = ("job",)
    JOB_FIELD_NUMBER: _ClassVar[int]
    job: Job
    def __init__(self, job: _Optional[_Union[Job, _Mapping[str, _Any]]] = ...) -> None: ...

class ListJobsRequest(_message.Message):
    __slots__ = ("deployment", "states", "page_size", "page_token")
    DEPLOYMENT_FIELD_NUMBER: _ClassVar[int]
    STATES_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    deployment: str
    states: _containers.RepeatedScalarFieldContainer[JobState]
    page_size: int
    page_token: str
    def __init__(self, deployment: _Optional[str] = ..., states: _Optional[_Iterable[_Union[JobState, str]]] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class ListJobsResponse(_message.Message):
    __slots__ = ("jobs", "next_page_token")
    JOBS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    jobs: _containers.RepeatedCompositeFieldContainer[Job]
    next_page_token: str
    def __init__(self, jobs: _Optional[_Iterable[_Union[Job, _Mapping[str, _Any]]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class WatchJobRequest(_message.Message):
    __slots__ = ("job_id", "cursor", "items", "interval_s")
    JOB_ID_FIELD_NUMBER: _ClassVar[int]
    CURSOR_FIELD_NUMBER: _ClassVar[int]
    ITEMS_FIELD_NUMBER: _ClassVar[int]
    INTERVAL_S_FIELD_NUMBER: _ClassVar[int]
    job_id: str
    cursor: int
    items: bool
    interval_s: float
    def __init__(self, job_id: _Optional[str] = ..., cursor: _Optional[int] = ..., items: _Optional[bool] = ..., interval_s: _Optional[float] = ...) -> None: ...

class WatchJobResponse(_message.Message):
    __slots__ = ("cursor", "job", "items")
    CURSOR_FIELD_NUMBER: _ClassVar[int]
    JOB_FIELD_NUMBER: _ClassVar[int]
    ITEMS_FIELD_NUMBER: _ClassVar[int]
    cursor: int
    job: Job
    items: _containers.RepeatedCompositeFieldContainer[Item]
    def __init__(self, cursor: _Optional[int] = ..., job: _Optional[_Union[Job, _Mapping[str, _Any]]] = ..., items: _Optional[_Iterable[_Union[Item, _Mapping[str, _Any]]]] = ...) -> None: ...

class CancelJobRequest(_message.Message):
    __slots__ = ("job_id", "reason")
    JOB_ID_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    job_id: str
    reason: str
    def __init__(self, job_id: _Optional[str] = ..., reason: _Optional[str] = ...) -> None: ...

class CancelJobResponse(_message.Message):
    __slots__ = ("job",)
    JOB_FIELD_NUMBER: _ClassVar[int]
    job: Job
    def __init__(self, job: _Optional[_Union[Job, _Mapping[str, _Any]]] = ...) -> None: ...

class ResumeJobRequest(_message.Message):
    __slots__ = ("job_id", "deadline_unix_us", "deadline_in_s")
    JOB_ID_FIELD_NUMBER: _ClassVar[int]
    DEADLINE_UNIX_US_FIELD_NUMBER: _ClassVar[int]
    DEADLINE_IN_S_FIELD_NUMBER: _ClassVar[int]
    job_id: str
    deadline_unix_us: int
    deadline_in_s: int
    def __init__(self, job_id: _Optional[str] = ..., deadline_unix_us: _Optional[int] = ..., deadline_in_s: _Optional[int] = ...) -> None: ...

class ResumeJobResponse(_message.Message):
    __slots__ = ("job",)
    JOB_FIELD_NUMBER: _ClassVar[int]
    job: Job
    def __init__(self, job: _Optional[_Union[Job, _Mapping[str, _Any]]] = ...) -> None: ...

class ReplaceItemsRequest(_message.Message):
    __slots__ = ("job_id", "items")
    JOB_ID_FIELD_NUMBER: _ClassVar[int]
    ITEMS_FIELD_NUMBER: _ClassVar[int]
    job_id: str
    items: _containers.RepeatedCompositeFieldContainer[NewItem]
    def __init__(self, job_id: _Optional[str] = ..., items: _Optional[_Iterable[_Union[NewItem, _Mapping[str, _Any]]]] = ...) -> None: ...

class ReplaceItemsResponse(_message.Message):
    __slots__ = ("job",)
    JOB_FIELD_NUMBER: _ClassVar[int]
    job: Job
    def __init__(self, job: _Optional[_Union[Job, _Mapping[str, _Any]]] = ...) -> None: ...

class DeleteJobRequest(_message.Message):
    __slots__ = ("job_id", "delete_outputs")
    JOB_ID_FIELD_NUMBER: _ClassVar[int]
    DELETE_OUTPUTS_FIELD_NUMBER: _ClassVar[int]
    job_id: str
    delete_outputs: bool
    def __init__(self, job_id: _Optional[str] = ..., delete_outputs: _Optional[bool] = ...) -> None: ...

class DeleteJobResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ListItemsRequest(_message.Message):
    __slots__ = ("job_id", "states", "page_size", "page_token", "inputs", "offset", "id")
    JOB_ID_FIELD_NUMBER: _ClassVar[int]
    STATES_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    INPUTS_FIELD_NUMBER: _ClassVar[int]
    OFFSET_FIELD_NUMBER: _ClassVar[int]
    ID_FIELD_NUMBER: _ClassVar[int]
    job_id: str
    states: _containers.RepeatedScalarFieldContainer[ItemState]
    page_size: int
    page_token: str
    inputs: bool
    offset: int
    id: str
    def __init__(self, job_id: _Optional[str] = ..., states: _Optional[_Iterable[_Union[ItemState, str]]] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ..., inputs: _Optional[bool] = ..., offset: _Optional[int] = ..., id: _Optional[str] = ...) -> None: ...

class ListItemsResponse(_message.Message):
    __slots__ = ("items", "next_page_token")
    ITEMS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    items: _containers.RepeatedCompositeFieldContainer[Item]
    next_page_token: str
    def __init__(self, items: _Optional[_Iterable[_Union[Item, _Mapping[str, _Any]]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class GetItemOutputRequest(_message.Message):
    __slots__ = ("job_id", "item_id")
    JOB_ID_FIELD_NUMBER: _ClassVar[int]
    ITEM_ID_FIELD_NUMBER: _ClassVar[int]
    job_id: str
    item_id: str
    def __init__(self, job_id: _Optional[str] = ..., item_id: _Optional[str] = ...) -> None: ...

class GetItemOutputResponse(_message.Message):
    __slots__ = ("item", "chunk")
    ITEM_FIELD_NUMBER: _ClassVar[int]
    CHUNK_FIELD_NUMBER: _ClassVar[int]
    item: Item
    chunk: bytes
    def __init__(self, item: _Optional[_Union[Item, _Mapping[str, _Any]]] = ..., chunk: _Optional[bytes] = ...) -> None: ...

class ListOrphansRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class Orphan(_message.Message):
    __slots__ = ("job_id", "output_url", "files", "bytes")
    JOB_ID_FIELD_NUMBER: _ClassVar[int]
    OUTPUT_URL_FIELD_NUMBER: _ClassVar[int]
    FILES_FIELD_NUMBER: _ClassVar[int]
    BYTES_FIELD_NUMBER: _ClassVar[int]
    job_id: str
    output_url: str
    files: int
    bytes: int
    def __init__(self, job_id: _Optional[str] = ..., output_url: _Optional[str] = ..., files: _Optional[int] = ..., bytes: _Optional[int] = ...) -> None: ...

class ListOrphansResponse(_message.Message):
    __slots__ = ("orphan",)
    ORPHAN_FIELD_NUMBER: _ClassVar[int]
    orphan: Orphan
    def __init__(self, orphan: _Optional[_Union[Orphan, _Mapping[str, _Any]]] = ...) -> None: ...

class DeleteOrphanRequest(_message.Message):
    __slots__ = ("job_id",)
    JOB_ID_FIELD_NUMBER: _ClassVar[int]
    job_id: str
    def __init__(self, job_id: _Optional[str] = ...) -> None: ...

class DeleteOrphanResponse(_message.Message):
    __slots__ = ("deleted_files",)
    DELETED_FILES_FIELD_NUMBER: _ClassVar[int]
    deleted_files: int
    def __init__(self, deleted_files: _Optional[int] = ...) -> None: ...

class GetManifestRequest(_message.Message):
    __slots__ = ("job_id",)
    JOB_ID_FIELD_NUMBER: _ClassVar[int]
    job_id: str
    def __init__(self, job_id: _Optional[str] = ...) -> None: ...

class GetManifestResponse(_message.Message):
    __slots__ = ("summary", "chunk")
    SUMMARY_FIELD_NUMBER: _ClassVar[int]
    CHUNK_FIELD_NUMBER: _ClassVar[int]
    summary: bytes
    chunk: bytes
    def __init__(self, summary: _Optional[bytes] = ..., chunk: _Optional[bytes] = ...) -> None: ...
