"""Replays arrivals against ways of scaling, in virtual time: `python -m kernelport_ops.autoscale.simulation`."""
