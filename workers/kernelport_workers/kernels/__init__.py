"""Kernels that ship with KernelPort."""
