"""The twenty models, and what a request of each has in it."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from kernelport.tensors import Array
from kernelport_ops.bench.onnx_models import perception, tabular
from kernelport_ops.bench.onnx_models.graph import Graph

Shapes = dict[str, tuple[int, ...]]


@dataclass(frozen=True)
class Model:
    """One model.

    Attributes:
        name: also that of its deployment.
        build: makes its graph; its docstring says what it is.
        shapes: the inputs of a request of one row. `ids` are I64 below `largest_id`, the others F32 in 0..1.
    """

    name: str
    build: Callable[[Graph], None]
    shapes: Shapes
    largest_id: int = 0

    def write(self, path: Path) -> None:
        """Writes the model to a file."""
        graph = Graph()
        self.build(graph)
        graph.save(path)

    def inputs(self) -> dict[str, Array]:
        """A request, the same every time: at most 64 KiB."""
        rng = np.random.default_rng(1)
        return {
            name: rng.integers(self.largest_id, size=shape) if name == "ids" else rng.random(shape, np.float32)
            for name, shape in self.shapes.items()
        }


MODELS = [
    Model("linear-regression", tabular.linear_regression, {"x": (1, 16)}),
    Model("logistic-regression", tabular.logistic_regression, {"x": (1, 64)}),
    Model("kernel-machine", tabular.kernel_machine, {"x": (1, 64)}),
    Model("random-forest", tabular.random_forest, {"x": (1, 32)}),
    Model("boosted-trees", tabular.boosted_trees, {"x": (1, 100)}),
    Model("perceptron", tabular.perceptron, {"x": (1, 64)}),
    Model("quantised-perceptron", tabular.quantised_perceptron, {"x": (1, 1024)}),
    Model("recommender", tabular.recommender, {"ids": (1, 8), "x": (1, 16)}, largest_id=250_000),
    Model("matmul-stack", tabular.matmul_stack, {"x": (1, 2048)}),
    Model("digits", perception.digits, {"x": (1, 1, 28, 28)}),
    Model("residual-network", perception.residual_network, {"x": (1, 3, 72, 72)}),
    Model("depthwise-network", perception.depthwise_network, {"x": (1, 3, 72, 72)}),
    Model("segmentation", perception.segmentation, {"x": (1, 1, 128, 128)}),
    Model("detector", perception.detector, {"x": (1, 3, 72, 72)}),
    Model("lstm", perception.lstm, {"x": (1, 100, 64)}),
    Model("bidirectional-gru", perception.bidirectional_gru, {"x": (1, 50, 40)}),
    Model("text-convolution", perception.text_convolution, {"ids": (1, 128)}, largest_id=20_000),
    Model("transformer-block", perception.transformer_block, {"x": (1, 64, 128)}),
    Model("small-encoder", perception.small_encoder, {"ids": (1, 64)}, largest_id=8000),
    Model("large-encoder", perception.large_encoder, {"ids": (1, 32)}, largest_id=30_000),
]
