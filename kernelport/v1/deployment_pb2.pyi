from kernelport.v1 import inference_pb2 as _inference_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import Any as _Any, ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class DeploymentState(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    DEPLOYMENT_STATE_UNSPECIFIED: _ClassVar[DeploymentState]
    DEPLOYMENT_STATE_UNAVAILABLE: _ClassVar[DeploymentState]
    DEPLOYMENT_STATE_SERVING: _ClassVar[DeploymentState]

class RowIndependence(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ROW_INDEPENDENCE_UNSPECIFIED: _ClassVar[RowIndependence]
    ROW_INDEPENDENCE_PROVEN: _ClassVar[RowIndependence]
    ROW_INDEPENDENCE_DECLARED: _ClassVar[RowIndependence]
    ROW_INDEPENDENCE_UNKNOWN: _ClassVar[RowIndependence]
    ROW_INDEPENDENCE_REFUTED: _ClassVar[RowIndependence]
DEPLOYMENT_STATE_UNSPECIFIED: DeploymentState
DEPLOYMENT_STATE_UNAVAILABLE: DeploymentState
DEPLOYMENT_STATE_SERVING: DeploymentState
ROW_INDEPENDENCE_UNSPECIFIED: RowIndependence
ROW_INDEPENDENCE_PROVEN: RowIndependence
ROW_INDEPENDENCE_DECLARED: RowIndependence
ROW_INDEPENDENCE_UNKNOWN: RowIndependence
ROW_INDEPENDENCE_REFUTED: RowIndependence

class ListDeploymentsRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ListDeploymentsResponse(_message.Message):
    __slots__ = ("deployments",)
    DEPLOYMENTS_FIELD_NUMBER: _ClassVar[int]
    deployments: _containers.RepeatedCompositeFieldContainer[Deployment]
    def __init__(self, deployments: _Optional[_Iterable[_Union[Deployment, _Mapping[str, _Any]]]] = ...) -> None: ...

class GetDeploymentRequest(_message.Message):
    __slots__ = ("name",)
    NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    def __init__(self, name: _Optional[str] = ...) -> None: ...

class GetDeploymentResponse(_message.Message):
    __slots__ = ("deployment",)
    DEPLOYMENT_FIELD_NUMBER: _ClassVar[int]
    deployment: Deployment
    def __init__(self, deployment: _Optional[_Union[Deployment, _Mapping[str, _Any]]] = ...) -> None: ...

class Deployment(_message.Message):
    __slots__ = ("name", "backend", "manifest", "image", "state", "live_workers", "signature", "policy", "workers", "front_doors", "settings")
    NAME_FIELD_NUMBER: _ClassVar[int]
    BACKEND_FIELD_NUMBER: _ClassVar[int]
    MANIFEST_FIELD_NUMBER: _ClassVar[int]
    IMAGE_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    LIVE_WORKERS_FIELD_NUMBER: _ClassVar[int]
    SIGNATURE_FIELD_NUMBER: _ClassVar[int]
    POLICY_FIELD_NUMBER: _ClassVar[int]
    WORKERS_FIELD_NUMBER: _ClassVar[int]
    FRONT_DOORS_FIELD_NUMBER: _ClassVar[int]
    SETTINGS_FIELD_NUMBER: _ClassVar[int]
    name: str
    backend: str
    manifest: str
    image: str
    state: DeploymentState
    live_workers: int
    signature: Signature
    policy: Policy
    workers: _containers.RepeatedCompositeFieldContainer[Worker]
    front_doors: _containers.RepeatedCompositeFieldContainer[FrontDoor]
    settings: str
    def __init__(self, name: _Optional[str] = ..., backend: _Optional[str] = ..., manifest: _Optional[str] = ..., image: _Optional[str] = ..., state: _Optional[_Union[DeploymentState, str]] = ..., live_workers: _Optional[int] = ..., signature: _Optional[_Union[Signature, _Mapping[str, _Any]]] = ..., policy: _Optional[_Union[Policy, _Mapping[str, _Any]]] = ..., workers: _Optional[_Iterable[_Union[Worker, _Mapping[str, _Any]]]] = ..., front_doors: _Optional[_Iterable[_Union[FrontDoor, _Mapping[str, _Any]]]] = ..., settings: _Optional[str] = ...) -> None: ...

class Worker(_message.Message):
    __slots__ = ("id", "host", "pid", "device", "ready_unix_s", "revision", "compute_path", "jobs_refused", "version", "deployments_file", "settings", "clock_ahead_s")
    ID_FIELD_NUMBER: _ClassVar[int]
    HOST_FIELD_NUMBER: _ClassVar[int]
    PID_FIELD_NUMBER: _ClassVar[int]
    DEVICE_FIELD_NUMBER: _ClassVar[int]
    READY_UNIX_S_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    COMPUTE_PATH_FIELD_NUMBER: _ClassVar[int]
    JOBS_REFUSED_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    DEPLOYMENTS_FILE_FIELD_NUMBER: _ClassVar[int]
    SETTINGS_FIELD_NUMBER: _ClassVar[int]
    CLOCK_AHEAD_S_FIELD_NUMBER: _ClassVar[int]
    id: str
    host: str
    pid: int
    device: str
    ready_unix_s: int
    revision: str
    compute_path: str
    jobs_refused: str
    version: str
    deployments_file: str
    settings: str
    clock_ahead_s: float
    def __init__(self, id: _Optional[str] = ..., host: _Optional[str] = ..., pid: _Optional[int] = ..., device: _Optional[str] = ..., ready_unix_s: _Optional[int] = ..., revision: _Optional[str] = ..., compute_path: _Optional[str] = ..., jobs_refused: _Optional[str] = ..., version: _Optional[str] = ..., deployments_file: _Optional[str] = ..., settings: _Optional[str] = ..., clock_ahead_s: _Optional[float] = ...) -> None: ...

class FrontDoor(_message.Message):
    __slots__ = ("name", "host", "pid", "version", "deployments_file", "settings", "clock_ahead_s")
    NAME_FIELD_NUMBER: _ClassVar[int]
    HOST_FIELD_NUMBER: _ClassVar[int]
    PID_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    DEPLOYMENTS_FILE_FIELD_NUMBER: _ClassVar[int]
    SETTINGS_FIELD_NUMBER: _ClassVar[int]
    CLOCK_AHEAD_S_FIELD_NUMBER: _ClassVar[int]
    name: str
    host: str
    pid: int
    version: str
    deployments_file: str
    settings: str
    clock_ahead_s: float
    def __init__(self, name: _Optional[str] = ..., host: _Optional[str] = ..., pid: _Optional[int] = ..., version: _Optional[str] = ..., deployments_file: _Optional[str] = ..., settings: _Optional[str] = ..., clock_ahead_s: _Optional[float] = ...) -> None: ...

class Signature(_message.Message):
    __slots__ = ("inputs", "outputs", "batchable", "row_independence", "reason")
    INPUTS_FIELD_NUMBER: _ClassVar[int]
    OUTPUTS_FIELD_NUMBER: _ClassVar[int]
    BATCHABLE_FIELD_NUMBER: _ClassVar[int]
    ROW_INDEPENDENCE_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    inputs: _containers.RepeatedCompositeFieldContainer[TensorSpec]
    outputs: _containers.RepeatedCompositeFieldContainer[TensorSpec]
    batchable: bool
    row_independence: RowIndependence
    reason: str
    def __init__(self, inputs: _Optional[_Iterable[_Union[TensorSpec, _Mapping[str, _Any]]]] = ..., outputs: _Optional[_Iterable[_Union[TensorSpec, _Mapping[str, _Any]]]] = ..., batchable: _Optional[bool] = ..., row_independence: _Optional[_Union[RowIndependence, str]] = ..., reason: _Optional[str] = ...) -> None: ...

class TensorSpec(_message.Message):
    __slots__ = ("name", "dtype", "shape", "ranked", "optional", "description", "other_dtypes", "batch_axis", "pads", "minimum", "maximum", "max_characters", "max_digits", "choices", "names_voice", "default_value", "languages")
    NAME_FIELD_NUMBER: _ClassVar[int]
    DTYPE_FIELD_NUMBER: _ClassVar[int]
    SHAPE_FIELD_NUMBER: _ClassVar[int]
    RANKED_FIELD_NUMBER: _ClassVar[int]
    OPTIONAL_FIELD_NUMBER: _ClassVar[int]
    DESCRIPTION_FIELD_NUMBER: _ClassVar[int]
    OTHER_DTYPES_FIELD_NUMBER: _ClassVar[int]
    BATCH_AXIS_FIELD_NUMBER: _ClassVar[int]
    PADS_FIELD_NUMBER: _ClassVar[int]
    MINIMUM_FIELD_NUMBER: _ClassVar[int]
    MAXIMUM_FIELD_NUMBER: _ClassVar[int]
    MAX_CHARACTERS_FIELD_NUMBER: _ClassVar[int]
    MAX_DIGITS_FIELD_NUMBER: _ClassVar[int]
    CHOICES_FIELD_NUMBER: _ClassVar[int]
    NAMES_VOICE_FIELD_NUMBER: _ClassVar[int]
    DEFAULT_VALUE_FIELD_NUMBER: _ClassVar[int]
    LANGUAGES_FIELD_NUMBER: _ClassVar[int]
    name: str
    dtype: _inference_pb2.DType
    shape: _containers.RepeatedCompositeFieldContainer[Dimension]
    ranked: bool
    optional: bool
    description: str
    other_dtypes: _containers.RepeatedScalarFieldContainer[_inference_pb2.DType]
    batch_axis: int
    pads: _containers.RepeatedCompositeFieldContainer[Pad]
    minimum: float
    maximum: float
    max_characters: int
    max_digits: int
    choices: _containers.RepeatedScalarFieldContainer[str]
    names_voice: bool
    default_value: float
    languages: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, name: _Optional[str] = ..., dtype: _Optional[_Union[_inference_pb2.DType, str]] = ..., shape: _Optional[_Iterable[_Union[Dimension, _Mapping[str, _Any]]]] = ..., ranked: _Optional[bool] = ..., optional: _Optional[bool] = ..., description: _Optional[str] = ..., other_dtypes: _Optional[_Iterable[_Union[_inference_pb2.DType, str]]] = ..., batch_axis: _Optional[int] = ..., pads: _Optional[_Iterable[_Union[Pad, _Mapping[str, _Any]]]] = ..., minimum: _Optional[float] = ..., maximum: _Optional[float] = ..., max_characters: _Optional[int] = ..., max_digits: _Optional[int] = ..., choices: _Optional[_Iterable[str]] = ..., names_voice: _Optional[bool] = ..., default_value: _Optional[float] = ..., languages: _Optional[_Iterable[str]] = ...) -> None: ...

class Pad(_message.Message):
    __slots__ = ("axis", "value", "follows", "follows_axis")
    AXIS_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    FOLLOWS_FIELD_NUMBER: _ClassVar[int]
    FOLLOWS_AXIS_FIELD_NUMBER: _ClassVar[int]
    axis: int
    value: float
    follows: str
    follows_axis: int
    def __init__(self, axis: _Optional[int] = ..., value: _Optional[float] = ..., follows: _Optional[str] = ..., follows_axis: _Optional[int] = ...) -> None: ...

class Dimension(_message.Message):
    __slots__ = ("size", "symbol")
    SIZE_FIELD_NUMBER: _ClassVar[int]
    SYMBOL_FIELD_NUMBER: _ClassVar[int]
    size: int
    symbol: str
    def __init__(self, size: _Optional[int] = ..., symbol: _Optional[str] = ...) -> None: ...

class Policy(_message.Message):
    __slots__ = ("max_batch", "max_batch_bytes", "request_timeout_s", "device", "max_waiting", "max_waiting_bytes", "max_attempts", "wait_for_worker", "max_rows", "batch_axes")
    MAX_BATCH_FIELD_NUMBER: _ClassVar[int]
    MAX_BATCH_BYTES_FIELD_NUMBER: _ClassVar[int]
    REQUEST_TIMEOUT_S_FIELD_NUMBER: _ClassVar[int]
    DEVICE_FIELD_NUMBER: _ClassVar[int]
    MAX_WAITING_FIELD_NUMBER: _ClassVar[int]
    MAX_WAITING_BYTES_FIELD_NUMBER: _ClassVar[int]
    MAX_ATTEMPTS_FIELD_NUMBER: _ClassVar[int]
    WAIT_FOR_WORKER_FIELD_NUMBER: _ClassVar[int]
    MAX_ROWS_FIELD_NUMBER: _ClassVar[int]
    BATCH_AXES_FIELD_NUMBER: _ClassVar[int]
    max_batch: int
    max_batch_bytes: int
    request_timeout_s: float
    device: str
    max_waiting: int
    max_waiting_bytes: int
    max_attempts: int
    wait_for_worker: bool
    max_rows: int
    batch_axes: str
    def __init__(self, max_batch: _Optional[int] = ..., max_batch_bytes: _Optional[int] = ..., request_timeout_s: _Optional[float] = ..., device: _Optional[str] = ..., max_waiting: _Optional[int] = ..., max_waiting_bytes: _Optional[int] = ..., max_attempts: _Optional[int] = ..., wait_for_worker: _Optional[bool] = ..., max_rows: _Optional[int] = ..., batch_axes: _Optional[str] = ...) -> None: ...
