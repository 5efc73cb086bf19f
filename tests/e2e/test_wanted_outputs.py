"""Callers name the outputs that they want; the words of speech, and where they stand, come only so."""

import io
from collections.abc import Iterator
from typing import Any

import grpc
import numpy as np
import pytest

from kernelport import AlreadyExistsError, Client, InvalidArgumentError, tensors
from kernelport.supervisor.stack import Stack
from kernelport.v1 import inference_pb2 as pb
from kernelport.v1 import inference_pb2_grpc, job_pb2, job_pb2_grpc
from tests.cli.running import called
from tests.jobs.calls import JobCalls, spoken

TEXT = (
    'It was <b>$5</b>.  Dr. Ito paid at 6:30.\n\n<break time="1s"/>Then — nobody knows why — it rained. '
    + "Rain fell. " * 20
)
WANTED = ["audio", "sample_rate", "spoken", "spans"]


def request(*outputs: str, text: str = TEXT, first: int = 0) -> pb.InferRequest:
    inputs = tensors.from_arrays({"text": np.frombuffer(text.encode(), np.uint8)})
    return pb.InferRequest(model="hibari-en", inputs=inputs, outputs=outputs, resume_from=first)


@pytest.fixture
def stub(channel: grpc.Channel) -> inference_pb2_grpc.InferenceServiceStub:
    return inference_pb2_grpc.InferenceServiceStub(channel)


@pytest.fixture
def jobs(channel: grpc.Channel) -> JobCalls:
    return JobCalls(job_pb2_grpc.JobServiceStub(channel))


def messages(stub: Any, *outputs: str, first: int = 0) -> Iterator[dict[str, Any]]:
    for answer in stub.InferStream(request(*outputs, first=first), timeout=60):
        yield tensors.to_arrays(answer.outputs)


def test_an_answer_has_the_outputs_that_are_named_in_that_order(client: Client) -> None:
    assert list(client.infer("hibari-en", {"text": "Two."})) == ["audio", "sample_rate"]
    assert list(client.infer("hibari-en", {"text": "Two."}, outputs=["sample_rate", "audio"])) == [
        "sample_rate",
        "audio",
    ]
    assert list(client.infer("hibari-en", {"text": "Two."}, outputs=["spoken"])) == ["spoken"]
    (x,) = client.map("identity-onnx", [{"x": np.ones((1, 1, 2, 2), np.float32)}], outputs=["y"])
    assert list(x) == ["y"]


def test_a_name_that_the_model_has_not_is_refused(client: Client) -> None:
    with pytest.raises(InvalidArgumentError, match=r'no output "words"; expected audio, sample_rate, spoken, spans'):
        client.infer("hibari-en", {"text": "Two."}, outputs=["audio", "words"])
    with pytest.raises(InvalidArgumentError, match='expected each name once, got "audio" again'):
        client.infer("hibari-en", {"text": "Two."}, outputs=["audio", "audio"])
    with pytest.raises(InvalidArgumentError, match='expected a list of names, got "audio"'):
        client.infer("hibari-en", {"text": "Two."}, outputs="audio")


def test_a_request_id_stands_for_its_outputs_too(client: Client) -> None:
    first = client.speak("hibari-en", "Two.", outputs=["spoken"], request_id="wanted-outputs")
    again = client.speak("hibari-en", "Two.", outputs=["spoken"], request_id="wanted-outputs")
    assert (first.spoken, again.spoken) == ("Two.", "Two.")
    with pytest.raises(AlreadyExistsError):
        client.speak("hibari-en", "Two.", outputs=["spans"], request_id="wanted-outputs")


def test_speech_tells_its_words_and_where_they_stand(client: Client) -> None:
    speech = client.speak("hibari-en", TEXT, outputs=["spoken", "spans"])
    assert speech.spoken is not None
    assert speech.spans is not None
    first, second = speech.spoken.splitlines()
    assert first == "It was five dollars. Doctor Ito paid at six thirty."
    assert second.startswith("Then — nobody knows why — it rained. Rain fell.")
    begins, ends, samples, sample_ends = speech.spans.T
    assert TEXT[begins[0] : ends[0]] == "It was <b>$5</b>."
    assert TEXT[begins[1] : ends[1]] == "Dr. Ito paid at 6:30."
    assert (begins[1:] >= ends[:-1]).all()
    assert samples[0] == 0
    assert (samples[1:] == sample_ends[:-1]).all()
    assert sample_ends[-1] == len(speech.audio)
    np.testing.assert_array_equal(speech.audio, client.speak("hibari-en", TEXT).audio)


def test_messages_of_a_stream_are_the_answer_in_parts(client: Client, stub: Any) -> None:
    whole = client.infer("hibari-en", {"text": TEXT}, outputs=WANTED)
    parts = list(messages(stub, *WANTED))
    assert len(parts) > 3
    assert all(list(part) == WANTED for part in parts)
    for name in ("audio", "spoken", "spans"):
        np.testing.assert_array_equal(np.concatenate([part[name] for part in parts]), whole[name])
    pieces = list(client.stream("hibari-en", TEXT, outputs=["spoken"]))
    assert "".join(str(piece.spoken) for piece in pieces) == whole["spoken"].tobytes().decode()


def test_a_stream_that_goes_on_tells_the_same_places(stub: Any) -> None:
    whole, rest = list(messages(stub, *WANTED)), list(messages(stub, *WANTED, first=2))
    assert len(rest) == len(whole) - 2
    for part, again in zip(whole[2:], rest, strict=True):
        for name in WANTED:
            np.testing.assert_array_equal(part[name], again[name])
    assert list(messages(stub, *WANTED, first=len(whole))) == [{}], "it has been told whole"
    with pytest.raises(grpc.RpcError, match=f"expected at most {len(whole)}, the number of messages"):
        list(messages(stub, *WANTED, first=len(whole) + 1))


def test_a_job_keeps_the_outputs_that_it_names(client: Client, jobs: JobCalls) -> None:
    job = jobs.wait(jobs.submit("hibari-en", [spoken("a", TEXT)], outputs=WANTED).id)
    assert job.state == job_pb2.JOB_STATE_SUCCEEDED
    (item,) = jobs.items(job.id)
    assert (item.file, item.audio_s > 1) == ("a.npz", True)
    whole = client.infer("hibari-en", {"text": TEXT}, outputs=WANTED)
    with np.load(io.BytesIO(jobs.output(job.id, "a"))) as kept:
        assert sorted(kept) == sorted(WANTED)
        for name in WANTED:
            np.testing.assert_array_equal(kept[name], whole[name])


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"outputs": ["words"]}, r"spec.outputs\[0\]"),
        ({"outputs": ["audio"], "output_format": job_pb2.OUTPUT_FORMAT_MP3}, "spec.output_format: expected .*NPZ"),
    ],
)
def test_a_job_of_outputs_that_cannot_be_kept_is_refused(jobs: JobCalls, options: dict[str, Any], told: str) -> None:
    with pytest.raises(grpc.RpcError, match=told):
        jobs.submit("hibari-en", [spoken("a", "One.")], **options)


def test_the_command_line_asks_for_them(stack: Stack, tmp_path: Any) -> None:
    out = tmp_path / "out.npz"
    target = ["--target", stack.target]
    called("infer", "hibari-en", "--input", "text=It is 5 kg.", "--output", "spoken", "-o", out, *target)
    with np.load(out) as kept:
        assert {name: kept[name].tobytes() for name in kept} == {"spoken": b"It is five kilograms."}
    said = called("say", "It is 5 kg.", "It is 6 km.", "--spoken", "-o", tmp_path / "said.wav", *target)
    assert said.stdout.splitlines()[:2] == ["It is five kilograms.", "It is six kilometers."]
    said = called("say", "--stream", "It is 5 kg.", "--spoken", "-o", tmp_path / "streamed.wav", *target)
    assert said.stdout.splitlines()[0] == "It is five kilograms."
