"""Decides how many workers each deployment has, and sees to it: `python -m kernelport_ops.autoscale`."""
