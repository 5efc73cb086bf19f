"""Calls leave nothing behind."""

from kernelport.supervisor.stack import Stack
from tests.sdk.trials import footprints, is_flat


def test_memory_threads_and_descriptors_stay_flat(stack: Stack) -> None:
    before, after = footprints(stack.target, 600)
    assert is_flat(before, after), (before, after)
