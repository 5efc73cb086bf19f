"""Helion kernels, served: the demonstration's softmax, and a user's own module."""

import logging
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
import torch

from kernelport.config.deployments import Deployment
from kernelport.errors import InternalError, InvalidArgumentError, KernelPortError
from kernelport.signature import describe
from kernelport.tensors import Array
from kernelport_workers.backends.base import LoadError, Outputs, Request
from kernelport_workers.backends.helion import HelionBackend

SOFTMAX = "kernelport_workers.kernels.softmax:softmax_two_pass"
RNG = np.random.default_rng(0)

OWN_MODULE = """
import helion
import helion.language as hl
import torch


@helion.kernel(static_shapes=False)
def scale_and_add(x: torch.Tensor, other: torch.Tensor, factor: float = 2.0) -> torch.Tensor:
    out = torch.empty_like(x)
    for tile in hl.tile(x.size()):
        out[tile] = x[tile] * factor + other[tile]
    return out


def halves(x: torch.Tensor, count: int) -> tuple[torch.Tensor, torch.Tensor]:
    if x.dim() != 1:
        raise ValueError("expected a vector")
    return x[:count], x[count:]


def broken(x):
    raise RuntimeError("out of luck")


number = 3
"""

DECLARING_MODULE = """
import torch
from kernelport.signature import Signature, tensor_spec
from kernelport.v1 import inference_pb2 as pb

SIGNATURE = Signature(
    inputs=[tensor_spec("x", pb.BF16, ["rows", 2]), tensor_spec("gain", pb.F32, [1], optional=True)],
    outputs=[tensor_spec("doubled", pb.BF16, ["rows", 2]), tensor_spec("total", pb.F32, ["rows"])],
    batchable=True,
)
runs = []


def doubled(x: torch.Tensor, gain: float = 2.0) -> tuple[torch.Tensor, torch.Tensor]:
    runs.append(len(x))
    return x * gain, x.float().sum(1)


def choosy(x: torch.Tensor, gain: float = 2.0) -> tuple[torch.Tensor, torch.Tensor]:
    if x.max() < 1000:
        raise ValueError("expected larger numbers")
    return doubled(x, gain)


def other_name(z: torch.Tensor) -> torch.Tensor:
    return z
"""


def deployment(kernel: str | None, device: str = "cpu") -> Deployment:
    return Deployment(name="test", backend="helion", image="none", kernel=kernel, device=device)


@pytest.fixture(scope="module")
def softmax() -> HelionBackend:
    return HelionBackend.load(deployment(SOFTMAX))


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of a user's own module."""
    (tmp_path / "own_kernels.py").write_text(OWN_MODULE)
    (tmp_path / "declaring_kernels.py").write_text(DECLARING_MODULE)
    monkeypatch.syspath_prepend(tmp_path)
    return "own_kernels"


def ask(backend: HelionBackend, *inputs: dict[str, Array]) -> list[Outputs | KernelPortError]:
    for item in inputs:
        for array in item.values():
            array.flags.writeable = False
    return backend.run([Request(item) for item in inputs])


def answer(backend: HelionBackend, **inputs: Array) -> Outputs:
    (outputs,) = ask(backend, inputs)
    assert isinstance(outputs, dict), outputs
    return outputs


@pytest.mark.parametrize("shape", [(1, 1), (1, 7), (7, 1), (3, 2000), (130, 65), (0, 5), (5, 0), (0, 0)])
@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float32, 1e-6), (np.float16, 1e-3)])
def test_softmax_agrees_with_torch(
    softmax: HelionBackend, shape: tuple[int, int], dtype: type[np.generic], tolerance: float
) -> None:
    x = (RNG.normal(size=shape) * 10).astype(dtype)
    y = answer(softmax, x=x)["y"]
    assert (y.dtype, y.shape) == (x.dtype, x.shape)
    np.testing.assert_allclose(y, torch.softmax(torch.from_numpy(x.copy()), dim=1).numpy(), rtol=0, atol=tolerance)


def test_softmax_of_extremes_agrees_with_torch(softmax: HelionBackend) -> None:
    inf = np.inf
    x = np.array(
        [[-inf, 1, 2], [-inf, -inf, 3], [-inf, -inf, -inf], [inf, 1, 2], [np.nan, 1, 2], [3e38, -3e38, 0]], np.float32
    )
    np.testing.assert_allclose(answer(softmax, x=x)["y"], torch.softmax(torch.from_numpy(x.copy()), dim=1).numpy())


def test_softmax_carries_its_sums_from_tile_to_tile(softmax: HelionBackend, monkeypatch: pytest.MonkeyPatch) -> None:
    """Left alone, the interpreter takes the whole matrix as one tile."""
    monkeypatch.setattr("helion.language.register_block_size", lambda size: 2)
    x = RNG.normal(size=(5, 7)).astype(np.float32)
    x[0, :4] = x[1] = -np.inf
    np.testing.assert_allclose(
        answer(softmax, x=x)["y"], torch.softmax(torch.from_numpy(x.copy()), dim=1).numpy(), rtol=0, atol=1e-6
    )


def test_softmax_is_stacked_by_rows(softmax: HelionBackend) -> None:
    assert softmax.signature.batchable
    assert describe(softmax.signature.inputs[0]) == "F32|F16[rows, columns]"
    inputs = [
        {"x": RNG.normal(size=shape).astype(dtype)}
        for shape, dtype in [((2, 5), np.float32), ((3, 5), np.float32), ((2, 4), np.float32), ((2, 5), np.float16)]
    ]
    for item, outputs in zip(inputs, ask(softmax, *inputs), strict=True):
        assert isinstance(outputs, dict)
        assert outputs["y"].dtype == item["x"].dtype
        np.testing.assert_array_equal(outputs["y"], answer(softmax, x=item["x"])["y"])


def test_interpretation_is_announced(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        assert HelionBackend.load(deployment(SOFTMAX)).device == "cpu (interpreted)"
    assert "test: no GPU in use; the kernel runs in Helion's interpret mode on the CPU" in caplog.messages


def test_own_kernel_with_several_inputs_and_a_scalar(own: str) -> None:
    backend = HelionBackend.load(deployment(f"{own}:scale_and_add"))
    assert [(s.name, s.ranked, s.optional) for s in backend.signature.inputs] == [
        ("x", False, False),
        ("other", False, False),
        ("factor", True, True),
    ]
    x, other = RNG.normal(size=(2, 3, 4)), RNG.normal(size=(2, 3, 4))
    np.testing.assert_allclose(answer(backend, x=x, other=other)["y"], x * 2 + other)
    np.testing.assert_allclose(answer(backend, x=x, other=other, factor=np.array([3.0]))["y"], x * 3 + other)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int64, np.bool_, np.float64, ml_dtypes.bfloat16])
def test_own_function_with_two_outputs_of_any_dtype(own: str, dtype: type[np.generic]) -> None:
    backend = HelionBackend.load(deployment(f"{own}:halves"))
    outputs = answer(backend, x=np.array([0, 1, 1], dtype), count=np.array([1]))
    assert {name: array.tolist() for name, array in outputs.items()} == {"y0": [0], "y1": [1, 1]}
    assert outputs["y1"].dtype == dtype


def test_a_kernel_that_refuses_or_fails_fails_alone(own: str) -> None:
    count = np.array([1])
    good, bad = {"x": np.ones(2), "count": count}, {"x": np.ones((1, 1)), "count": count}
    first, second = ask(HelionBackend.load(deployment(f"{own}:halves")), bad, good)
    assert isinstance(first, InvalidArgumentError)
    assert "expected a vector" in first.message
    assert isinstance(second, dict)
    (error,) = ask(HelionBackend.load(deployment(f"{own}:broken")), {"x": np.ones(1)})
    assert isinstance(error, InternalError)
    assert "RuntimeError: out of luck" in error.message


def test_a_declared_signature_names_outputs_and_allows_stacking(own: str) -> None:
    backend = HelionBackend.load(deployment("declaring_kernels:doubled"))
    import declaring_kernels  # type: ignore[import-not-found]

    declaring_kernels.runs.clear()
    inputs = [{"x": np.full((rows, 2), rows, ml_dtypes.bfloat16)} for rows in (1, 2)]
    first, second = ask(backend, *inputs)
    assert declaring_kernels.runs == [3]
    assert isinstance(first, dict)
    assert isinstance(second, dict)
    assert (first["doubled"].tolist(), first["total"].tolist()) == ([[2, 2]], [2])
    assert (second["doubled"].tolist(), second["total"].tolist()) == ([[4, 4], [4, 4]], [4, 4])
    assert answer(backend, x=inputs[0]["x"], gain=np.array([5], np.float32))["doubled"].tolist() == [[5, 5]]


@pytest.mark.parametrize(("kernel", "said"), [("doubled", ""), ("choosy", "; no trial could contradict it")])
def test_a_kernel_that_takes_no_random_inputs_is_stacked_on_its_word_and_that_is_said(
    own: str, kernel: str, said: str
) -> None:
    signature = HelionBackend.load(deployment(f"declaring_kernels:{kernel}")).signature
    assert (signature.batchable, signature.reason) == (True, f"the kernel's SIGNATURE says batchable{said}")


@pytest.mark.parametrize(
    ("kernel", "device", "message"),
    [
        (None, "cpu", "needs `kernel: module:attribute`"),
        ("no_such_module:kernel", "cpu", "no_such_module"),
        ("own_kernels:missing", "cpu", "missing"),
        ("own_kernels:number", "cpu", "not callable"),
        ("declaring_kernels:other_name", "cpu", "no parameter for: gain, x"),
        (SOFTMAX, "cuda:99", "device cuda:99: torch .* sees"),
    ],
)
def test_what_cannot_be_served_is_refused_at_load(own: str, kernel: str | None, device: str, message: str) -> None:
    served = deployment(SOFTMAX, device).model_copy(update={"kernel": kernel})
    with pytest.raises(LoadError, match=message):
        HelionBackend.load(served)


def test_a_billion_rows_of_nothing_are_no_work() -> None:
    from kernelport_workers.kernels.softmax import softmax_two_pass

    assert softmax_two_pass(torch.empty((10**9, 0))).shape == (10**9, 0)
