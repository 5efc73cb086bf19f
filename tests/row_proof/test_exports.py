"""Architectures as torch writes them: what stacks in torch is proven, and what mixes is not."""

import io
from collections.abc import Callable

import numpy as np
import onnx
import pytest
import torch
from torch import Tensor, nn

from kernelport_workers.row_proof import Verdict, prove
from tests.row_proof.stacking import Runner, same_as_alone, stacked

# torch warns of its older exporter, and of sizes that it bakes in.
pytestmark = pytest.mark.filterwarnings("ignore")

BATCH, BATCH_AND_TIME = {0: "N"}, {0: "N", 1: "T"}


class Function(nn.Module):
    def __init__(self, function: Callable[..., Tensor], *layers: nn.Module) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)
        self.function = function

    def forward(self, *inputs: Tensor) -> Tensor:
        return self.function(*self.layers, *inputs)


def _windows(x: Tensor) -> Tensor:
    rows, height, width, channels = x.shape
    x = torch.roll(x, (-1, -1), (1, 2)).view(rows, height // 2, 2, width // 2, 2, channels)
    x = x.permute(0, 1, 3, 2, 4, 5).contiguous().view(-1, 4, channels)
    x = torch.softmax(x @ x.transpose(1, 2), -1) @ x
    x = x.view(rows, height // 2, width // 2, 2, 2, channels).permute(0, 1, 3, 2, 4, 5)
    return torch.roll(x.reshape(rows, height, width, channels), (1, 1), (1, 2))


def _patches(patch: nn.Module, encoder: nn.Module, head: nn.Module, x: Tensor) -> Tensor:
    tokens = patch(x).flatten(2).transpose(1, 2)
    first = torch.zeros(1, 1, 8).expand(x.shape[0], -1, -1)
    return head(encoder(torch.cat([first, tokens], 1))[:, 0])


def _masked_mean(embedding: nn.Module, tokens: Tensor, mask: Tensor) -> Tensor:
    states = embedding(tokens)
    weights = mask.unsqueeze(-1).expand(states.size()).float()
    return (states * weights).sum(1) / weights.sum(1).clamp(min=1e-9)


def _causal(project: nn.Module, x: Tensor) -> Tensor:
    rows, time, _ = x.shape
    q, k, v = (part.view(rows, time, 2, 4).transpose(1, 2) for part in project(x).split(8, dim=2))
    scores = (q @ k.transpose(-1, -2)).masked_fill(~torch.ones(time, time).tril().bool(), float("-inf"))
    return (scores.softmax(-1) @ v).transpose(1, 2).reshape(rows, time, 8)[:, -1]


def _guided(layer: nn.Module, x: Tensor) -> Tensor:
    plain, guided = layer(torch.cat([x, 2 * x])).chunk(2)
    return plain + 3 * (guided - plain)


def _residual(conv: nn.Module, norm: nn.Module, head: nn.Module, x: Tensor) -> Tensor:
    y = torch.relu(norm(conv(x)))
    y = nn.functional.interpolate(nn.functional.max_pool2d(y, 2), size=x.shape[2:], mode="nearest") + y
    return head(nn.functional.adaptive_avg_pool2d(y, 1).flatten(1))


def _time_first(layer: nn.Module, x: Tensor) -> Tensor:
    time, rows, width = x.shape
    return layer(x.reshape(time * rows, width)).view(time, rows, width)


def _at_largest(embedding: nn.Module, tokens: Tensor) -> Tensor:
    states = embedding(tokens).cumsum(1)
    return states[torch.arange(tokens.shape[0]), tokens.to(torch.int).argmax(-1)]


def _at_last(embedding: nn.Module, tokens: Tensor) -> Tensor:
    states = embedding(tokens).cumsum(1)
    last = (tokens == 0).int().argmax(-1) - 1
    return states[torch.arange(tokens.shape[0]), last % tokens.shape[-1]]


def _without_last(x: Tensor, tokens: Tensor) -> Tensor:
    x = x.clone()
    x[torch.arange(x.shape[0]), tokens.argmax(-1)] = 0
    return x


def _encoder() -> nn.Module:
    return nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)


INDEPENDENT: dict[str, tuple[nn.Module, list[tuple[Tensor, dict[int, str]]]]] = {
    "transformer": (Function(lambda layer, x: layer(x), _encoder()), [(torch.randn(2, 5, 8), BATCH)]),
    "vision transformer": (
        Function(_patches, nn.Conv2d(3, 8, 4, 4), _encoder(), nn.Linear(8, 3)),
        [(torch.randn(2, 3, 8, 8), BATCH)],
    ),
    "causal attention": (Function(_causal, nn.Linear(8, 24)), [(torch.randn(2, 5, 8), BATCH_AND_TIME)]),
    "shifted windows": (Function(_windows), [(torch.randn(2, 4, 4, 3), BATCH)]),
    "masked mean of embeddings": (
        Function(_masked_mean, nn.Embedding(9, 4)),
        [(torch.randint(0, 9, (2, 5)), BATCH_AND_TIME), (torch.ones(2, 5, dtype=torch.int64), BATCH_AND_TIME)],
    ),
    "pooled at the largest token": (
        Function(_at_largest, nn.Embedding(9, 4)),
        [(torch.randint(0, 9, (2, 5)), BATCH_AND_TIME)],
    ),
    "pooled at the last token": (
        Function(_at_last, nn.Embedding(9, 4)),
        [(torch.randint(0, 9, (2, 5)), BATCH_AND_TIME)],
    ),
    "one step put to zero": (
        Function(_without_last),
        [(torch.randn(2, 5, 4), BATCH_AND_TIME), (torch.randint(0, 9, (2, 5)), BATCH_AND_TIME)],
    ),
    "convolutions": (
        Function(_residual, nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4), nn.Linear(4, 2)),
        [(torch.randn(2, 3, 8, 8), {0: "N", 2: "H", 3: "W"})],
    ),
    "recurrent": (
        Function(lambda layer, head, x: head(layer(x)[0][:, -1]), nn.LSTM(3, 4, 2, batch_first=True), nn.Linear(4, 2)),
        [(torch.randn(2, 5, 3), BATCH_AND_TIME)],
    ),
    "time first": (Function(_time_first, nn.Linear(4, 4)), [(torch.randn(5, 2, 4), {0: "T", 1: "N"})]),
    "guided twice": (Function(_guided, nn.Linear(4, 4)), [(torch.randn(2, 4), BATCH)]),
}
MIXED: dict[str, nn.Module] = {
    "centred by the mean of all rows": Function(lambda x: x - x.mean(0, keepdim=True)),
    "compared with all rows": Function(lambda x: (x @ x.t()).softmax(-1) @ x),
    "flipped": Function(lambda x: x.flip(0)),
    "shifted": Function(lambda x: x - x.roll(1, 0)),
    "scaled by the number of rows": Function(lambda x: x / x.shape[0]),
    "normalised by the deviation of all rows": Function(lambda x: x / (x.std(0, keepdim=True) + 1)),
}


def _export(module: nn.Module, inputs: list[tuple[Tensor, dict[int, str]]]) -> onnx.ModelProto:
    names = [f"x{index}" for index in range(len(inputs))]
    file = io.BytesIO()
    torch.onnx.export(
        module.eval(),
        tuple(tensor for tensor, _ in inputs),
        file,
        input_names=names,
        output_names=["y"],
        dynamic_axes={name: axes for name, (_, axes) in zip(names, inputs, strict=True)},
        opset_version=17,
        dynamo=False,
    )
    return onnx.load_from_string(file.getvalue())


@pytest.mark.parametrize("name", INDEPENDENT)
def test_what_stacks_in_torch_is_proven(name: str) -> None:
    torch.manual_seed(0)
    module, inputs = INDEPENDENT[name]
    model = _export(module, inputs)
    axis = next(axis for axis, symbol in inputs[0][1].items() if symbol == "N")
    axes = {f"x{index}": axis for index in range(len(inputs))}
    proof = prove(model, input_axes=axes)
    assert proof.verdict is Verdict.PROVEN, proof.reason
    feeds = [_request(inputs, axis, rows, 10.0**index) for index, rows in enumerate((1, 3, 2))]
    run = Runner(model)
    assert same_as_alone(run(stacked(feeds, axes)), [run(feed) for feed in feeds], proof.output_axes)


@pytest.mark.parametrize("name", MIXED)
def test_what_mixes_in_torch_is_not_proven(name: str) -> None:
    model = _export(MIXED[name], [(torch.randn(3, 4), BATCH)])
    assert prove(model).verdict is Verdict.REFUTED


def _request(inputs: list[tuple[Tensor, dict[int, str]]], axis: int, rows: int, scale: float) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(rows)
    request = {}
    for index, (tensor, _) in enumerate(inputs):
        shape = [*tensor.shape[:axis], rows, *tensor.shape[axis + 1 :]]
        floats = (rng.normal(size=shape) * scale).astype(np.float32)
        request[f"x{index}"] = floats if tensor.is_floating_point() else rng.integers(0, 2, shape)
    return request
