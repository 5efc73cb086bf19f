"""`make bench-gpu`: LuxTTS and the Helion kernels on one GPU, in ten minutes and without a network.

Each step is a process of its own with a time limit: a kernel that hangs, or leaves the GPU's context unusable, costs
its own step and no other. Records are kept as they are made. `--dry` takes every step on the CPU at tiny size.
"""
