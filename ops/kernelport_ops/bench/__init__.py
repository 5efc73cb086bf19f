"""Benchmarks: what everything around a model costs, measured on one machine beside what people use in its place.

`python -m kernelport_ops.bench` compares request paths, `.bulk` measures the queue's share of a long job, `.batching`
the batches that a GPU-like backend gets, `.onnx_models` what a plain loop over ONNX Runtime would do. Each writes a
table, a JSON file with every raw figure, and most a plot. `.pair` compares this tree with an earlier commit. `.gpu`
measures speech and kernels on a GPU.
"""
