"""Operations of the acoustic model that a GPU may run as one kernel each, and the choice between them and eager."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True, slots=True)
class Fused:
    """Kernels in use; None stands for plain PyTorch.

    Attributes:
        norm_bypass: See :func:`~kernelport_workers.luxtts.kernels.helion_kernels.norm_bypass`.
        linear_swoosh_l: See :func:`~kernelport_workers.luxtts.kernels.helion_kernels.linear_swoosh_l`.
        attention_weights: See :func:`~kernelport_workers.luxtts.kernels.helion_kernels.attention_weights`.
    """

    norm_bypass: Callable[..., Tensor] | None = None
    linear_swoosh_l: Callable[..., Tensor] | None = None
    attention_weights: Callable[..., Tensor] | None = None


EAGER = Fused()
