"""What callers of one deployment feel of the worst that the bounds of kernelport/limits.py allow others to send."""
