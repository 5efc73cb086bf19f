"""Models of images, sequences and texts."""

import itertools
import math

import numpy as np
import onnx

from kernelport_ops.bench.onnx_models.graph import ROWS, Graph

_INT64 = onnx.TensorProto.INT64


def digits(graph: Graph) -> None:
    """A small convolutional classifier of 28 by 28 pixels."""
    x = graph.input("x", [ROWS, 1, 28, 28])
    x = graph.convolution(graph.convolution(x, 1, 16, stride=2), 16, 32, stride=2)
    graph.output(graph.dense(graph.reshape(x, 0, 32 * 7 * 7), 32 * 7 * 7, 10), [ROWS, 10])


def residual_network(graph: Graph) -> None:
    """Eight residual blocks of 32 to 256 channels on 72 by 72 pixels."""
    x = graph.convolution(graph.input("x", [ROWS, 3, 72, 72]), 3, 32)
    channels = 32
    for wider in (32, 32, 64, 64, 128, 128, 256, 256):
        stride = 1 if wider == channels else 2
        inner = graph.convolution(graph.convolution(x, channels, wider, stride=stride), wider, wider)
        beside = x if stride == 1 else graph.convolution(x, channels, wider, size=1, stride=2)
        x, channels = graph.add("Relu", graph.add("Add", inner, beside)), wider
    _classify(graph, x, channels)


def depthwise_network(graph: Graph) -> None:
    """Depthwise and pointwise convolutions in turn, on 72 by 72 pixels."""
    x = graph.convolution(graph.input("x", [ROWS, 3, 72, 72]), 3, 32, stride=2)
    channels = 32
    for wider in (64, 64, 128, 128, 256, 256):
        stride = 1 if wider == channels else 2
        weights = graph.weights(channels, 1, 3, 3, fan_in=9)
        x = graph.add("Conv", x, weights, group=channels, pads=[1] * 4, strides=[stride, stride])
        x = graph.add("Clip", x, graph.constant(0), graph.constant(6))
        x, channels = graph.convolution(x, channels, wider, size=1), wider
    _classify(graph, x, channels)


def segmentation(graph: Graph) -> None:
    """Down and up again with skips: 128 by 128 pixels in, a mask of the same size out."""
    levels = [graph.convolution(graph.input("x", [ROWS, 1, 128, 128]), 1, 16)]
    widths = (16, 32, 64)
    for narrow, wide in itertools.pairwise(widths):
        levels.append(graph.convolution(levels[-1], narrow, wide, stride=2))
    x = graph.convolution(levels.pop(), widths[-1], widths[-1])
    for wide, narrow in zip(widths[:0:-1], widths[-2::-1], strict=True):
        x = graph.add("Resize", x, "", graph.constant([1, 1, 2, 2]), mode="nearest")
        x = graph.convolution(graph.add("Concat", x, levels.pop(), axis=1), wide + narrow, narrow)
    mask = graph.add("Conv", x, graph.weights(1, 16, 1, 1, fan_in=16))
    graph.output(graph.add("Sigmoid", mask), [ROWS, 1, 128, 128])


def detector(graph: Graph) -> None:
    """Boxes of one image of 72 by 72 pixels, of which the overlapping are left out. Takes one image a run."""
    x = graph.input("x", [1, 3, 72, 72])
    for narrow, wide in ((3, 32), (32, 64), (64, 128)):
        x = graph.convolution(graph.convolution(x, narrow, wide, stride=2), wide, wide)
    found = graph.add("Conv", x, graph.weights(15, 128, 1, 1, fan_in=128))
    found = graph.add("Sigmoid", graph.reshape(graph.add("Transpose", found, perm=[0, 2, 3, 1]), 1, 243, 5))
    boxes, scores = graph.add_many("Split", found, graph.constant([4, 1], np.int64), outputs=2, axis=2)
    scores = graph.add("Transpose", scores, perm=[0, 2, 1])
    limits = (graph.constant(20, np.int64), graph.constant(0.5), graph.constant(0.1))
    selected = graph.add("NonMaxSuppression", boxes, scores, *limits)
    graph.output(boxes, [1, 243, 4])
    graph.output(selected, ["found", 3], _INT64)


def lstm(graph: Graph) -> None:
    """100 steps of 64 numbers, 256 units."""
    steps, width, units = 100, 64, 256
    x = graph.add("Transpose", graph.input("x", [ROWS, steps, width]), perm=[1, 0, 2])
    weights = (graph.weights(1, 4 * units, width, fan_in=width), graph.weights(1, 4 * units, units, fan_in=units))
    _, last = graph.add_many("LSTM", x, *weights, outputs=2, hidden_size=units)
    graph.output(graph.dense(graph.add("Squeeze", last, graph.constant([0], np.int64)), units, 10), [ROWS, 10])


def bidirectional_gru(graph: Graph) -> None:
    """50 steps of 40 numbers, 128 units in each direction; an answer for every step."""
    steps, width, units = 50, 40, 128
    x = graph.add("Transpose", graph.input("x", [ROWS, steps, width]), perm=[1, 0, 2])
    weights = (graph.weights(2, 3 * units, width, fan_in=width), graph.weights(2, 3 * units, units, fan_in=units))
    y, _ = graph.add_many("GRU", x, *weights, outputs=2, hidden_size=units, direction="bidirectional")
    y = graph.reshape(graph.add("Transpose", y, perm=[2, 0, 1, 3]), 0, steps, 2 * units)
    graph.output(graph.dense(y, 2 * units, 20), [ROWS, steps, 20])


def text_convolution(graph: Graph) -> None:
    """128 tokens embedded, a convolution over them, the largest of each channel, a classifier."""
    tokens, width = 128, 128
    x = graph.add("Gather", graph.weights(20_000, width, fan_in=width), graph.input("ids", [ROWS, tokens], _INT64))
    x = graph.add("Conv", graph.add("Transpose", x, perm=[0, 2, 1]), graph.weights(256, width, 5, fan_in=5 * width))
    x = graph.add("ReduceMax", graph.add("Relu", x), axes=[2], keepdims=0)
    graph.output(graph.dense(x, 256, 20), [ROWS, 20])


def transformer_block(graph: Graph) -> None:
    """One block of 4 heads over 64 steps of 128 numbers."""
    x = graph.input("x", [ROWS, 64, 128])
    graph.output(_block(graph, x, steps=64, width=128, heads=4), [ROWS, 64, 128])


def small_encoder(graph: Graph) -> None:
    """Text encoder: 64 tokens, 4 blocks of 256."""
    _encoder(graph, vocabulary=8000, steps=64, width=256, heads=4, blocks=4)


def large_encoder(graph: Graph) -> None:
    """Text encoder: 32 tokens, 12 blocks of 512, a vocabulary of 30,000. 203 MiB."""
    _encoder(graph, vocabulary=30_000, steps=32, width=512, heads=8, blocks=12)


def _encoder(graph: Graph, vocabulary: int, steps: int, width: int, heads: int, blocks: int) -> None:
    ids = graph.input("ids", [ROWS, steps], _INT64)
    x = graph.add("Gather", graph.weights(vocabulary, width, fan_in=1), ids)
    x = graph.layer_normalization(graph.add("Add", x, graph.weights(steps, width, fan_in=1)), width)
    for _ in range(blocks):
        x = _block(graph, x, steps, width, heads)
    graph.output(graph.add("ReduceMean", x, axes=[1], keepdims=0), [ROWS, width])


def _block(graph: Graph, x: str, steps: int, width: int, heads: int) -> str:
    """Self-attention and a feed-forward layer, each with its residual and normalization."""
    size = width // heads
    query, key, value = (
        graph.add("Transpose", graph.reshape(graph.dense(x, width, width), 0, steps, heads, size), perm=perm)
        for perm in ([0, 2, 1, 3], [0, 2, 3, 1], [0, 2, 1, 3])
    )
    scores = graph.add("Mul", graph.add("MatMul", query, key), graph.constant(1 / math.sqrt(size)))
    mixed = graph.add("MatMul", graph.add("Softmax", scores, axis=-1), value)
    mixed = graph.reshape(graph.add("Transpose", mixed, perm=[0, 2, 1, 3]), 0, steps, width)
    x = graph.layer_normalization(graph.add("Add", x, graph.dense(mixed, width, width)), width)
    fed = graph.dense(graph.dense(x, width, 4 * width, "Relu"), 4 * width, width)
    return graph.layer_normalization(graph.add("Add", x, fed), width)


def _classify(graph: Graph, x: str, channels: int) -> None:
    pooled = graph.reshape(graph.add("GlobalAveragePool", x), 0, channels)
    graph.output(graph.add("Softmax", graph.dense(pooled, channels, 100), axis=-1), [ROWS, 100])
