"""What a voice tells of its pieces beside their sound: the words as read, and where they stand in text and sound."""

from collections.abc import Collection

import numpy as np

from kernelport.signature import tensor_spec
from kernelport.tensors import Array
from kernelport.text import Aligned
from kernelport.v1 import inference_pb2 as pb

SPOKEN, SPANS = "spoken", "spans"
SPECS = (
    tensor_spec(SPOKEN, pb.U8, ["bytes"], optional=True, description="if asked for: the words as read, UTF-8"),
    tensor_spec(
        SPANS,
        pb.I32,
        ["pieces", 4],
        optional=True,
        description="if asked for: characters of `text` from and to, first sample and end",
    ),
)
"""Of the outputs, for the signature of a voice."""


class Spans:
    """Follows one utterance from its first piece on.

    Args:
        outputs: the names of those that the caller wants.
    """

    def __init__(self, outputs: Collection[str]) -> None:
        self._wanted = {SPOKEN, SPANS}.intersection(outputs)
        self._end = 0

    def of(self, text: Aligned, behind: str, samples: int) -> dict[str, Array]:
        """The outputs of the next piece, as far as they are wanted.

        Args:
            text: what is read, aligned with the caller's text.
            behind: the white space between it and the next piece.
            samples: how many it has become, its pause included.
        """
        first, self._end = self._end, self._end + samples
        told: dict[str, Array] = {}
        if SPOKEN in self._wanted:
            told[SPOKEN] = np.frombuffer((text.text + behind).encode(), np.uint8)
        if SPANS in self._wanted:
            told[SPANS] = np.array([[text.origins[0], text.origins[-1], first, self._end]], np.int32)
        return told
