from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import Any as _Any, ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class DType(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    DTYPE_UNSPECIFIED: _ClassVar[DType]
    F32: _ClassVar[DType]
    F16: _ClassVar[DType]
    I64: _ClassVar[DType]
    I32: _ClassVar[DType]
    U8: _ClassVar[DType]
    F64: _ClassVar[DType]
    I8: _ClassVar[DType]
    I16: _ClassVar[DType]
    U16: _ClassVar[DType]
    U32: _ClassVar[DType]
    U64: _ClassVar[DType]
    BOOL: _ClassVar[DType]
    BF16: _ClassVar[DType]
    STRING: _ClassVar[DType]
DTYPE_UNSPECIFIED: DType
F32: DType
F16: DType
I64: DType
I32: DType
U8: DType
F64: DType
I8: DType
I16: DType
U16: DType
U32: DType
U64: DType
BOOL: DType
BF16: DType
STRING: DType

class Tensor(_message.Message):
    __slots__ = ("name", "dtype", "shape", "data")
    NAME_FIELD_NUMBER: _ClassVar[int]
    DTYPE_FIELD_NUMBER: _ClassVar[int]
    SHAPE_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    name: str
    dtype: DType
    shape: _containers.RepeatedScalarFieldContainer[int]
    data: bytes
    def __init__(self, name: _Optional[str] = ..., dtype: _Optional[_Union[DType, str]] = ..., shape: _Optional[_Iterable[int]] = ..., data: _Optional[bytes] = ...) -> None: ...

class InferRequest(_message.Message):
    __slots__ = ("model", "inputs", "request_id", "resume_from", "outputs")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    INPUTS_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    RESUME_FROM_FIELD_NUMBER: _ClassVar[int]
    OUTPUTS_FIELD_NUMBER: _ClassVar[int]
    model: str
    inputs: _containers.RepeatedCompositeFieldContainer[Tensor]
    request_id: str
    resume_from: int
    outputs: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, model: _Optional[str] = ..., inputs: _Optional[_Iterable[_Union[Tensor, _Mapping[str, _Any]]]] = ..., request_id: _Optional[str] = ..., resume_from: _Optional[int] = ..., outputs: _Optional[_Iterable[str]] = ...) -> None: ...

class InferResponse(_message.Message):
    __slots__ = ("outputs", "queued_us", "batched_us", "backend_us", "warnings", "sequence", "last")
    OUTPUTS_FIELD_NUMBER: _ClassVar[int]
    QUEUED_US_FIELD_NUMBER: _ClassVar[int]
    BATCHED_US_FIELD_NUMBER: _ClassVar[int]
    BACKEND_US_FIELD_NUMBER: _ClassVar[int]
    WARNINGS_FIELD_NUMBER: _ClassVar[int]
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    LAST_FIELD_NUMBER: _ClassVar[int]
    outputs: _containers.RepeatedCompositeFieldContainer[Tensor]
    queued_us: int
    batched_us: int
    backend_us: int
    warnings: _containers.RepeatedScalarFieldContainer[str]
    sequence: int
    last: bool
    def __init__(self, outputs: _Optional[_Iterable[_Union[Tensor, _Mapping[str, _Any]]]] = ..., queued_us: _Optional[int] = ..., batched_us: _Optional[int] = ..., backend_us: _Optional[int] = ..., warnings: _Optional[_Iterable[str]] = ..., sequence: _Optional[int] = ..., last: _Optional[bool] = ...) -> None: ...

class InferChunk(_message.Message):
    __slots__ = ("data",)
    DATA_FIELD_NUMBER: _ClassVar[int]
    data: bytes
    def __init__(self, data: _Optional[bytes] = ...) -> None: ...
