"""What users of Triton's stock client do: `python -m tests.http.triton_client grpc|http ADDRESS`.

It runs in a process of its own: it brings the protocol's messages under the names that those of a front door have.
"""

import queue
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import tritonclient.grpc
import tritonclient.http
from tritonclient.utils import InferenceServerException

X = np.arange(8, dtype=np.float32).reshape(2, 1, 2, 2)
NAME = "identity-onnx"


class User:
    """One of them, over gRPC or HTTP."""

    def __init__(self, protocol: str, address: str) -> None:
        self.of: Any = {"grpc": tritonclient.grpc, "http": tritonclient.http}[protocol]
        self.client = self.of.InferenceServerClient(address)
        self.kind = protocol

    def input(self, name: str, array: Any, datatype: str, **named: Any) -> Any:
        given = self.of.InferInput(name, list(array.shape), datatype)
        given.set_data_from_numpy(array, **named)
        return given

    def refusal(self, call: Callable[[], Any]) -> InferenceServerException:
        try:
            call()
        except InferenceServerException as error:
            return error
        raise AssertionError("expected an error")

    def asks_whether_all_is_well(self) -> None:
        assert self.client.is_server_live()
        assert self.client.is_server_ready()
        assert self.client.is_model_ready(NAME)
        assert not self.client.is_model_ready("luxtts")
        self.client.unregister_system_shared_memory()
        self.client.unregister_cuda_shared_memory()
        assert not self.client.get_system_shared_memory_status() or self.kind == "grpc"

    def reads_what_a_model_takes(self) -> None:
        as_json = {"as_json": True} if self.kind == "grpc" else {}
        told = self.client.get_model_metadata(NAME, **as_json)
        assert (told["inputs"][0]["name"], told["inputs"][0]["datatype"]) == ("x", "FP32")
        assert [int(size) for size in told["inputs"][0]["shape"]] == [-1, -1, -1, -1]
        config = self.client.get_model_config(NAME, **as_json)
        config = config.get("config", config)
        assert config["max_batch_size"] > 0
        assert [int(size) for size in config["input"][0]["dims"]] == [-1, -1, -1]
        speech = self.client.get_model_config("hibari-en", **as_json)
        speech = speech.get("config", speech)
        assert speech.get("max_batch_size", 0) == 0
        assert {each["name"] for each in speech["input"] if each.get("optional")} == {
            "speed",
            "locale",
            "seed",
            "lexicon",
        }

    def infers_with_raw_contents(self) -> None:
        result = self.client.infer(NAME, [self.input("x", X, "FP32")], request_id="7")
        assert np.array_equal(result.as_numpy("y"), X)
        chosen = [self.of.InferRequestedOutput("y")]
        for _ in range(2):  # an id is no key: the same one goes with anything
            result = self.client.infer(NAME, [self.input("x", 2 * X, "FP32")], request_id="7", outputs=chosen)
            assert np.array_equal(result.as_numpy("y"), 2 * X)

    def speaks_a_text_of_bytes(self) -> None:
        text = self.input("text", np.array([b"Good morning."], object), "BYTES")
        result = self.client.infer("hibari-en", [text])
        assert result.as_numpy("sample_rate").tolist() == [24000]
        assert result.as_numpy("audio").size > 12_000
        odd = "Good \u0442\u0438\u0445\u043e morning."
        told = self.client.infer("hibari-en", [self.input("text", np.array([odd.encode()], object), "BYTES")])
        found = told.get_response().parameters if self.kind == "grpc" else told.get_response()["parameters"]
        assert odd[5:9] in (found["warnings"].string_param if self.kind == "grpc" else found["warnings"])

    def is_told_what_is_wrong(self) -> None:
        given = [self.input("x", X, "FP32")]
        assert "there are:" in str(self.refusal(lambda: self.client.infer("nobody", given)))
        assert 'the version "1"' in str(self.refusal(lambda: self.client.infer(NAME, given, model_version="2")))
        wrong = [self.input("x", X.astype(np.int32), "INT32")]
        assert "expected F32" in str(self.refusal(lambda: self.client.infer(NAME, wrong)))
        other = [self.of.InferRequestedOutput("z")]
        assert "outputs[0]" in str(self.refusal(lambda: self.client.infer(NAME, given, outputs=other)))
        for not_here in (
            lambda: self.client.load_model(NAME),
            lambda: self.client.register_system_shared_memory("a", "/a", 8),
            self.client.get_trace_settings,
            self.client.get_log_settings,
        ):
            assert self.refusal(not_here).status() in ("501", "StatusCode.UNIMPLEMENTED")

    def has_no_more_time_than_it_says(self) -> None:
        given = [self.input("x", X, "FP32")]
        late = self.refusal(lambda: self.client.infer(NAME, given, timeout=1))
        assert "within 1e-06 s" in str(late)

    def reads_statistics(self) -> None:
        before = self.count()
        self.client.infer(NAME, [self.input("x", X, "FP32")])
        assert self.count() == before + 1
        listed = self.client.get_model_repository_index(**({"as_json": True} if self.kind == "grpc" else {}))
        models = listed["models"] if self.kind == "grpc" else listed
        assert {each["name"]: each["state"] for each in models}[NAME] == "READY"

    def count(self) -> int:
        as_json = {"as_json": True} if self.kind == "grpc" else {}
        (told,) = self.client.get_inference_statistics(NAME, **as_json)["model_stats"]
        return int(told["inference_stats"]["success"].get("count", 0))

    def packs_and_speaks_json(self) -> None:
        plain = [self.of.InferRequestedOutput("y", binary_data=False)]
        given = [self.input("x", X, "FP32", binary_data=False)]
        assert np.array_equal(self.client.infer(NAME, given, outputs=plain).as_numpy("y"), X)
        for packer in ("gzip", "deflate"):
            packed = {"request_compression_algorithm": packer, "response_compression_algorithm": packer}
            result = self.client.infer(NAME, [self.input("x", X, "FP32")], **packed)
            assert np.array_equal(result.as_numpy("y"), X)

    def streams(self) -> None:
        answers: queue.Queue[Any] = queue.Queue()
        self.client.start_stream(lambda result, error: answers.put((result, error)))
        given = [self.input("x", X, "FP32")]
        self.client.async_stream_infer(NAME, given, request_id="1", enable_empty_final_response=True)
        result, error = answers.get(timeout=30)
        assert error is None
        assert result.get_response().parameters["triton_final_response"].bool_param
        self.client.async_stream_infer("nobody", given)
        result, error = answers.get(timeout=30)
        assert "there are:" in str(error)
        self.client.async_stream_infer(NAME, given)
        assert np.array_equal(answers.get(timeout=30)[0].as_numpy("y"), X)
        self.client.stop_stream()


STEPS = {
    "http": (
        *("asks_whether_all_is_well", "reads_what_a_model_takes", "infers_with_raw_contents", "speaks_a_text_of_bytes"),
        *("is_told_what_is_wrong", "has_no_more_time_than_it_says", "reads_statistics", "packs_and_speaks_json"),
    ),
    "grpc": (
        *("asks_whether_all_is_well", "reads_what_a_model_takes", "infers_with_raw_contents", "speaks_a_text_of_bytes"),
        *("is_told_what_is_wrong", "has_no_more_time_than_it_says", "reads_statistics", "streams"),
    ),
}


if __name__ == "__main__":
    protocol, address = sys.argv[1:]
    user = User(protocol, address)
    for step in STEPS[protocol]:
        print(step, flush=True)
        getattr(user, step)()
