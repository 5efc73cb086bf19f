"""What a backend gives back is checked, and a request that fails in company is tried alone."""

import logging
import time
from collections.abc import Callable, Sequence
from typing import Any, Self

import ml_dtypes
import numpy as np
import pytest
from google.rpc import status_pb2

from kernelport import tensors
from kernelport.config.deployments import Deployment
from kernelport.errors import (
    CancelledError,
    DeadlineExceededError,
    InternalError,
    InvalidArgumentError,
    KernelPortError,
    ResourceExhaustedError,
    UnavailableError,
    from_status,
)
from kernelport.signature import Signature, tensor_spec
from kernelport.tensors import Array
from kernelport.v1 import inference_pb2 as pb
from kernelport_workers.backends.base import Backend, Outputs, Request
from kernelport_workers.execution.execution import Execution, Work
from kernelport_workers.execution.results import Result

Y = np.ones((2, 3), np.float32)
X = np.array([0], np.int64)
Run = Callable[[Sequence[Request]], Any]


class Given(Backend):
    """Runs what a test gives it, and notes the numbers of each batch."""

    device = "cpu"
    outputs_stay = True
    signature = Signature(
        inputs=[tensor_spec("x", pb.I64, [1])],
        outputs=[
            tensor_spec("y", pb.F32, ["rows", 3], other_dtypes=[pb.F16]),
            tensor_spec("extra", pb.STRING, [1], optional=True),
        ],
    )

    def __init__(self, run: Run) -> None:
        self._run = run
        self.batches: list[list[int]] = []

    @classmethod
    def load(cls, deployment: Deployment) -> Self:
        raise NotImplementedError

    def run(self, requests: Sequence[Request]) -> list[Outputs | KernelPortError]:
        self.batches.append(numbers(requests))
        given: list[Outputs | KernelPortError] = self._run(requests)
        return given


class Speaks(Given):
    """The same, and it declares speech."""

    signature = Signature(
        inputs=Given.signature.inputs,
        outputs=[
            tensor_spec("audio", pb.F32, None, other_dtypes=[pb.I16], optional=True),
            tensor_spec("sample_rate", pb.I32, [1], other_dtypes=[pb.F32, pb.BF16, pb.STRING], optional=True),
        ],
    )


class Reuses(Given):
    """The same, and it computes into memory that it has given away."""

    outputs_stay = False


class FromFile(Given):
    """The same, and what it declares is what a model file says."""

    checks_output_shapes = False


class Alone:
    """Nothing is left of a message before."""

    def begin(self) -> None: ...

    def alone(self) -> None: ...


def numbers(requests: Sequence[Request]) -> list[int]:
    return [int(request.inputs["x"][0]) for request in requests]


def answers(backend: Backend, count: int = 1, check: Callable[[], None] = lambda: None) -> Sequence[Result]:
    return ran(backend, count, check).results


def ran(backend: Backend, count: int = 1, check: Callable[[], None] = lambda: None) -> Any:
    deadline_unix_us = round((time.time() + 60) * 1e6)
    work = []
    for number in range(count):
        inputs = tensors.from_arrays({"x": np.array([number], np.int64)})
        work.append(Work(str(number).encode(), inputs, deadline_unix_us, check))
    return Execution(backend).run_all(work, time.monotonic(), Alone())


def words(result: Result) -> str:
    assert type(result) is InternalError, result
    return result.message


@pytest.mark.parametrize(
    ("given", "finding"),
    [
        (None, "the model's results: expected a list of 1, got NoneType"),
        ({"y": Y}, "the model's results: expected a list of 1, got dict"),
        ([], "the model's results: expected 1, one for each request, got 0"),
        ([{"y": Y}] * 2, "the model's results: expected 1, one for each request, got 2"),
        ([None], "the model's result: expected its outputs by name, got NoneType"),
        ([Y], "the model's result: expected its outputs by name, got ndarray"),
        ([{}], 'output "y" is missing; expected F32|F16[rows, 3]'),
        ([{"y": Y, "z": Y}], 'output "z" is not declared; expected "y", "extra"'),
        ([{"y": None}], 'output "y": expected F32|F16[rows, 3], got object[]'),
        ([{"y": [[1], [2, 3]]}], 'output "y": expected an array: ValueError'),
        ([{"y": np.ma.masked_array(Y, Y > 0)}], 'output "y": expected an array without a mask'),
        ([{"y": [np.ma.masked_array([1, 2, 3], [0, 0, 1])]}], 'output "y": expected an array without a mask'),
        ([{"y": Y.astype(np.float64)}], 'output "y": expected F32|F16[rows, 3], got float64[2, 3]'),
        ([{"y": Y.astype(np.complex64)}], 'output "y": expected F32|F16[rows, 3], got complex64[2, 3]'),
        ([{"y": Y[0]}], 'output "y": expected rank 2 as in F32|F16[rows, 3], got rank 1'),
        ([{"y": Y.T}], 'output "y": expected 3 as in F32|F16[rows, 3], got 2'),
        ([{"y": Y, "extra": Y}], 'output "extra": expected STRING[1], got float32[2, 3]'),
    ],
)
def test_a_result_that_is_not_as_declared_fails_its_request(given: Any, finding: str) -> None:
    (result,) = answers(Given(lambda _: given))
    assert finding in words(result)


@pytest.mark.parametrize(
    "outputs",
    [
        {"y": Y},
        {"y": Y.astype(np.float16), "extra": np.array(["text"])},
        {"y": Y.astype(">f4"), "extra": np.array([b"bytes"], object)},
        {"y": np.empty((0, 3), np.float32)},
        {"y": np.array([[np.nan, np.inf, -np.inf]], np.float32)},
    ],
)
def test_a_result_as_declared_travels_bit_for_bit(outputs: Outputs) -> None:
    (answer,) = ran(Given(lambda _: [outputs])).answers([10_000])
    expected = pb.InferResponse(outputs=tensors.from_arrays(outputs)).SerializeToString()
    assert b"".join(answer.response) == expected


def test_shapes_that_only_a_model_file_declares_may_be_wrong_names_and_dtypes_may_not() -> None:
    flat = np.ones(2, np.float32)
    assert answers(FromFile(lambda _: [{"y": flat}])) == [{"y": flat}]
    (result,) = answers(FromFile(lambda _: [{"y": flat.astype(np.int16)}]))
    assert "expected F32|F16[rows, 3], got int16[2]" in words(result)


@pytest.mark.parametrize(
    ("audio", "rate", "finding"),
    [
        ([0.0, np.nan], np.array([24000], np.int32), 'output "audio": expected finite samples'),
        ([-np.inf], np.array([24000], np.int32), 'output "audio": expected finite samples'),
        ([0.0], np.array([0], np.int32), 'output "sample_rate": expected one number above 0, got [0]'),
        ([0.0], np.array([np.nan], np.float32), 'output "sample_rate": expected one number above 0, got [nan]'),
        ([0.0], np.array([np.inf], ml_dtypes.bfloat16), 'output "sample_rate": expected one number above 0, got [inf]'),
        ([0.0], np.array([b"8000"], object), "output \"sample_rate\": expected one number above 0, got [b'8000']"),
        (None, np.array([-1], np.int32), 'output "sample_rate": expected one number above 0, got [-1]'),
    ],
)
def test_speech_that_is_no_sound_fails_its_request(audio: list[float] | None, rate: Array, finding: str) -> None:
    outputs = {"sample_rate": rate} if audio is None else {"audio": np.array(audio, np.float32), "sample_rate": rate}
    (result,) = answers(Speaks(lambda _: [outputs]))
    assert finding in words(result)


@pytest.mark.parametrize(
    ("audio", "got"),
    [
        (np.array([0, 20_000, -20_000], np.int16), "int16[3]"),
        (np.zeros((1, 800), np.float32), "float32[1, 800]"),
        (np.zeros((800, 2), np.float32), "float32[800, 2]"),
        (np.float32(0.5), "float32[]"),
    ],
)
def test_samples_that_a_sound_file_would_turn_into_noise_fail_their_request(audio: Array, got: str) -> None:
    (result,) = answers(Speaks(lambda _: [{"audio": audio, "sample_rate": np.array([8000], np.int32)}]))
    assert f'output "audio": expected floating-point samples on one axis (mono), got {got}' in words(result)


@pytest.mark.parametrize("outputs", [{}, {"audio": np.zeros(3, np.float32)}, {"sample_rate": np.array([8000.0], "f4")}])
def test_speech_may_leave_out_what_is_optional(outputs: Outputs) -> None:
    assert answers(Speaks(lambda requests: [outputs] * len(requests)), 2) == [outputs] * 2


@pytest.mark.parametrize("spare", [-1, 1])
def test_with_too_few_or_too_many_results_each_request_runs_alone(spare: int) -> None:
    def run(requests: Sequence[Request]) -> list[Outputs]:
        rows = [{"y": np.full((1, 3), number, np.float32)} for number in numbers(requests)]
        return rows if len(rows) == 1 else (rows * 2)[: len(rows) + spare]

    results = answers(Given(run), 3)
    assert [result["y"][0, 0] for result in results if isinstance(result, dict)] == [0, 1, 2]


@pytest.mark.parametrize(
    "failed",
    [
        InternalError("crowded"),
        InvalidArgumentError("the batch is too long"),
        ResourceExhaustedError("no memory for so many"),
        UnavailableError("busy"),
        {"y": Y.T},
    ],
)
def test_what_fails_in_company_runs_alone_once_more_and_keeps_that_answer(failed: Any) -> None:
    def run(requests: Sequence[Request]) -> list[Any]:
        results: list[Any] = [{"y": Y} for _ in requests]
        if len(requests) > 1:
            results[1] = failed
        return results

    backend = Given(run)
    assert answers(backend, 3) == [{"y": Y}] * 3
    assert backend.batches == [[0, 1, 2], [1]]


@pytest.mark.parametrize("error", [CancelledError, DeadlineExceededError])
def test_a_request_that_ended_in_company_because_nobody_waits_does_not_run_again(error: type[KernelPortError]) -> None:
    backend = Given(lambda requests: [{"y": Y}, error("gone")])
    assert [type(result) for result in answers(backend, 2)] == [dict, error]
    assert backend.batches == [[0, 1]]


def test_what_fails_alone_too_fails_with_what_it_said_then() -> None:
    backend = Given(lambda requests: [InternalError(f"failed among {len(requests)}")] * len(requests))
    assert [words(result) for result in answers(backend, 2)] == ["failed among 1"] * 2
    assert backend.batches == [[0, 1], [0], [1]]


@pytest.mark.parametrize("error", [SystemExit, KeyboardInterrupt, GeneratorExit, MemoryError, RecursionError, OSError])
def test_whatever_a_model_raises_fails_the_request_that_it_is_about(error: type[BaseException]) -> None:
    def run(requests: Sequence[Request]) -> list[Outputs]:
        if 1 in numbers(requests):
            raise error("as it does")
        return [{"y": Y} for _ in requests]

    results = answers(Given(run), 3)
    assert words(results[1]) == f"the model failed: {error.__name__}: as it does"
    assert [type(result) for result in results] == [dict, InternalError, dict]


class SilentError(Exception):
    def __str__(self) -> str:
        raise RuntimeError("str")


class BareError(InvalidArgumentError):
    def __init__(self) -> None:
        """Without a message."""


def misspelt() -> KernelPortError:
    error = InvalidArgumentError("")
    error.message = "bad \udc80 file"
    return error


@pytest.mark.parametrize(
    "made",
    [
        lambda: RuntimeError("bad \udc80 file"),
        lambda: InvalidArgumentError("bad \udc80 file"),
        SilentError,
        BareError,
        misspelt,
    ],
    ids=["surrogate", "surrogate-of-ours", "no-words", "no-message", "message-replaced"],
)
@pytest.mark.parametrize("is_raised", [True, False])
def test_an_error_that_cannot_be_told_fails_only_its_request(
    made: Callable[[], Exception], is_raised: bool, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.CRITICAL)  # pytest-xdist cannot carry what is logged

    def run(requests: Sequence[Request]) -> list[Any]:
        if is_raised and 1 in numbers(requests):
            raise made()
        return [made() if number == 1 else {"y": Y} for number in numbers(requests)]

    came_of_it = ran(Given(run), 3)
    completions = [each.completion for each in came_of_it.answers([10_000] * 3)]
    assert [bool(completion.error) for completion in completions] == [False, True, False]
    told = from_status(status_pb2.Status.FromString(completions[1].error))
    assert told.message == came_of_it.results[1].message  # which an item of a job gets


def test_an_output_whose_name_cannot_be_told_fails_only_its_request() -> None:
    backend = Given(lambda requests: [{"y": Y} | ({"\udc80": Y} if n == 1 else {}) for n in numbers(requests)])
    errors = [bool(answer.completion.error) for answer in ran(backend, 3).answers([10_000] * 3)]
    assert errors == [False, True, False]


def test_a_model_may_take_its_batch_apart() -> None:
    def run(requests: list[Request]) -> list[Outputs]:
        given = list(requests)
        requests.clear()
        rows = [np.full((1, 3), request.inputs.pop("x").item(), np.float32) for request in given]  # type: ignore[attr-defined]
        if len(given) > 1:
            raise ValueError("too many")
        return [{"y": row} for row in rows]

    results = answers(Given(run), 3)  # type: ignore[arg-type]
    assert [result["y"][0, 0] for result in results if isinstance(result, dict)] == [0, 1, 2]


def test_a_request_that_nobody_waits_for_any_more_is_not_tried_alone() -> None:
    def run(requests: Sequence[Request]) -> list[Outputs]:
        raise ZeroDivisionError

    def gone() -> None:
        raise CancelledError("the caller hung up")

    backend = Given(run)
    assert [type(result) for result in answers(backend, 2, gone)] == [CancelledError] * 2
    assert backend.batches == [[0, 1]]


def test_what_a_model_says_at_length_is_cut() -> None:
    def run(requests: Sequence[Request]) -> list[Outputs]:
        raise ValueError("missing key\n" * 100_000)

    (result,) = answers(Given(run))
    assert len(words(result)) < 1100
    assert "\n" not in words(result)


def test_elements_that_cannot_travel_fail_their_request() -> None:
    outputs = {"y": Y, "extra": np.array(["\ud800"], object)}
    (answer,) = ran(Given(lambda _: [outputs])).answers([10_000])
    assert (
        b"the model's output cannot travel: TypeError: tensor 'extra': a STRING element must be Unicode"
        in answer.completion.error
    )


def test_each_request_has_its_own_warnings_those_of_its_last_run() -> None:
    def run(requests: Sequence[Request]) -> list[Any]:
        for request, number in zip(requests, numbers(requests), strict=True):
            request.warn(f"{number} of {len(requests)}")
        fails = [len(requests) > 1 and number == 1 for number in numbers(requests)]
        return [InternalError("try alone") if each else {"y": Y} for each in fails]

    assert ran(Given(run), 3).warnings == [["0 of 3"], ["1 of 1"], ["2 of 3"]]


def test_warnings_are_few_and_short() -> None:
    request = Request({})
    for number in range(100):
        request.warn("the same")
        request.warn(f"{number} " + "\ud800" * 300)
    assert len(request.warnings) == len(set(request.warnings)) == 8
    assert max(map(len, request.warnings)) == 200
    "".join(request.warnings).encode()


def test_outputs_stay_as_they_were_given_while_the_next_batch_runs() -> None:
    memory, name, names = np.zeros((2, 3), np.float32), bytearray(b"0"), np.empty(1, object)
    names[0] = name

    def computed(requests: Sequence[Request]) -> list[Outputs]:
        memory[:] += 1
        name[0] += 1
        return [{"y": memory, "extra": names}]

    backend = Reuses(computed)
    outcomes = [ran(backend) for _ in range(2)]
    responses = [pb.InferResponse.FromString(b"".join(each.answers([10_000])[0].response)) for each in outcomes]
    found = [tensors.to_arrays(each.outputs) for each in responses]
    assert [(each["y"].max(), each["extra"][0]) for each in found] == [(1, b"1"), (2, b"2")]


def test_an_output_that_says_to_have_terabytes_is_refused_without_being_made() -> None:
    endless = np.broadcast_to(np.float32(1), (2**38, 3))
    (answer,) = ran(Reuses(lambda _: [{"y": endless}])).answers([10_000])
    told = from_status(status_pb2.Status.FromString(answer.completion.error))
    assert "expected an answer of at most 10,000 bytes" in told.message
