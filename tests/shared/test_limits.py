"""Values are compared with the limits that a signature declares."""

import numpy as np
import pytest

from kernelport.limits import Limits, about
from kernelport.signature import Declared, Signature, TensorSpec, tensor_spec
from kernelport.tensors import from_array
from kernelport.v1 import inference_pb2 as pb
from kernelport.v1.job_pb2 import NewItem
from kernelport_api.services.jobs.validation import item_violations

SPEED = tensor_spec("speed", pb.F32, [1], minimum=0.1, maximum=2, default=1)
SEED = tensor_spec("seed", pb.I64, [1], minimum=0)
LEVELS = tensor_spec("levels", pb.F16, ["n"], maximum=1)
TEXT = tensor_spec("text", pb.U8, ["bytes"], max_characters=3)
NUMBERS = tensor_spec("text", pb.U8, ["bytes"], max_digits=4)
NOTHING = "expected text with something to say, such as a word or a number"
ENGLISH = tensor_spec("text", pb.U8, ["bytes"], languages=["en"])
CHINESE = tensor_spec("text", pb.U8, ["bytes"], languages=["en", "zh"])
CHOSEN = tensor_spec("colour", pb.U8, ["bytes"], choices=["red", "green", "blue"])


@pytest.mark.parametrize(
    ("spec", "value", "finding"),
    [
        (SPEED, np.float32([0.1]), None),  # which is a little more than 0.1
        (SPEED, np.float32([2]), None),
        (SPEED, np.float32([2.0000002]), "expected 0.1 to 2.0, got 2.0000002"),
        (SPEED, np.float32([0.09]), "expected 0.1 to 2.0, got 0.09"),
        (SPEED, np.float32([np.nan]), "expected 0.1 to 2.0, got nan"),
        (SPEED, np.float32([-np.inf]), "expected 0.1 to 2.0, got -inf"),
        (SEED, np.int64([2**63 - 1]), None),
        (SEED, np.int64([-1]), "expected at least 0, got -1"),
        (LEVELS, np.float16([]), None),
        (LEVELS, np.float16([-5, 1, 0]), None),
        (LEVELS, np.float16([0, 1.5, 0]), "expected at most 1.0, got 1.5"),
        (TEXT, np.frombuffer("äöü".encode(), np.uint8), None),
        (TEXT, np.frombuffer("äöüß".encode(), np.uint8), "expected at most 3 characters, got 4"),
        (NUMBERS, np.frombuffer(b"12 345 6789", np.uint8), None),
        (
            NUMBERS,
            np.frombuffer("1 and ١٢٣٤٥".encode(), np.uint8),
            "expected numbers of at most 4 digits, got one of 5",
        ),
        (ENGLISH, np.frombuffer("日本 5".encode(), np.uint8), None),
        (ENGLISH, np.frombuffer("❶".encode(), np.uint8), None),
        (ENGLISH, np.frombuffer(b"<b>&nbsp;</b>", np.uint8), f"{NOTHING}; left out what cannot be spoken: <b>"),
        (ENGLISH, np.frombuffer("日本".encode(), np.uint8), f"{NOTHING}; left out what cannot be spoken: 日本"),
        (ENGLISH, np.frombuffer("本".encode() * 5001, np.uint8), None),  # which the voice is left to find
        (ENGLISH, np.frombuffer(b"\xff\xfe", np.uint8), None),  # whose finding is another
        (CHINESE, np.frombuffer("日本".encode(), np.uint8), None),
        (CHINESE, np.frombuffer("Тишина".encode(), np.uint8), f"{NOTHING}; left out what cannot be spoken: Тишина"),
        (CHOSEN, np.frombuffer(b"red", np.uint8), None),
        (CHOSEN, np.frombuffer(b"Red", np.uint8), "expected red, green or blue, got 'Red'"),
    ],
)
def test_a_value_outside_its_limits_is_told_by_the_name_of_its_input(
    spec: TensorSpec, value: np.ndarray, finding: str | None
) -> None:
    found = [(each.field, each.description) for each in Declared([spec]).violations([from_array(spec.name, value)])]
    assert found == ([(f'inputs["{spec.name}"]', finding)] if finding else [])


def test_a_job_is_refused_with_the_item_and_the_input_named() -> None:
    items = [NewItem(id=str(seed), inputs=[from_array("seed", np.int64([seed]))]) for seed in (0, -7)]
    found = list(item_violations(items, [], Signature(inputs=[SEED])))
    assert [(each.field, each.description) for each in found] == [
        ('items[1].inputs["seed"]', 'item "-7": expected at least 0, got -7')
    ]


def test_limits_are_shown_with_the_description() -> None:
    assert [about(spec) for spec in (SPEED, SEED, LEVELS, TEXT, NUMBERS, CHOSEN)] == [
        "0.1 to 2.0, default 1",
        "at least 0",
        "at most 1.0",
        "at most 3 characters",
        "numbers of at most 4 digits",
        "red, green or blue",
    ]
    assert about(tensor_spec("x", pb.F32, [1])) == ""


def test_a_signature_of_an_earlier_version_has_no_limits() -> None:
    early = TensorSpec.FromString(tensor_spec("speed", pb.F32, [1]).SerializeToString())
    assert list(Declared([early]).violations([from_array("speed", np.float32([99]))])) == []


def test_a_number_may_have_as_many_digits_as_a_spec_can_say() -> None:
    assert Limits.of(TensorSpec(name="text", max_digits=2**32 - 1)) is not None
