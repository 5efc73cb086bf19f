"""The Open Inference Protocol, whatever carries it: its tensors, and what it tells of deployments."""
