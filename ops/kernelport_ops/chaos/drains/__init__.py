"""Drains: front doors, workers and whole stacks are told to stop under load, and nobody may notice.

`python -m kernelport_ops.chaos.drains` prints a table of drains and one of calls, and exits with 1 when a caller was
told anything but an answer, or a process did not end in time.
"""
