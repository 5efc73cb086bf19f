"""GPU machines on Lambda Cloud: `python -m kernelport_ops.autoscale.providers.lambda_cloud`."""
