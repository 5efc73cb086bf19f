"""Writes ONNX graphs node by node, with random weights."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

ROWS = "N"
ML = "ai.onnx.ml"
_IR_VERSION = 8
_OPSETS = {"": 17, ML: 3}


class Graph:
    """A graph that is being made. Tensors are known by name; the weights are the same every time."""

    def __init__(self) -> None:
        self.rng = np.random.default_rng(0)
        self._nodes: list[Any] = []
        self._initializers: list[Any] = []
        self._inputs: list[Any] = []
        self._outputs: list[Any] = []
        self._count = 0

    def input(self, name: str, shape: Sequence[int | str], dtype: int = onnx.TensorProto.FLOAT) -> str:
        """An input of the model."""
        self._inputs.append(helper.make_tensor_value_info(name, dtype, shape))
        return name

    def output(self, tensor: str, shape: Sequence[int | str], dtype: int = onnx.TensorProto.FLOAT) -> None:
        """Makes a tensor an output of the model."""
        self._outputs.append(helper.make_tensor_value_info(tensor, dtype, shape))

    def constant(self, value: Any, dtype: Any = np.float32) -> str:
        """An initializer."""
        name = self._name("constant")
        self._initializers.append(numpy_helper.from_array(np.asarray(value, dtype), name))
        return name

    def weights(self, *shape: int, fan_in: int) -> str:
        """Random weights that keep the scale of what they are multiplied with."""
        return self.constant(self.rng.standard_normal(shape, np.float32) / math.sqrt(fan_in))

    def add(self, operator: str, *inputs: str, **attributes: Any) -> str:
        """A node with one output: its name."""
        return self.add_many(operator, *inputs, outputs=1, **attributes)[0]

    def add_many(self, operator: str, *inputs: str, outputs: int, domain: str = "", **attributes: Any) -> list[str]:
        """A node with several outputs: their names. An empty input is one that is left out."""
        names = [self._name(operator) for _ in range(outputs)]
        self._nodes.append(helper.make_node(operator, inputs, names, domain=domain, **attributes))
        return names

    def dense(self, x: str, width_in: int, width_out: int, activation: str = "") -> str:
        """A fully connected layer over the last axis."""
        y = self.add("MatMul", x, self.weights(width_in, width_out, fan_in=width_in))
        y = self.add("Add", y, self.constant(np.zeros(width_out)))
        return self.add(activation, y) if activation else y

    def convolution(self, x: str, channels_in: int, channels_out: int, size: int = 3, stride: int = 1) -> str:
        """A convolution that keeps the image's size, divided by the stride; then a batch normalization and a ReLU."""
        weights = self.weights(channels_out, channels_in, size, size, fan_in=channels_in * size * size)
        pad = size // 2
        y = self.add("Conv", x, weights, strides=[stride, stride], pads=[pad] * 4)
        statistics = [self.constant(np.full(channels_out, value)) for value in (1, 0, 0, 1)]
        return self.add("Relu", self.add("BatchNormalization", y, *statistics))

    def layer_normalization(self, x: str, width: int) -> str:
        """Over the last axis."""
        return self.add("LayerNormalization", x, self.constant(np.ones(width)), self.constant(np.zeros(width)), axis=-1)

    def reshape(self, x: str, *shape: int) -> str:
        """To a shape in which 0 stands for the size as it was."""
        return self.add("Reshape", x, self.constant(shape, np.int64))

    def save(self, path: Path) -> None:
        """Checks the model and writes it to a file."""
        graph = helper.make_graph(self._nodes, "model", self._inputs, self._outputs, self._initializers)
        opsets = [helper.make_opsetid(domain, version) for domain, version in _OPSETS.items()]
        model = helper.make_model(graph, opset_imports=opsets, ir_version=_IR_VERSION, producer_name="kernelport")
        onnx.checker.check_model(model)
        onnx.save(model, path)

    def _name(self, prefix: str) -> str:
        self._count += 1
        return f"{prefix}_{self._count}"
