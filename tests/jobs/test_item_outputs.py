"""What a model gives for an item becomes a file, or its item's error."""

import numpy as np
import pytest

from kernelport_workers.backends.base import Outputs
from kernelport_workers.jobs.outputs import encode

SAMPLES = np.zeros(3, np.float32)


@pytest.mark.parametrize(
    "outputs",
    [
        {"audio": SAMPLES, "sample_rate": np.array([2**40])},
        {"audio": np.array([b"a"], object), "sample_rate": np.array([8000])},
        {"audio": np.zeros((2, 3, 4), np.float32), "sample_rate": np.array([8000])},
    ],
    ids=["rate", "strings", "rank"],
)
@pytest.mark.parametrize("suffix", ["wav", "ogg"])
def test_speech_that_no_file_takes_is_its_items_error(outputs: Outputs, suffix: str) -> None:
    with pytest.raises(ValueError, match=f"Hz audio cannot be written as {suffix}"):
        encode(outputs, suffix)


def test_speech_without_its_samples_is_its_items_error() -> None:
    with pytest.raises(ValueError, match="a wav file needs the outputs audio and sample_rate; there are sample_rate"):
        encode({"sample_rate": np.array([8000])}, "wav")
