"""The warm-up inputs of a manifest, as arrays that fit the model."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from kernelport import npz
from kernelport.coercion import coerce, to_tensors
from kernelport.config.manifests import Filled, FromFile, OnnxSettings
from kernelport.errors import InvalidArgumentError
from kernelport.signature import Declared, Signature, TensorSpec
from kernelport.tensors import Array
from kernelport_workers.backends.base import LoadError


def read_warm_up(
    settings: OnnxSettings, files: Mapping[str, Path], inputs: Sequence[TensorSpec]
) -> list[dict[str, Array]]:
    """The requests in `warm_up`, each with its arrays by name.

    Args:
        files: where the files that the settings name are.
        inputs: what the model declares.

    Raises:
        LoadError: when a file cannot be read, or a request is not one that the model takes.
    """
    signature, declared = Signature(inputs=inputs), Declared(inputs)
    requests = []
    for index, tensors in enumerate(settings.warm_up):
        try:
            request = coerce({name: _value(name, tensor, files) for name, tensor in tensors.items()}, signature)
            findings = [violation.description for violation in declared.violations(to_tensors(request))]
        except (InvalidArgumentError, OSError, ValueError, MemoryError) as error:
            findings = [str(error)]
        if findings:
            raise LoadError(f"onnx.warm_up.{index}: {'; '.join(findings)}")
        requests.append(request)
    return requests


def _value(name: str, tensor: Any, files: Mapping[str, Path]) -> Any:
    match tensor:
        case Filled(shape=shape, fill=fill):
            return np.full(shape, fill, dtype=object if isinstance(fill, str) else None)
        case FromFile(file=file):
            arrays = npz.read(files[file])
            if name not in arrays:
                raise ValueError(f"{name}: expected one of {', '.join(arrays)}, the arrays in {file}")
            return arrays[name]
        case _:
            return tensor
