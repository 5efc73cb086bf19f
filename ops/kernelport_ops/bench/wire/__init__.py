"""Servers called by clients in C, which take next to nothing of the machine: wrk over HTTP, h2load over gRPC."""
