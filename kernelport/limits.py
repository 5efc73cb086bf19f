"""What a caller may send: how much of everything, and the values of inputs where a model's signature narrows them."""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from kernelport.tensors import to_array
from kernelport.v1 import inference_pb2 as pb
from kernelport.v1.deployment_pb2 import TensorSpec

# Of one request. A model with more inputs is not known; a tensor has four fields and is one.
MAX_TENSORS = 2048
MAX_FIELDS = 8 * MAX_TENSORS
# Of all STRING tensors of a request, or of one item of a job: each is looked at.
MAX_STRING_ELEMENTS = 2**17
# Of one SubmitJobRequest, AddItemsRequest or ReplaceItemsRequest; a job may have any number.
MAX_ITEMS = 20_000
# Calls that one front door answers at once, those of Infer aside: for them, each deployment has limits of its own.
MAX_CALLS = 10_000
# Calls that have come to one front door and that it has not taken up yet: gRPC cancels those beyond.
MAX_PENDING_CALLS = 2**16
# Calls in flight over one connection to the gRPC door; further ones wait in the client.
MAX_CALLS_OF_CONNECTION = 500
# A client that pings oftener is told to go. A little less than a second, since timers are not exact.
SHORTEST_PING_MS = 900

# In characters.
MAX_NAME = 256
MAX_REQUEST_ID = 128
MAX_REASON = 1000
MAX_TOKEN = 256
MAX_WEBHOOK_URL = 2048
MAX_WEBHOOK_SECRET = 1024

# Of a job.
MAX_PRIORITY = 10_000
MAX_RETENTION_S = MAX_DEADLINE_S = 10 * 365 * 24 * 3600
MAX_METADATA = 64
MAX_METADATA_BYTES = 16 * 2**10
MAX_WEBHOOK_EVENTS = 16
MAX_PROGRESS_INTERVAL_S = 24 * 3600

# In bytes of UTF-8.
_LONGEST_CHARACTER = 4
_SHOWN_CHARACTERS = 40
_DIGITS = "numbers of at most {} digits"
_FRACTIONS = frozenset({pb.F32, pb.F16, pb.F64, pb.BF16})
_LANGUAGES = {"en": "English", "zh": "Chinese"}
# Most texts say something, which is seen without reading them: a word or a number, outside of tags and entities.
_MARKUP = re.compile(r"<[^<>]*>|&#?\w+;")
_WORD = re.compile(r"[A-Za-z0-9]")
_NO_NUMBERS = frozenset({pb.BOOL, pb.STRING})


@dataclass(frozen=True)
class Limits:
    """The limits of one tensor.

    Attributes:
        minimum: of every element; -inf for none.
        maximum: of every element; inf for none.
        max_characters: of the UTF-8 text that a U8 tensor holds; 0 for no limit.
        max_digits: of a number in that text; 0 for no limit.
        long_number: one with more digits; None for no limit.
        choices: what that text may be; empty for anything.
        languages: in which that text must have something to say; empty for none.
        in_words: what is expected of elements, such as `0.5 to 2.0`.
    """

    minimum: float
    maximum: float
    max_characters: int
    max_digits: int
    long_number: re.Pattern[str] | None
    choices: tuple[str, ...]
    languages: tuple[str, ...]
    in_words: str

    @classmethod
    def of(cls, spec: TensorSpec) -> Self | None:
        """The limits that a spec declares; None when it declares none."""
        numeric = spec.HasField("minimum") or spec.HasField("maximum")
        if not (numeric or spec.max_characters or spec.max_digits or spec.choices or spec.languages):
            return None
        return cls(
            minimum=spec.minimum if spec.HasField("minimum") else -math.inf,
            maximum=spec.maximum if spec.HasField("maximum") else math.inf,
            max_characters=spec.max_characters,
            max_digits=spec.max_digits,
            # No text has a billion digits, and no expression as many as the field can say.
            long_number=re.compile(rf"\d{{{min(spec.max_digits, 10**9) + 1},}}") if spec.max_digits else None,
            choices=tuple(spec.choices),
            languages=tuple(spec.languages),
            in_words=_range_in_words(spec),
        )

    def finding(self, tensor: pb.Tensor) -> str | None:
        """What is wrong with the values of a tensor of the declared dtype; None when they are within the limits."""
        if self.max_characters or self.long_number or self.choices or self.languages:
            return self._finding_in_text(tensor.data)
        if not tensor.data or tensor.dtype in _NO_NUMBERS:
            return None
        array = to_array(tensor).ravel()
        extremes = (array[0],) if array.size == 1 else (array.min(), array.max())
        # As its caller wrote it: the F32 nearest to 0.1 is read as 0.1, so that a limit of 0.1 holds as it is shown.
        for written in map(str, extremes):
            if not self.minimum <= float(written) <= self.maximum:
                return f"expected {self.in_words}, got {written}"
        return None

    def _finding_in_text(self, data: bytes) -> str | None:
        if self.max_characters and len(data) > _LONGEST_CHARACTER * self.max_characters:
            return f"expected at most {self.max_characters:,} characters, got {len(data):,} bytes"
        text = data.decode(errors="replace")
        if self.max_characters and len(text) > self.max_characters:
            return f"expected at most {self.max_characters:,} characters, got {len(text):,}"
        if self.choices and text not in self.choices:
            return f"expected {_either(self.choices)}, got {text[:_SHOWN_CHARACTERS]!r}"
        if self.long_number and (number := self.long_number.search(text)):
            return f"expected {_DIGITS.format(self.max_digits)}, got one of {len(number[0]):,}"
        return _nothing_to_say(text, self.languages) if self.languages else None


def _nothing_to_say(text: str, languages: Sequence[str]) -> str | None:
    """What the voice would answer to a text of which it says nothing; None when it does say something, or may."""
    if not set(languages) <= _LANGUAGES.keys() or _WORD.search(_MARKUP.sub("", text)):
        return None
    if "\ufffd" in text:  # what was no UTF-8: the voice says where
        return None
    from kernelport.text import nothing_to_say  # which takes a while to import

    return nothing_to_say(text, chinese="zh" in languages)


def is_text(spec: TensorSpec) -> bool:
    """Whether an input is UTF-8 text for people, and no bytes of another kind: it is called `text`, or has limits that
    only a text can have."""
    limited = spec.max_characters or spec.max_digits or spec.choices or spec.languages or spec.names_voice
    return spec.dtype == pb.U8 and (spec.name == "text" or bool(limited))


def about(spec: TensorSpec) -> str:
    """The limits and the description of a tensor in one line; empty when it has neither."""
    default = f"default {spec.default_value:g}" if spec.HasField("default_value") else ""
    return ", ".join(filter(None, (_in_words(spec), spec.description, default)))


def _in_words(spec: TensorSpec) -> str:
    words = [_range_in_words(spec)]
    if spec.max_characters:
        words.append(f"at most {spec.max_characters:,} characters")
    if spec.max_digits:
        words.append(_DIGITS.format(spec.max_digits))
    if spec.languages:
        words.append(f"in {_either([_LANGUAGES.get(each, each) for each in spec.languages])}")
    return ", ".join(filter(None, [*words, _either(spec.choices)]))


def _range_in_words(spec: TensorSpec) -> str:
    match spec.HasField("minimum"), spec.HasField("maximum"):
        case True, True:
            return f"{_shown(spec, spec.minimum)} to {_shown(spec, spec.maximum)}"
        case True, False:
            return f"at least {_shown(spec, spec.minimum)}"
        case False, True:
            return f"at most {_shown(spec, spec.maximum)}"
        case _:
            return ""


def _either(choices: Sequence[str]) -> str:
    *others, last = choices or ("",)
    return f"{', '.join(others)} or {last}" if others else last


def _shown(spec: TensorSpec, value: float) -> str:
    return str(int(value)) if spec.dtype not in _FRACTIONS and value.is_integer() else str(value)
