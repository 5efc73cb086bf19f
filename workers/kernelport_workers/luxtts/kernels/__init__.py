"""Operations of the acoustic model that a GPU may run as one kernel each, and the choice between them and eager."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from torch import Tensor


@dataclass(frozen=True, slots=True)
class Fused:
    """Kernels in use; None stands for plain PyTorch.

    Attributes:
        norm_bypass: See :func:`~kernelport_workers.luxtts.kernels.helion_kernels.norm_bypass`.
        linear_swoosh_l: See :func:`~kernelport_workers.luxtts.kernels.helion_kernels.linear_swoosh_l`.
        attention: See :func:`~kernelport_workers.luxtts.kernels.helion_kernels.attention`.
    """

    norm_bypass: Callable[..., Tensor] | None = None
    linear_swoosh_l: Callable[..., Tensor] | None = None
    attention: Callable[..., Tensor] | None = None


EAGER = Fused()


@dataclass(frozen=True, slots=True)
class Kernels:
    """The kernels of each size of batch.

    Attributes:
        chosen: Those that were right and faster for so many jobs of so many frames.
    """

    chosen: Mapping[tuple[int, int], Fused] = field(default_factory=dict)

    def of(self, jobs: int, frames: int) -> Fused:
        """The kernels of the tried size that is nearest in its number of frames, or none where nothing was tried."""
        nearest = min(self.chosen, key=lambda size: abs(math.log(size[0] * size[1] / (jobs * frames))), default=None)
        return EAGER if nearest is None else self.chosen[nearest]
