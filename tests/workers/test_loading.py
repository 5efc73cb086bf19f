"""Whatever goes wrong when a model is loaded, there is one line that says what."""

import os
from pathlib import Path

import pytest

from kernelport.config.deployments import Deployment
from kernelport_workers.backends import loading
from kernelport_workers.backends.base import LoadError
from kernelport_workers.check import problem_of

MODULE = """
import sys
from kernelport.signature import Signature, tensor_spec
from kernelport.v1 import inference_pb2 as pb
from kernelport_workers.backends.base import Backend


class Odd(Backend):
    @classmethod
    def load(cls, deployment):
        return cls()

    def run(self, requests):
        return []


def raising(error):
    def load(cls, deployment):
        raise error
    return type("Raising", (Odd,), {"load": classmethod(load)})


Exits = raising(SystemExit("no GPU today"))
HasNoMemory = raising(MemoryError())
SaysMuch = raising(RuntimeError("missing keys:\\n\\tencoder" + ".weight" * 1000))


class IsNone(Odd):
    load = classmethod(lambda cls, deployment: None)


class DeclaresADict(Odd):
    signature, device = {"x": 1}, "cpu"


class NamesNoDevice(Odd):
    signature = Signature()


def speaking(*audio):
    outputs = [tensor_spec("audio", *audio), tensor_spec("sample_rate", pb.I32, [1])]
    return type("Speaking", (Odd,), {"signature": Signature(outputs=outputs), "device": "cpu"})


Integers = speaking(pb.I16, ["samples"])
Channels = speaking(pb.F32, ["channels", "samples"])
"""


@pytest.fixture(autouse=True)
def modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "odd_models.py").write_text(MODULE)
    (tmp_path / "unfinished.py").write_text("def (")
    (tmp_path / "leaving.py").write_text("import sys\nsys.exit('not on this machine')")
    monkeypatch.syspath_prepend(tmp_path)


def deployment(pipeline: str) -> Deployment:
    return Deployment(name="odd", backend="onnx", image="none", pipeline=pipeline)


@pytest.mark.parametrize(
    ("pipeline", "reason"),
    [
        ("odd_models:Exits", "SystemExit: no GPU today"),
        ("odd_models:HasNoMemory", "MemoryError"),
        ("odd_models:SaysMuch", "RuntimeError: missing keys: encoder.weight.weight"),
        ("odd_models:Odd", "Odd.signature: expected a Signature, got none"),
        ("odd_models:DeclaresADict", "DeclaresADict.signature: expected a Signature, got dict"),
        ("odd_models:NamesNoDevice", "NamesNoDevice.device: expected a str, got none"),
        ("odd_models:Integers", 'output "audio": expected floating-point samples on one axis (mono), got I16[samples]'),
        ("odd_models:Channels", 'output "audio": expected floating-point samples on one axis (mono), got F32[channels'),
        ("odd_models:IsNone", "load: expected it to return a Backend, got NoneType"),
        ("odd_models:MODULE", "cannot import 'odd_models:MODULE': AttributeError: module 'odd_models' has no"),
        ("odd_models:raising", "odd_models:raising is no Backend class"),
        ("unfinished:Model", "cannot import 'unfinished:Model': SyntaxError: invalid syntax (unfinished.py, line 1)"),
        ("leaving:Model", "cannot import 'leaving:Model': SystemExit: not on this machine"),
        (
            "absent:Model",
            "cannot import 'absent:Model': ModuleNotFoundError: No module named 'absent'; it is looked for where "
            f"packages are, and in {os.getcwd()}",
        ),
    ],
)
def test_a_load_that_fails_in_any_way_gives_its_reason(pipeline: str, reason: str) -> None:
    with pytest.raises(LoadError) as refused:
        loading.load(deployment(pipeline))
    assert str(refused.value).startswith(reason)
    assert "\n" not in str(refused.value)


def test_where_a_module_is_looked_for_is_not_said_of_one_that_it_imports(tmp_path: Path) -> None:
    (tmp_path / "importing.py").write_text("import absent")
    with pytest.raises(LoadError) as refused:
        loading.load(deployment("importing:Model"))
    assert str(refused.value) == "cannot import 'importing:Model': ModuleNotFoundError: No module named 'absent'"


def test_a_module_that_cannot_be_imported_is_known_before_a_worker_is_started() -> None:
    assert "SyntaxError" in (problem_of(deployment("unfinished:Model")) or "")
    assert problem_of(deployment("odd_models:Exits")) is None
