"""`python -m kernelport_ops.bench.onnx_models`: models of many kinds, beside a plain loop over ONNX Runtime."""
