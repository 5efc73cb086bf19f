"""Euler solver of the flow ordinary differential equation and its time schedule."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import torch
from torch import Tensor


def timesteps(num_steps: int, t_shift: float) -> list[float]:
    """Times 0 = t_0 < ... < t_n = 1 with t = s u / (1 + (s - 1) u) for u evenly spaced; s < 1 favours small times."""
    u = torch.linspace(0.0, 1.0, num_steps + 1)
    times: list[float] = (t_shift * u / (1.0 + (t_shift - 1.0) * u)).tolist()
    return times


def solve(
    velocity: Callable[[Tensor, int], Tensor], x: Tensor, times: list[float], check: Callable[[], None] | None = None
) -> Tensor:
    """Integrate x from times[0] to times[-1] with one Euler step per interval.

    Args:
        velocity: Called with the state and the step number; returns a tensor of the state's shape.
        x: Initial noise (B, N, F) in float32; not modified.
        times: Increasing times as from :func:`timesteps`.
        check: Called before every step; may raise to stop (deadline, cancellation).

    Returns:
        The state at the last time, float32, same shape.
    """
    for step, (now, then) in enumerate(pairwise(times)):
        if check is not None:
            check()
        x = x + velocity(x, step).float() * (then - now)
    return x
