"""`python -m kernelport_ops.bench.pair`: whether this tree is slower than an earlier commit, or by a setting."""
