"""What the steps measure, and where: all of it on a GPU, or a little of everything on the CPU."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

Record = dict[str, Any]
"""What one measurement says, as JSON can hold it. One that failed has `failure` instead, one without what it needs
has `absent`."""

DTYPES = {"float16": torch.float16, "bfloat16": torch.bfloat16, "float32": torch.float32}
"""In the order in which they are measured: the one that is served first."""

SERVED = "float16"
"""What the GPU's manifest asks for."""

GOLDEN = Path(__file__).resolve().parents[4] / "tests" / "luxtts" / "golden"
"""Of this checkout: an installed package has none."""


@dataclass(frozen=True)
class Setting:
    """Sizes of all steps.

    Attributes:
        device: `cuda` or `cpu`.
        work: folder of the two checkpoints, `tiny` and `random`.
        paths: of LuxTTS, as its own benchmark names them.
        batches: sizes of batches of equal utterances, in ascending order.
        seconds: of speech of such an utterance; `reference`, of its reference.
        steps: of the solver.
        repeat: runs of which the best counts.
        matrix: rows and columns of the matrices whose product is the machine's limit.
        utterances: how many random ones must give finite numbers.
        backlog: utterances of the backlog.
        listeners: how many wait for their first audio at a time.
        profiled: utterances of the batch that is profiled.
        kernel_frames: frames of the items on which LuxTTS's fused kernels are tried; `kernel_jobs`, how many at a time.
        softmax: sizes (rows, columns) for helion-demo's kernel.
    """

    device: torch.device
    work: Path
    paths: tuple[str, ...] = ("torch", "torch-tuned")
    batches: tuple[int, ...] = (1, 2, 4, 8, 16, 32, 64, 128)
    seconds: float = 15.0
    reference: float = 5.0
    steps: int = 4
    repeat: int = 2
    matrix: int = 8192
    utterances: int = 1000
    backlog: int = 2000
    listeners: tuple[int, ...] = (1, 8, 32)
    profiled: int = 16
    kernel_frames: int = 1407
    kernel_jobs: tuple[int, ...] = (1, 16)
    softmax: tuple[tuple[int, int], ...] = ((1024, 1024), (4096, 8192), (32768, 1000))

    @classmethod
    def of(cls, work: Path, *, dry: bool) -> "Setting":
        """The real one, on the GPU; or the dry one, on the CPU."""
        if not dry:
            return cls(torch.device("cuda"), work)
        return cls(
            torch.device("cpu"),
            work,
            paths=("torch",),
            batches=(1, 2),
            seconds=0.4,
            reference=0.5,
            steps=1,
            repeat=1,
            matrix=128,
            utterances=3,
            backlog=4,
            listeners=(1, 2),
            profiled=2,
            kernel_frames=24,
            kernel_jobs=(1,),
            softmax=((8, 16),),
        )

    @property
    def dry(self) -> bool:
        """Whether figures mean nothing."""
        return self.device.type == "cpu"

    @property
    def tiny(self) -> Path:
        """The checkpoint that the golden arrays belong to."""
        return self.work / "tiny"

    @property
    def random(self) -> Path:
        """The checkpoint whose speed is measured."""
        return self.work / "random"


def reason(error: Exception) -> str:
    """An exception in a line."""
    text = str(error).strip()
    return f"{type(error).__name__}: {text.splitlines()[0][:300] if text else ''}"


def attempt(what: Record, measure: Callable[[], Iterator[Record]]) -> Iterator[Record]:
    """The records of one part of a step, each with `what`; a part that fails leaves its reason, and others go on."""
    torch.cuda.empty_cache()  # what a failed part has held
    try:
        for record in measure():
            yield what | record
    # A GPU's libraries and compilers may raise anything.
    except Exception as error:
        yield what | {"failure": reason(error)}
