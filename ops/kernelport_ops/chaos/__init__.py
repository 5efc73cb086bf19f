"""Chaos: real processes are killed, paused and drained under load; then every request is accounted for.

`python -m kernelport_ops.chaos` prints a table of promises and exits with 1 when one is broken. With `--soak N` it
sends N requests through a stack that nobody disturbs, and watches the memory of its processes.
"""
