"""Small models of the kinds that people serve, with random weights, as exporters write them.

Those of torch come from its own exporter, so that the graphs have its chains of Shape, Gather, Unsqueeze and Concat.
The others are written as the converters of scikit-learn and TensorFlow and ONNX Runtime's quantiser write them.
"""

import io
import warnings
from collections.abc import Callable, Mapping, Sequence
from functools import cache

import numpy as np
import onnx
import torch
from onnx import numpy_helper
from torch import nn

from kernelport.tensors import Array
from tests.row_independence import modules
from tests.row_independence.cases import CROWD, ROWS, Case

_HEADER = '<ir_version: 9, opset_import: ["" : 17, "ai.onnx.ml" : 3]>'
_LENGTH = 7

Requests = Callable[[np.random.Generator, int], dict[str, Array]]
"""The request of one caller, with so many rows."""
Axes = Mapping[str, Mapping[int, str]]
"""The free axes of inputs and outputs, by their names."""


def _quantised_perceptron() -> onnx.ModelProto:
    """Two layers with constant scales around each, as ONNX Runtime's static quantisation leaves them."""
    rng = np.random.default_rng(5)
    model = onnx.parser.parse_model(
        _HEADER + "g (float[N, 12] x) => (float[N, 4] y) <float xs = {0.05}, uint8 xz = {120}, float ws = {0.02}, "
        "int8 wz = {0}, float hs = {0.04}, uint8 hz = {0}, float bs = {0.001}, int32 bz = {0}> "
        "{ q = QuantizeLinear(x, xs, xz) d = DequantizeLinear(q, xs, xz) w = DequantizeLinear(w1, ws, wz) "
        "b = DequantizeLinear(b1, bs, bz) h = Gemm<transB = 1>(d, w, b) r = Relu(h) rq = QuantizeLinear(r, hs, hz) "
        "rd = DequantizeLinear(rq, hs, hz) v = DequantizeLinear<axis = 1>(w2, w2s, w2z) y = MatMul(rd, v) }"
    )
    weights = {
        "w1": rng.integers(-127, 128, (8, 12), np.int8),
        "b1": rng.integers(-500, 500, 8, np.int32),
        "w2": rng.integers(-127, 128, (8, 4), np.int8),
        "w2s": rng.uniform(0.01, 0.03, 4).astype(np.float32),
        "w2z": np.zeros(4, np.int8),
    }
    model.graph.initializer.extend(numpy_helper.from_array(array, name) for name, array in weights.items())
    return model


def _trees() -> onnx.ModelProto:
    """An imputer, a scaler and a forest of three stumps on three classes, without a ZipMap."""
    nodes = {
        "nodes_treeids": [tree for tree in range(3) for _ in range(3)],
        "nodes_nodeids": [0, 1, 2] * 3,
        "nodes_featureids": [feature for tree in range(3) for feature in (tree, 0, 0)],
        "nodes_modes": ["BRANCH_LEQ", "LEAF", "LEAF"] * 3,
        "nodes_values": [value for tree in range(3) for value in (tree - 1.0, 0.0, 0.0)],
        "nodes_truenodeids": [1, 0, 0] * 3,
        "nodes_falsenodeids": [2, 0, 0] * 3,
        "nodes_missing_value_tracks_true": [0] * 9,
        "nodes_hitrates": [1.0] * 9,
    }
    leaves = [(tree, leaf, label) for tree in range(3) for leaf in (1, 2) for label in range(3)]
    classes = {
        "class_treeids": [tree for tree, _, _ in leaves],
        "class_nodeids": [leaf for _, leaf, _ in leaves],
        "class_ids": [label for _, _, label in leaves],
        "class_weights": [0.8 / 3 if label == (tree + leaf) % 3 else 0.1 / 3 for tree, leaf, label in leaves],
    }
    make, domain = onnx.helper.make_node, "ai.onnx.ml"
    graph = onnx.helper.make_graph(
        [
            make("Imputer", ["X"], ["whole"], domain=domain, imputed_value_floats=[0.5], replaced_value_float=np.nan),
            make("Scaler", ["whole"], ["scaled"], domain=domain, offset=[0.0, 1.0, 2.0], scale=[1.0, 0.5, 0.1]),
            make(
                "TreeEnsembleClassifier",
                ["scaled"],
                ["label", "probabilities"],
                domain=domain,
                classlabels_int64s=[0, 1, 2],
                post_transform="NONE",
                **nodes,
                **classes,
            ),
            make("Cast", ["label"], ["output_label"], to=onnx.TensorProto.INT64),
        ],
        "trees",
        [onnx.helper.make_tensor_value_info("X", onnx.TensorProto.FLOAT, [ROWS, 3])],
        [
            onnx.helper.make_tensor_value_info("output_label", onnx.TensorProto.INT64, [ROWS]),
            onnx.helper.make_tensor_value_info("probabilities", onnx.TensorProto.FLOAT, [ROWS, 3]),
        ],
    )
    opsets = [onnx.helper.make_opsetid("", 17), onnx.helper.make_opsetid(domain, 3)]
    return onnx.helper.make_model(graph, ir_version=8, opset_imports=opsets)


def _keras_lstm() -> onnx.ModelProto:
    """A recurrent layer as tf2onnx writes it: time turned to the front, states of zeros made from the input's shape."""
    rng = np.random.default_rng(6)
    model = onnx.parser.parse_model(
        _HEADER + "g (float[N, T, 6] x) => (float[N, 5] y) <int64[1] from = {0}, int64[1] to = {1}, "
        "int64[1] axis = {0}, int64[1] units = {5}, int64[1] direction = {0}> "
        "{ size = Shape(x) rows = Slice(size, from, to, axis) wanted = Concat<axis = 0>(rows, units) "
        "number = Cast<to = 6>(wanted) whole = Cast<to = 7>(number) state = ConstantOfShape(whole) "
        "start = Unsqueeze(state, direction) time = Transpose<perm = [1, 0, 2]>(x) "
        "steps, last, cell = LSTM<hidden_size = 5>(time, w, r, b, , start, start) y = Squeeze(last, direction) }"
    )
    weights = {name: rng.normal(size=size).astype(np.float32) for name, size in _LSTM_SIZES.items()}
    model.graph.initializer.extend(numpy_helper.from_array(array, name) for name, array in weights.items())
    return model


_LSTM_SIZES = {"w": (1, 20, 6), "r": (1, 20, 5), "b": (1, 40)}


def _detector() -> onnx.ModelProto:
    """Boxes and scores of all images, suppressed where they overlap, in one list for all."""
    return onnx.parser.parse_model(
        _HEADER + "g (float[N, A, 4] boxes, float[N, A, 3] logits) => (float[D, 4] kept, int64[D, 3] where_from) "
        "<int64 most = {5}, float overlap = {0.5}, float least = {0.4}, int64[2] at = {0, 2}> "
        "{ scores = Sigmoid(logits) turned = Transpose<perm = [0, 2, 1]>(scores) "
        "where_from = NonMaxSuppression(boxes, turned, most, overlap, least) "
        "places = Gather<axis = 1>(where_from, at) kept = GatherND(boxes, places) }"
    )


def _floats(**shapes: Sequence[int]) -> Requests:
    """Inputs of these shapes past the rows, of a magnitude of their caller's, 0.1 to 100."""

    def request(rng: np.random.Generator, rows: int) -> dict[str, Array]:
        scale = 10.0 ** rng.integers(-1, 3)
        return {name: (rng.normal(size=(rows, *shape)) * scale).astype(np.float32) for name, shape in shapes.items()}

    return request


def _tokens(rng: np.random.Generator, rows: int) -> dict[str, Array]:
    return {"tokens": rng.integers(0, modules.WORDS, (rows, _LENGTH))}


def _input_ids(rng: np.random.Generator, rows: int) -> dict[str, Array]:
    return {"input_ids": rng.integers(0, modules.WORDS, (rows, _LENGTH))}


def _masked(rng: np.random.Generator, rows: int) -> dict[str, Array]:
    """Token ids, of which each row has another number that counts."""
    mask = np.arange(_LENGTH) < rng.integers(1, _LENGTH + 1, (rows, 1))
    return {**_input_ids(rng, rows), "attention_mask": mask.astype(np.int64)}


def _of_two_lengths(rng: np.random.Generator, rows: int) -> dict[str, Array]:
    length = _LENGTH if rng.integers(3) else _LENGTH - 2
    return {
        "vectors": (rng.normal(size=(rows, length, modules.WIDTH)) * 10.0 ** rng.integers(-1, 3)).astype(np.float32)
    }


def _time_first(rng: np.random.Generator, rows: int) -> dict[str, Array]:
    return {"sequence": (rng.normal(size=(_LENGTH, rows, 6)) * 10.0 ** rng.integers(-1, 3)).astype(np.float32)}


def _exported(module: type[nn.Module], request: Requests, outputs: Sequence[str], free: Axes) -> onnx.ModelProto:
    """What torch's exporter makes of a module with random weights, traced with two rows."""
    torch.manual_seed(1)
    made = module()
    for parameter in made.parameters():
        nn.init.normal_(parameter, std=0.3)
    example = request(np.random.default_rng(0), 2)
    file = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the tracer, and of the exporter about its own age
        torch.onnx.export(
            made.eval(),
            tuple(torch.from_numpy(array) for array in example.values()),
            file,
            dynamo=False,
            opset_version=17,
            input_names=list(example),
            output_names=list(outputs),
            dynamic_axes={name: dict(axes) for name, axes in free.items()},
        )
    return onnx.load_model_from_string(file.getvalue())


_ROWS, _LENGTHS, _IMAGES, _AUDIO = {0: ROWS}, {0: ROWS, 1: "T"}, {0: ROWS, 2: "H", 3: "W"}, {0: ROWS, 1: "S"}
_TIME_FIRST = {0: "T", 1: ROWS}
_photo, _scan = _floats(image=(3, 12, 12)), _floats(image=(1, 9, 11))
_sequence, _vectors, _recording = (
    _floats(sequence=(_LENGTH, 6)),
    _floats(vectors=(_LENGTH, modules.WIDTH)),
    _floats(audio=[160]),
)
_APART, _MIXED = True, False

# By name: how the model is made, requests, whether its rows are independent, why.
_ENTRIES: dict[str, tuple[Callable[[], onnx.ModelProto], Requests, bool, str]] = {
    "bert": (
        lambda: _exported(
            modules.Bert,
            _masked,
            ["hidden", "logits"],
            {"input_ids": _LENGTHS, "attention_mask": _LENGTHS, "hidden": _LENGTHS, "logits": _ROWS},
        ),
        _masked,
        _APART,
        "attention is within a row, and its mask is too",
    ),
    "gpt": (
        lambda: _exported(modules.Gpt, _input_ids, ["logits"], {"input_ids": _LENGTHS, "logits": _ROWS}),
        _input_ids,
        _APART,
        "attention is within a row",
    ),
    "resnet": (
        lambda: _exported(modules.Residual, _photo, ["logits"], {"image": _ROWS, "logits": _ROWS}),
        _photo,
        _APART,
        "normalised by constants, pooled over the image",
    ),
    "unet": (
        lambda: _exported(modules.Unet, _scan, ["mask"], {"image": _IMAGES, "mask": _IMAGES}),
        _scan,
        _APART,
        "groups are of the channels of one image",
    ),
    "lstm": (
        lambda: _exported(
            modules.Recurrent, _sequence, ["every", "last"], {"sequence": _LENGTHS, "every": _LENGTHS, "last": _ROWS}
        ),
        _sequence,
        _APART,
        "rows are the batch axis of the layout",
    ),
    "gru_time_first": (
        lambda: _exported(modules.TimeFirst, _time_first, ["every"], {"sequence": _TIME_FIRST, "every": _TIME_FIRST}),
        _time_first,
        _APART,
        "rows are the second axis throughout",
    ),
    "lstm_of_keras": (_keras_lstm, _floats(x=(_LENGTH, 6)), _APART, "rows are the second axis of the layer"),
    "log_mel": (
        lambda: _exported(modules.Mel, _recording, ["features"], {"audio": _AUDIO, "features": _LENGTHS}),
        _recording,
        _APART,
        "frames and means are of one recording",
    ),
    "transformer": (
        lambda: _exported(modules.Translator, _of_two_lengths, ["encoded"], {"vectors": _LENGTHS, "encoded": _LENGTHS}),
        _of_two_lengths,
        _APART,
        "attention is within a row; requests of one length fit together",
    ),
    "encoder": (
        lambda: _exported(modules.Encoder, _vectors, ["encoded"], {"vectors": _ROWS, "encoded": _ROWS}),
        _vectors,
        _APART,
        "attention is within a row, though rows and time are folded together around it",
    ),
    "quantised": (_quantised_perceptron, _floats(x=[12]), _APART, "all scales are constants"),
    "trees": (_trees, _floats(X=[3]), _APART, "each row goes down the trees alone"),
    "detector": (_detector, _floats(boxes=(6, 4), logits=(6, 3)), _MIXED, "all images' boxes are in one list"),
    "speaker": (
        lambda: _exported(modules.Speaker, _tokens, ["audio"], {"tokens": _LENGTHS, "audio": _AUDIO}),
        _tokens,
        _MIXED,
        "the longest row of all decides how long the audio is",
    ),
}
ARCHITECTURES = tuple(_ENTRIES)


@cache
def architecture(name: str) -> Case:
    """One of ARCHITECTURES, each time the same."""
    make, request, independent, why = _ENTRIES[name]
    requests = tuple(request(np.random.default_rng(caller), 1 + caller % 4) for caller in range(CROWD))
    return Case(name, make(), requests, independent, why)
