"""The deployment `luxtts` through the whole stack: front door, queue, worker, engine, with the tiny checkpoint."""

import hashlib
import io
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
import soundfile
from click.testing import CliRunner
from redis import Redis

from kernelport import Client, InvalidArgumentError, tensors
from kernelport.broker import keys
from kernelport.cli import cli
from kernelport.coercion import coerce
from kernelport.supervisor.stack import Stack
from kernelport.v1 import inference_pb2, inference_pb2_grpc, job_pb2_grpc
from kernelport.v1 import job_pb2 as pb
from kernelport_workers.luxtts import Audio, Pipeline, Utterance
from tests.conftest import serving_stack, stack_settings
from tests.jobs.calls import JobCalls, spoken
from tests.luxtts import transcriber
from tests.luxtts.conftest import audio_file, tone, write_deployment
from tests.waiting import wait_for

VOICES = [audio_file(tone(1.0)), audio_file(tone(0.7, level=0.05), kind="FLAC")]
SAID = "Hello there, this is me."
ME = np.frombuffer(b"me", np.uint8)


@pytest.fixture(scope="module")
def stack(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A stack with the deployment."""
    folder = tmp_path_factory.mktemp("luxtts")
    os.environ[transcriber.LOG] = str(folder / "heard")
    deployments = write_deployment(folder, tiny, {"transcriber": "tests.luxtts.transcriber:Counting"})
    with serving_stack(stack_settings(deployments), ["luxtts"], folder / "state") as stack:
        yield stack


@pytest.fixture(scope="module")
def target(stack: Stack) -> str:
    """Where its front door listens."""
    return stack.target


@pytest.fixture
def redis(stack: Stack) -> Iterator[Redis]:
    """Its Redis."""
    with Redis.from_url(stack.settings.redis_url) as connected:
        yield connected


@pytest.fixture(scope="module")
def client(target: str) -> Iterator[Client]:
    with Client(target, timeout_s=60) as connected:
        yield connected


@pytest.fixture(scope="module")
def jobs(target: str) -> Iterator[JobCalls]:
    with grpc.insecure_channel(target) as channel:
        yield JobCalls(job_pb2_grpc.JobServiceStub(channel))


def infer(client: Client, **inputs: Any) -> dict[str, np.ndarray]:
    """The outputs for these inputs; what is not given is a short text in the first voice."""
    given = {"text": "Yes.", "prompt_audio": VOICES[0], "prompt_text": SAID, **inputs}
    present = {name: value for name, value in given.items() if value is not None}
    return client.infer("luxtts", coerce(present, client.deployment("luxtts").signature)).outputs


def test_it_speaks_at_48_khz_as_the_engine_does_alone(client: Client, tiny: Path) -> None:
    outputs = infer(client, text="A sentence to say.", seed=7, num_steps=2, speed=1.2)
    assert outputs["sample_rate"].tolist() == [48000]
    assert "audio_file" not in outputs
    engine = Pipeline.load(tiny)
    voice = engine.encode_prompt(VOICES[0], SAID)
    (alone,) = engine.synthesize([Utterance("A sentence to say.", voice, seed=7, num_steps=2, speed=1.2)])
    assert isinstance(alone, Audio)
    assert outputs["audio"].tobytes() == alone.samples.tobytes()


def test_a_stream_is_what_a_call_returns(client: Client) -> None:
    text = "Well, this is how it begins now. " + "One more sentence of some letters follows here. " * 6
    given = coerce({"prompt_audio": VOICES[0], "prompt_text": SAID}, client.deployment("luxtts").signature)
    pieces = list(client.stream("luxtts", text, seed=5, **given))
    assert len(pieces) > 3
    whole = infer(client, text=text, seed=5)["audio"]
    np.testing.assert_array_equal(np.concatenate([piece.audio for piece in pieces]), whole)


def test_it_tells_its_words_and_where_they_stand(client: Client) -> None:
    text = "It was **$5**. " + "One more sentence of some letters follows here. " * 6 + "\n\nOver."
    given = coerce({"prompt_audio": VOICES[0], "prompt_text": SAID}, client.deployment("luxtts").signature)
    wanted = {"outputs": ["spoken", "spans"], "seed": 5, **given}
    speech = client.speak("luxtts", text, **wanted)
    assert speech.spoken is not None
    assert speech.spans is not None
    assert speech.spoken.startswith("It was five dollars. One more sentence")
    assert speech.spoken.endswith("Over.")
    begins, ends, samples, sample_ends = speech.spans.T
    assert len(begins) > 3
    assert (begins[0], ends[-1]) == (0, len(text))
    assert (samples[0], sample_ends[-1]) == (0, len(speech.audio))
    assert (samples[1:] == sample_ends[:-1]).all()
    assert (begins[1:] >= ends[:-1]).all()
    pieces = list(client.stream("luxtts", text, **wanted))
    np.testing.assert_array_equal(np.concatenate([piece.spans for piece in pieces]), speech.spans)
    assert "".join(str(piece.spoken) for piece in pieces) == speech.spoken


def test_words_are_read_by_a_lexicon(client: Client) -> None:
    said = infer(client, text="win has a jif.")["audio"]
    lexicon = "Nguyen = win\nGIF = jif"
    assert infer(client, text="Nguyen has a GIF.", lexicon=lexicon)["audio"].tobytes() == said.tobytes()


def test_the_defaults_are_those_of_the_contract(client: Client) -> None:
    explicit = {"rms": 0.01, "t_shift": 0.9, "num_steps": 4, "speed": 1.0, "return_smooth": 0, "ref_duration": 5}
    said = infer(client)["audio"]
    assert said.tobytes() == infer(client, **explicit, seed=0, upstream=0)["audio"].tobytes()
    assert said.ndim == 1
    assert np.abs(said).max() <= 1


@pytest.mark.parametrize(
    "changed",
    [
        {"seed": 1},
        {"num_steps": 2},
        {"t_shift": 0.5},
        {"speed": 2.0},
        {"return_smooth": 1},
        {"rms": 0.5},
        {"upstream": 1},
    ],
    ids=lambda changed: next(iter(changed)),
)
def test_each_optional_input_changes_the_speech(client: Client, changed: dict[str, Any]) -> None:
    text = "Long enough for its pace to show."
    assert infer(client, text=text, **changed)["audio"].tobytes() != infer(client, text=text)["audio"].tobytes()


@pytest.mark.parametrize(("name", "container"), [("wav", "WAV"), ("flac", "FLAC"), ("ogg", "OGG"), ("mp3", "MP3")])
def test_a_file_of_the_speech_comes_on_request(client: Client, name: str, container: str) -> None:
    said, outputs = infer(client)["audio"], infer(client, audio_format=name)
    assert outputs["audio"].shape == (0,)
    with soundfile.SoundFile(io.BytesIO(outputs["audio_file"].tobytes())) as file:
        assert (file.format, file.samplerate, file.channels) == (container, 48000, 1)
        decoded = file.read(dtype="float32")
    if name in ("wav", "flac"):
        assert np.abs(decoded - said).max() < 1e-4


def test_a_stock_client_takes_long_speech_as_a_file(client: Client, target: str) -> None:
    given = {"text": "One two three. " * 250, "prompt_audio": VOICES[0], "prompt_text": SAID, "num_steps": 1}
    inputs = tensors.from_arrays(coerce({**given, "audio_format": "mp3"}, client.deployment("luxtts").signature))
    with grpc.insecure_channel(target) as channel:
        stub = inference_pb2_grpc.InferenceServiceStub(channel)
        response = stub.Infer(inference_pb2.InferRequest(model="luxtts", inputs=inputs), timeout=60)
    outputs = tensors.to_arrays(response.outputs)
    assert soundfile.info(io.BytesIO(outputs["audio_file"].tobytes())).duration > 4 * 2**20 / 4 / 48_000
    speech = client.speak("luxtts", **{**given, "text": "Yes."}, audio_format="flac")
    assert 0.1 < speech.seconds < 5


@pytest.mark.parametrize("bound", [{"t_shift": 0.01}, {"rms": 1e-6}, {"speed": 0.25}, {"t_shift": 10.0}, {"rms": 1.0}])
def test_the_bounds_themselves_are_allowed(client: Client, bound: dict[str, float]) -> None:
    assert infer(client, **bound, num_steps=1)["audio"].size


def test_a_recording_is_transcribed_once_and_shared_through_redis(client: Client, redis: Redis) -> None:
    recording = audio_file(tone(0.9))
    before = len(transcriber.heard())
    first, second = (infer(client, prompt_audio=recording, prompt_text=None, rms=rms) for rms in (0.01, 0.5))
    assert len(transcriber.heard()) == before + 1
    assert first["audio"].tobytes() != second["audio"].tobytes()
    assert (
        infer(client, prompt_audio=recording, prompt_text=transcriber.WORDS)["audio"].tobytes()
        == first["audio"].tobytes()
    )
    key = keys.encoded_voice(hashlib.sha256(recording).hexdigest())
    assert redis.hlen(key) == 3
    assert 0 < redis.ttl(key) <= keys.ENCODED_VOICE_TTL_S


def test_others_are_answered_while_the_words_of_a_recording_are_heard(client: Client) -> None:
    infer(client)  # whose voice is known from now on
    heard = len(transcriber.heard())
    with ThreadPoolExecutor() as pool, transcriber.held():
        waits = pool.submit(infer, client, prompt_audio=audio_file(tone(0.75)), prompt_text=None)
        wait_for(lambda: len(transcriber.heard()) > heard)
        assert infer(client, seed=3)["audio"].size
        assert not waits.done()
    assert waits.result()["audio"].size


def test_a_registered_voice_speaks_until_it_is_deleted(client: Client) -> None:
    client.add_voice("me", VOICES[0], transcript=SAID, consent="A test.", owner="The tests.")
    alone = {"prompt_audio": None, "prompt_text": None}
    assert infer(client, voice="me", **alone)["audio"].tobytes() == infer(client)["audio"].tobytes()
    client.delete_voice("me")
    with pytest.raises(InvalidArgumentError, match="no voice is named 'me'"):
        infer(client, voice="me", **alone)


@contextmanager
def busy_worker(client: Client, pool: ThreadPoolExecutor, level: float) -> Iterator[None]:
    """The worker takes nothing meanwhile: it hears a recording of this level, which must be new to it."""
    heard = len(transcriber.heard())
    with transcriber.held():
        call = pool.submit(infer, client, prompt_audio=audio_file(tone(0.8, level=level)), prompt_text=None)
        wait_for(lambda: len(transcriber.heard()) > heard)
        yield
    call.result()


def wave_of(jobs: JobCalls, job: str, item: str) -> np.ndarray:
    """What an item of a job says."""
    return soundfile.read(io.BytesIO(jobs.output(job, item)), dtype="float32")[0]


@pytest.mark.parametrize("shares", [True, False], ids=["shared", "own"])
def test_all_items_of_a_job_speak_in_the_voice_that_it_was_submitted_with(
    client: Client, jobs: JobCalls, redis: Redis, shares: bool
) -> None:
    notes = {"consent": "A test.", "owner": "The tests."}
    client.add_voice("me", VOICES[0], transcript=SAID, **notes)
    own, shared = ({}, {"voice": ME}) if shares else ({"voice": ME}, {})
    texts = {"one": "Yes.", "two": "No."}
    with ThreadPoolExecutor() as pool, busy_worker(client, pool, level=0.2 + 0.1 * shares):
        items = [spoken(name, text, **own) for name, text in texts.items()]
        job = jobs.submit("luxtts", items, shared_inputs=tensors.from_arrays(shared)).id
        client.delete_voice("me")
        client.add_voice("me", VOICES[1], **notes)
    assert jobs.wait(job).state == pb.JOB_STATE_SUCCEEDED
    for name, text in texts.items():
        assert np.abs(wave_of(jobs, job, name) - infer(client, text=text)["audio"]).max() < 1e-4, name
    assert not redis.keys("kp:jobs:voices:*")
    assert not redis.keys("kp:jobs:recording:*")
    client.delete_voice("me")


def test_a_job_that_names_a_voice_that_is_not_there_is_refused(client: Client) -> None:
    before = [job.id for job in client.jobs.list("luxtts")]
    own = [("a", {"text": "Hello there.", "voice": "nobody"})]
    for items, shared in ((own, {}), ([("a", "Hello there.")], {"voice": "nobody"})):
        with pytest.raises(InvalidArgumentError, match="no voice is named 'nobody'") as refused:
            client.jobs.submit("luxtts", items, shared=shared)
        assert refused.value.field == 'inputs["voice"]'
    assert [job.id for job in client.jobs.list("luxtts")] == before


def test_a_resumed_job_speaks_in_the_voice_that_was_deleted_half_way(client: Client, jobs: JobCalls) -> None:
    recording = audio_file(tone(1.2))
    client.add_voice("me", recording, consent="A test.", owner="The tests.")
    # By their lengths they are batches of their own.
    texts = {"first": "Some words that come before all others.", "second": "Yes."}
    heard = len(transcriber.heard())
    with transcriber.held():
        job = jobs.submit("luxtts", [spoken(name, text, voice=ME) for name, text in texts.items()]).id
        wait_for(lambda: len(transcriber.heard()) > heard)  # the first is on its way
        client.delete_voice("me")
        jobs.cancel(job)
    assert jobs.wait(job).progress.cancelled > 0
    jobs.resume(job)
    assert jobs.wait(job).state == pb.JOB_STATE_SUCCEEDED
    for name, text in texts.items():
        alone = infer(client, text=text, prompt_audio=recording, prompt_text=transcriber.WORDS)["audio"]
        assert np.abs(wave_of(jobs, job, name) - alone).max() < 1e-4, name


def test_say_clones_a_voice_from_a_file(client: Client, target: str, tmp_path: Path) -> None:
    (tmp_path / "me.wav").write_bytes(VOICES[0])
    arguments = ["say", "Yes.", "--deployment", "luxtts", "--target", target, "-o", str(tmp_path / "said.wav")]
    inputs = ["--set", f"prompt_audio=@{tmp_path / 'me.wav'}", "--set", f"prompt_text={SAID}"]
    result = CliRunner().invoke(cli, [*arguments, *inputs])
    assert result.exit_code == 0, result.output
    said, rate = soundfile.read(tmp_path / "said.wav", dtype="float32")
    assert rate == 48000
    assert np.abs(said - infer(client)["audio"]).max() < 1e-4


def test_long_text_is_spoken_in_pieces(client: Client) -> None:
    short = infer(client, text="One two three.", num_steps=1)["audio"]
    long = infer(client, text="One two three. " * 30, num_steps=1)["audio"]
    assert len(long) > 10 * len(short)


def test_32_callers_with_mixed_voices_each_get_what_they_would_alone(client: Client) -> None:
    client.add_voice("third", VOICES[1], transcript="Another one.", consent="A test.", owner="The tests.")
    voices = [
        {"prompt_audio": VOICES[0]},
        {"prompt_audio": VOICES[1]},
        {"prompt_audio": None, "prompt_text": None, "voice": "third"},
    ]
    requests: list[dict[str, Any]] = [
        {"text": f"Caller number {index}.", "seed": index, "num_steps": 1 + index % 2, **voices[index % 3]}
        for index in range(32)
    ]
    alone = [infer(client, **request)["audio"].tobytes() for request in requests]
    with ThreadPoolExecutor(32) as pool:
        together = list(pool.map(lambda request: infer(client, **request)["audio"].tobytes(), requests))
    assert together == alone
    assert len(set(together)) == 32


BAD: list[tuple[str, Any]] = [
    *(("text", value) for value in ("", " ", "...", "\n\n", "Привет", b"\xff\xfe", "a" * 100_001)),
    *(("prompt_audio", value) for value in (b"", b"RIFF", b"not audio at all", audio_file(tone(0.1)))),
    ("prompt_audio", audio_file(np.zeros(24_000, np.float32))),
    ("prompt_audio", VOICES[0][:60]),
    ("prompt_audio", None),
    *(("prompt_text", value) for value in ("", "...", b"\xff", "a" * 2_001)),
    *(("voice", value) for value in ("nobody", "", b"\xff")),
    *(("rms", value) for value in (0.0, -1.0, 1.5, float("nan"), float("inf"))),
    *(("t_shift", value) for value in (0.0, -1.0, 11.0, float("nan"))),
    *(("num_steps", value) for value in (0, -1, 65, 2**31 - 1)),
    *(("speed", value) for value in (0.0, -1.0, 0.1, 5.0, float("nan"))),
    *(("return_smooth", value) for value in (2, -1)),
    *(("upstream", value) for value in (2, -1)),
    *(("ref_duration", value) for value in (0, -1, 31)),
    *(("seed", value) for value in (-1, -(2**63))),
    *(("audio_format", value) for value in ("aac", "", "WAV ", b"\xff")),
]


@pytest.mark.parametrize(("name", "value"), BAD, ids=lambda value: repr(value)[:30])
def test_a_bad_input_is_refused_by_name(client: Client, name: str, value: Any) -> None:
    without = {"prompt_audio": None, "prompt_text": None} if name == "voice" else {}
    with pytest.raises(InvalidArgumentError) as refused:
        infer(client, **without, **{name: value})
    assert f'inputs["{name}"]' in {violation.field for violation in refused.value.violations}, refused.value


@pytest.mark.parametrize("beside", ["prompt_audio", "prompt_text"])
def test_a_voice_comes_alone(client: Client, beside: str) -> None:
    given = {
        "prompt_audio": None,
        "prompt_text": None,
        beside: {"prompt_audio": VOICES[0], "prompt_text": SAID}[beside],
    }
    with pytest.raises(InvalidArgumentError) as refused:
        infer(client, voice="third", **given)
    assert refused.value.violations[0].field == f'inputs["{beside}"]'


def test_a_bad_request_fails_alone(client: Client) -> None:
    with ThreadPoolExecutor(8) as pool:
        calls = [pool.submit(infer, client, text=text) for text in ("Yes.", "...", "No.", "...") * 2]
        failed = [call.exception() is not None for call in calls]
    assert failed == [False, True, False, True] * 2
