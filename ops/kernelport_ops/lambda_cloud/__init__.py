"""GPU machines on Lambda Cloud: `python -m kernelport_ops.lambda_cloud`."""
