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
from torch import Tensor, nn

from kernelport.tensors import Array
from tests.row_independence.cases import CROWD, ROWS, Case

_HEADER = '<ir_version: 9, opset_import: ["" : 17, "ai.onnx.ml" : 3]>'
_WIDTH, _WORDS, _LENGTH = 16, 40, 7

Requests = Callable[[np.random.Generator, int], dict[str, Array]]
"""The request of one caller, with so many rows."""
Axes = Mapping[str, Mapping[int, str]]
"""The free axes of inputs and outputs, by their names."""


class Bert(nn.Module):
    """Token and position embeddings, an encoder that leaves out masked tokens, a pooled class."""

    def __init__(self) -> None:
        super().__init__()
        self.words, self.positions = nn.Embedding(_WORDS, _WIDTH), nn.Embedding(32, _WIDTH)
        self.query, self.key, self.value = (nn.Linear(_WIDTH, _WIDTH) for _ in range(3))
        self.first, self.second = nn.Linear(_WIDTH, 32), nn.Linear(32, _WIDTH)
        self.norm, self.head = nn.LayerNorm(_WIDTH), nn.Linear(_WIDTH, 3)

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> tuple[Tensor, Tensor]:
        rows, length = input_ids.shape
        places = torch.arange(length).unsqueeze(0).expand(rows, -1)
        hidden = self.norm(self.words(input_ids) + self.positions(places))
        bias = (1.0 - attention_mask[:, None, None, :].to(hidden.dtype)) * torch.finfo(hidden.dtype).min
        heads = [part(hidden).view(rows, length, 2, -1).transpose(1, 2) for part in (self.query, self.key, self.value)]
        scores = heads[0] @ heads[1].transpose(-1, -2) / 8**0.5 + bias
        mixed = (scores.softmax(-1) @ heads[2]).transpose(1, 2).reshape(rows, length, _WIDTH)
        hidden = self.norm(hidden + self.second(nn.functional.gelu(self.first(mixed))))
        return hidden, self.head(torch.tanh(hidden[:, 0]))


class Gpt(nn.Module):
    """A decoder whose tokens look at those before; the logits of the last token."""

    def __init__(self) -> None:
        super().__init__()
        self.words, self.positions = nn.Embedding(_WORDS, _WIDTH), nn.Embedding(32, _WIDTH)
        self.attend, self.out = nn.Linear(_WIDTH, 3 * _WIDTH), nn.Linear(_WIDTH, _WIDTH)
        self.norm, self.head = nn.LayerNorm(_WIDTH), nn.Linear(_WIDTH, _WORDS, bias=False)

    def forward(self, input_ids: Tensor) -> Tensor:
        rows, length = input_ids.shape
        hidden = self.words(input_ids) + self.positions(torch.arange(length))
        query, key, value = (
            part.view(rows, length, 4, -1).transpose(1, 2) for part in self.attend(self.norm(hidden)).split(_WIDTH, 2)
        )
        seen = torch.ones(length, length, dtype=torch.bool).tril()
        scores = (query @ key.transpose(-1, -2) / 2).masked_fill(~seen, float("-inf"))
        hidden = hidden + self.out((scores.softmax(-1) @ value).transpose(1, 2).reshape(rows, length, _WIDTH))
        return self.head(hidden[:, -1])


class Residual(nn.Module):
    """Convolutions with batch normalisation and a shortcut, pooled over the image."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.one, self.two = (nn.Conv2d(size, 8, 3, padding=1) for size in (3, 8, 8))
        self.norms = nn.ModuleList(nn.BatchNorm2d(8) for _ in range(3))
        self.head = nn.Linear(8, 5)

    def forward(self, image: Tensor) -> Tensor:
        hidden = nn.functional.max_pool2d(self.norms[0](self.stem(image)).relu(), 3, 2, 1)
        branch = self.norms[2](self.two(self.norms[1](self.one(hidden)).relu()))
        return self.head(torch.flatten(nn.functional.adaptive_avg_pool2d((hidden + branch).relu(), 1), 1))


class Unet(nn.Module):
    """Down and up again, by interpolation to the size that was, beside what was there."""

    def __init__(self) -> None:
        super().__init__()
        self.enter, self.down, self.middle = nn.Conv2d(1, 4, 3, padding=1), nn.Conv2d(4, 8, 3, 2, 1), nn.GroupNorm(2, 8)
        self.up, self.leave = nn.ConvTranspose2d(8, 4, 2, 2), nn.Conv2d(8, 1, 1)

    def forward(self, image: Tensor) -> Tensor:
        wide = self.enter(image).relu()
        deep = self.up(self.middle(self.down(wide)).relu())
        fitted = nn.functional.interpolate(deep, size=wide.shape[-2:], mode="bilinear", align_corners=False)
        return self.leave(torch.cat([wide, fitted], 1)).sigmoid()


class Recurrent(nn.Module):
    """Two directions over time, from a state of zeros; the rows first."""

    def __init__(self) -> None:
        super().__init__()
        self.steps, self.head = nn.LSTM(6, 5, 2, batch_first=True, bidirectional=True), nn.Linear(10, 3)

    def forward(self, sequence: Tensor) -> tuple[Tensor, Tensor]:
        every, _ = self.steps(sequence)
        return every, self.head(every[:, -1, :])


class TimeFirst(nn.Module):
    """The same with time on the first axis and the rows on the second."""

    def __init__(self) -> None:
        super().__init__()
        self.steps, self.head = nn.GRU(6, 5), nn.Linear(5, 3)

    def forward(self, sequence: Tensor) -> Tensor:
        return self.head(self.steps(sequence)[0])


class Mel(nn.Module):
    """Log-mel features of audio, normalised within each recording."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("window", torch.hann_window(32))
        self.register_buffer("bank", torch.rand(17, 6))

    def forward(self, audio: Tensor) -> Tensor:
        spectrum = torch.stft(audio, 32, 16, window=self.window, center=False, return_complex=False)
        power = spectrum.pow(2).sum(-1)
        features = torch.log(torch.clamp(power.transpose(1, 2) @ self.bank, min=1e-6))
        return features - features.mean(dim=1, keepdim=True)


class Encoder(nn.Module):
    """Torch's own encoder layers, which fold rows and time together; the exporter keeps the length it has seen."""

    def __init__(self) -> None:
        super().__init__()
        layer = nn.TransformerEncoderLayer(_WIDTH, 2, 32, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)

    def forward(self, vectors: Tensor) -> Tensor:
        return self.encoder(vectors)


class Translator(nn.Module):
    """Torch's own attention, over vectors of which both the number of rows and the length are free."""

    def __init__(self) -> None:
        super().__init__()
        self.query, self.key, self.value = (nn.Linear(_WIDTH, _WIDTH) for _ in range(3))
        self.norm, self.out = nn.LayerNorm(_WIDTH), nn.Linear(_WIDTH, _WIDTH)

    def forward(self, vectors: Tensor) -> Tensor:
        heads = [part(vectors).unflatten(-1, (4, -1)).transpose(1, 2) for part in (self.query, self.key, self.value)]
        attended = nn.functional.scaled_dot_product_attention(*heads, is_causal=True)
        return self.norm(vectors + self.out(attended.transpose(1, 2).flatten(2)))


class Speaker(nn.Module):
    """Text to a waveform: predicted durations stretch the tokens, so the longest of all rows decides the length."""

    def __init__(self) -> None:
        super().__init__()
        self.words, self.duration = nn.Embedding(_WORDS, _WIDTH), nn.Linear(_WIDTH, 1)
        self.flow, self.wave = nn.Conv1d(_WIDTH, _WIDTH, 3, padding=1), nn.ConvTranspose1d(_WIDTH, 1, 4, 4)

    def forward(self, tokens: Tensor) -> Tensor:
        hidden = self.words(tokens)
        ends = torch.cumsum(torch.ceil(torch.exp(self.duration(hidden).squeeze(-1))), 1)
        frames = torch.arange(int(ends[:, -1].max()) if not torch.jit.is_tracing() else ends[:, -1].max().long())
        before = torch.cat([torch.zeros_like(ends[:, :1]), ends[:, :-1]], 1)
        path = (frames[None, :, None] < ends[:, None, :]) & (frames[None, :, None] >= before[:, None, :])
        stretched = (path.float() @ hidden).transpose(1, 2)
        audio = torch.tanh(self.wave(self.flow(stretched))).squeeze(1)
        return audio / audio.abs().amax(1, keepdim=True).clamp(min=1e-3)


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
    return {"tokens": rng.integers(0, _WORDS, (rows, _LENGTH))}


def _input_ids(rng: np.random.Generator, rows: int) -> dict[str, Array]:
    return {"input_ids": rng.integers(0, _WORDS, (rows, _LENGTH))}


def _masked(rng: np.random.Generator, rows: int) -> dict[str, Array]:
    """Token ids, of which each row has another number that counts."""
    mask = np.arange(_LENGTH) < rng.integers(1, _LENGTH + 1, (rows, 1))
    return {**_input_ids(rng, rows), "attention_mask": mask.astype(np.int64)}


def _of_two_lengths(rng: np.random.Generator, rows: int) -> dict[str, Array]:
    length = _LENGTH if rng.integers(3) else _LENGTH - 2
    return {"vectors": (rng.normal(size=(rows, length, _WIDTH)) * 10.0 ** rng.integers(-1, 3)).astype(np.float32)}


def _time_first(rng: np.random.Generator, rows: int) -> dict[str, Array]:
    return {"sequence": (rng.normal(size=(_LENGTH, rows, 6)) * 10.0 ** rng.integers(-1, 3)).astype(np.float32)}


def _exported(module: nn.Module, request: Requests, outputs: Sequence[str], free: Axes, seed: int) -> onnx.ModelProto:
    """What torch's exporter makes of a module, traced with two rows."""
    torch.manual_seed(seed)
    for parameter in module.parameters():
        nn.init.normal_(parameter, std=0.3)
    example = request(np.random.default_rng(0), 2)
    file = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the tracer, and of the exporter about its own age
        torch.onnx.export(
            module.eval(),
            tuple(torch.from_numpy(array) for array in example.values()),
            file,
            dynamo=False,
            opset_version=17,
            input_names=list(example),
            output_names=list(outputs),
            dynamic_axes={name: dict(axes) for name, axes in free.items()},
        )
    return onnx.load_model_from_string(file.getvalue())


@cache
def architectures() -> tuple[Case, ...]:
    """Every architecture, each time the same."""
    rows, lengths, images = {0: ROWS}, {0: ROWS, 1: "T"}, {0: ROWS, 2: "H", 3: "W"}
    image = _floats(image=(1, 9, 11))
    sequence = _floats(sequence=(_LENGTH, 6))
    vectors = _floats(vectors=(_LENGTH, _WIDTH))
    apart, mixed = True, False
    made: list[tuple[str, onnx.ModelProto, Requests, bool, str]] = [
        (
            "bert",
            _exported(
                Bert(),
                _masked,
                ["hidden", "logits"],
                {"input_ids": lengths, "attention_mask": lengths, "hidden": lengths, "logits": rows},
                1,
            ),
            _masked,
            apart,
            "attention is within a row, and its mask is too",
        ),
        (
            "gpt",
            _exported(Gpt(), _input_ids, ["logits"], {"input_ids": lengths, "logits": rows}, 2),
            _input_ids,
            apart,
            "attention is within a row",
        ),
        (
            "resnet",
            _exported(Residual(), _floats(image=(3, 12, 12)), ["logits"], {"image": rows, "logits": rows}, 3),
            _floats(image=(3, 12, 12)),
            apart,
            "normalised by constants, pooled over the image",
        ),
        (
            "unet",
            _exported(Unet(), image, ["mask"], {"image": images, "mask": images}, 4),
            image,
            apart,
            "groups are of the channels of one image",
        ),
        (
            "lstm",
            _exported(
                Recurrent(), sequence, ["every", "last"], {"sequence": lengths, "every": lengths, "last": rows}, 5
            ),
            sequence,
            apart,
            "rows are the batch axis of the layout",
        ),
        (
            "gru_time_first",
            _exported(
                TimeFirst(), _time_first, ["every"], {"sequence": {0: "T", 1: ROWS}, "every": {0: "T", 1: ROWS}}, 6
            ),
            _time_first,
            apart,
            "rows are the second axis throughout",
        ),
        ("lstm_of_keras", _keras_lstm(), _floats(x=(_LENGTH, 6)), apart, "rows are the second axis of the layer"),
        (
            "log_mel",
            _exported(Mel(), _floats(audio=(160,)), ["features"], {"audio": {0: ROWS, 1: "S"}, "features": lengths}, 7),
            _floats(audio=(160,)),
            apart,
            "frames and means are of one recording",
        ),
        (
            "transformer",
            _exported(Translator(), _of_two_lengths, ["encoded"], {"vectors": lengths, "encoded": lengths}, 8),
            _of_two_lengths,
            apart,
            "attention is within a row; requests of one length fit together",
        ),
        (
            "encoder",
            _exported(Encoder(), vectors, ["encoded"], {"vectors": rows, "encoded": rows}, 10),
            vectors,
            apart,
            "attention is within a row, though rows and time are folded together around it",
        ),
        ("quantised", _quantised_perceptron(), _floats(x=(12,)), apart, "all scales are constants"),
        ("trees", _trees(), _floats(X=(3,)), apart, "each row goes down the trees alone"),
        ("detector", _detector(), _floats(boxes=(6, 4), logits=(6, 3)), mixed, "all images' boxes are in one list"),
        (
            "speaker",
            _exported(Speaker(), _tokens, ["audio"], {"tokens": lengths, "audio": {0: ROWS, 1: "S"}}, 9),
            _tokens,
            mixed,
            "the longest row of all decides how long the audio is",
        ),
    ]
    return tuple(
        Case(
            name,
            model,
            tuple(request(np.random.default_rng(caller), 1 + caller % 4) for caller in range(CROWD)),
            independent,
            why,
        )
        for name, model, request, independent, why in made
    )
