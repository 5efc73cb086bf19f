"""Benchmarks of bulk jobs: `python -m kernelport_ops.bench.jobs`."""
