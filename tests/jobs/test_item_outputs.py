"""What a model gives for an item becomes a file, or its item's error."""

from pathlib import Path

import numpy as np
import pytest

from kernelport.jobs.artifacts import Artifacts
from kernelport_workers.backends.base import Outputs
from kernelport_workers.execution.job_outputs import Output, Publisher, encode

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


@pytest.mark.parametrize(("suffix", "is_clipped"), [("wav", True), ("mp3", True), ("npz", False)])
def test_speech_louder_than_a_file_can_hold_is_warned_of(tmp_path: Path, suffix: str, is_clipped: bool) -> None:
    loud, quiet = (
        {"audio": np.full(8000, level, np.float32), "sample_rate": np.array([8000], np.int32)} for level in (1.5, 1.0)
    )
    outputs = [Output("loud", 0, loud, ["odd"] * 3), Output("quiet", 1, quiet)]
    publisher = Publisher(Artifacts(str(tmp_path), 1.0), 1.0)
    warnings = [list(item.warnings) for item in publisher.publish("j", suffix, outputs, lambda: True, lambda: None)]
    told = [f"audio: clipped to -1 to 1, which is all that {suffix} holds"] if is_clipped else []
    assert warnings == [["odd"] * 3 + told, []]
