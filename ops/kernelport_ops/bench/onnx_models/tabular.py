"""Models of rows of numbers: linear ones, trees, a kernel machine, perceptrons, a recommender."""

from typing import Any

import numpy as np
import onnx

from kernelport_ops.bench.onnx_models.graph import ML, ROWS, Graph

_INT64 = onnx.TensorProto.INT64


def linear_regression(graph: Graph) -> None:
    """16 features, as scikit-learn's converters write it."""
    x = graph.input("x", [ROWS, 16])
    coefficients = graph.rng.standard_normal(16).tolist()
    (y,) = graph.add_many("LinearRegressor", x, outputs=1, domain=ML, coefficients=coefficients, intercepts=[0.5])
    graph.output(y, [ROWS, 1])


def logistic_regression(graph: Graph) -> None:
    """64 features scaled, 10 classes: a label and probabilities."""
    x = graph.input("x", [ROWS, 64])
    (scaled,) = graph.add_many("Scaler", x, outputs=1, domain=ML, offset=[0.5] * 64, scale=[2.0] * 64)
    label, probabilities = graph.add_many(
        "LinearClassifier",
        scaled,
        outputs=2,
        domain=ML,
        classlabels_ints=list(range(10)),
        coefficients=graph.rng.standard_normal(640).tolist(),
        intercepts=[0.0] * 10,
        post_transform="SOFTMAX",
    )
    graph.output(label, [ROWS], _INT64)
    graph.output(probabilities, [ROWS, 10])


def kernel_machine(graph: Graph) -> None:
    """A support vector regression: 2,000 vectors of 64 features, radial basis functions."""
    vectors, width = 2000, 64
    x = graph.input("x", [ROWS, width])
    (y,) = graph.add_many(
        "SVMRegressor",
        x,
        outputs=1,
        domain=ML,
        coefficients=graph.rng.standard_normal(vectors).tolist(),
        support_vectors=graph.rng.random(vectors * width).tolist(),
        kernel_params=[0.05, 0.0, 3.0],
        kernel_type="RBF",
        n_supports=vectors,
        rho=[0.1],
    )
    graph.output(y, [ROWS, 1])


def random_forest(graph: Graph) -> None:
    """200 balanced trees of 256 leaves over 32 features, 3 classes."""
    x = graph.input("x", [ROWS, 32])
    nodes, leaves = _trees(graph.rng, trees=200, leaves=256, features=32, balanced=True)
    classes = range(3)
    label, probabilities = graph.add_many(
        "TreeEnsembleClassifier",
        x,
        outputs=2,
        domain=ML,
        classlabels_int64s=list(classes),
        class_treeids=[tree for tree, _ in leaves for _ in classes],
        class_nodeids=[node for _, node in leaves for _ in classes],
        class_ids=[each for _ in leaves for each in classes],
        class_weights=(graph.rng.dirichlet(np.ones(3), len(leaves)).ravel() / 200).tolist(),
        **nodes,
    )
    graph.output(label, [ROWS], _INT64)
    graph.output(probabilities, [ROWS, 3])


def boosted_trees(graph: Graph) -> None:
    """1,000 trees of 31 leaves, each grown at one leaf after the other as LightGBM does, over 100 features."""
    x = graph.input("x", [ROWS, 100])
    nodes, leaves = _trees(graph.rng, trees=1000, leaves=31, features=100, balanced=False)
    (y,) = graph.add_many(
        "TreeEnsembleRegressor",
        x,
        outputs=1,
        domain=ML,
        n_targets=1,
        target_treeids=[tree for tree, _ in leaves],
        target_nodeids=[node for _, node in leaves],
        target_ids=[0] * len(leaves),
        target_weights=(0.1 * graph.rng.standard_normal(len(leaves))).tolist(),
        **nodes,
    )
    graph.output(y, [ROWS, 1])


def perceptron(graph: Graph) -> None:
    """64 features, two hidden layers of 128."""
    x = graph.input("x", [ROWS, 64])
    hidden = graph.dense(graph.dense(x, 64, 128, "Relu"), 128, 128, "Relu")
    graph.output(graph.add("Softmax", graph.dense(hidden, 128, 10), axis=-1), [ROWS, 10])


def quantised_perceptron(graph: Graph) -> None:
    """Three layers of 1,024 in int8. The scale of each layer's input is taken over all rows, so rows are not alone."""
    width = 1024
    x = graph.input("x", [ROWS, width])
    for _ in range(3):
        quantised, scale, zero = graph.add_many("DynamicQuantizeLinear", x, outputs=3)
        weights = graph.constant(graph.rng.integers(-127, 128, (width, width)), np.int8)
        product = graph.add("MatMulInteger", quantised, weights, zero)
        scale = graph.add("Mul", scale, graph.constant(1 / (64 * np.sqrt(width))))
        x = graph.add("Relu", graph.add("Mul", graph.add("Cast", product, to=onnx.TensorProto.FLOAT), scale))
    graph.output(x, [ROWS, width])


def recommender(graph: Graph) -> None:
    """Eight embeddings from a table of 250,000 by 64, 16 numbers beside them, a perceptron on top. 61 MiB."""
    ids, numbers = graph.input("ids", [ROWS, 8], _INT64), graph.input("x", [ROWS, 16])
    embedded = graph.add("Gather", graph.weights(250_000, 64, fan_in=64), ids)
    features = graph.add("Concat", graph.reshape(embedded, 0, 512), numbers, axis=1)
    hidden = graph.dense(graph.dense(features, 528, 512, "Relu"), 512, 128, "Relu")
    graph.output(graph.add("Sigmoid", graph.dense(hidden, 128, 1)), [ROWS, 1])


def matmul_stack(graph: Graph) -> None:
    """Twelve layers of 2,048. 192 MiB: a row alone reads all of it for next to no arithmetic."""
    width = 2048
    x = graph.input("x", [ROWS, width])
    for _ in range(12):
        x = graph.dense(x, width, width, "Relu")
    graph.output(x, [ROWS, width])


def _trees(
    rng: np.random.Generator, trees: int, leaves: int, features: int, balanced: bool
) -> tuple[dict[str, Any], list[tuple[int, int]]]:
    """An ensemble's nodes as ai.onnx.ml has them, and its leaves as (tree, node)."""
    found: dict[str, Any] = {}
    ends: list[tuple[int, int]] = []
    for tree in range(trees):
        children: dict[int, tuple[int, int]] = {}
        open_leaves = [0]
        while len(open_leaves) < leaves:
            node = open_leaves.pop(0 if balanced else int(rng.integers(len(open_leaves))))
            size = 2 * len(children) + 1
            children[node] = (size, size + 1)
            open_leaves += children[node]
        ends += [(tree, node) for node in sorted(open_leaves)]
        count = 2 * leaves - 1
        _extend(
            found,
            nodes_treeids=[tree] * count,
            nodes_nodeids=list(range(count)),
            nodes_featureids=rng.integers(features, size=count).tolist(),
            nodes_values=rng.random(count).tolist(),
            nodes_modes=["BRANCH_LEQ" if node in children else "LEAF" for node in range(count)],
            nodes_truenodeids=[children.get(node, (0, 0))[0] for node in range(count)],
            nodes_falsenodeids=[children.get(node, (0, 0))[1] for node in range(count)],
        )
    return found, ends


def _extend(lists: dict[str, Any], **more: list[Any]) -> None:
    for name, values in more.items():
        lists.setdefault(name, []).extend(values)
