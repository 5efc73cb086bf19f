"""The Helion kernel behind the front door computes what torch.softmax computes."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch

from kernelport import Client
from kernelport.tensors import Array

SHAPES = [
    *[(1, 1), (1, 7), (7, 1), (3, 5), (16, 16), (31, 33), (64, 128), (128, 257), (200, 3), (5, 1000), (1, 5000)],
    *[(0, 4), (4, 0), (0, 0)],
]
TOLERANCE = {np.float32: 1e-6, np.float16: 1e-3}


def softmax(x: Array) -> Array:
    return torch.softmax(torch.from_numpy(x), dim=1).numpy()


def assert_is_softmax(client: Client, x: Array) -> None:
    y = client.infer("helion-demo", {"x": x})["y"]
    assert (y.dtype, y.shape) == (x.dtype, x.shape)
    np.testing.assert_allclose(y, softmax(x), rtol=0, atol=TOLERANCE[x.dtype.type])


@pytest.mark.parametrize("dtype", TOLERANCE, ids=["F32", "F16"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_agrees_with_torch(shape: tuple[int, int], dtype: type[np.floating], client: Client) -> None:
    assert_is_softmax(client, np.random.default_rng(1).normal(scale=4, size=shape).astype(dtype))


@pytest.mark.parametrize(
    "row",
    [
        pytest.param([1e4, 1e4, 0], id="exponentials-overflow"),
        pytest.param([-6e4, -6e4, -6e4], id="exponentials-vanish"),
        pytest.param([0, -np.inf, 1], id="a-masked-element"),
        pytest.param([-np.inf, -np.inf, -np.inf], id="nothing-but-masked"),
        pytest.param([0, np.nan, 1], id="not-a-number"),
    ],
)
@pytest.mark.parametrize("dtype", TOLERANCE, ids=["F32", "F16"])
def test_agrees_with_torch_at_the_edges(row: list[float], dtype: type[np.floating], client: Client) -> None:
    assert_is_softmax(client, np.array([row, [0, 1, 2]], dtype))


def test_agrees_with_torch_for_callers_at_once(client: Client) -> None:
    rng = np.random.default_rng(2)
    asked = [rng.normal(size=(1 + caller % 4, 64)).astype(np.float32) for caller in range(32)]
    with ThreadPoolExecutor(len(asked)) as pool:
        list(pool.map(lambda x: assert_is_softmax(client, x), asked))
