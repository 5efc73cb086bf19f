"""Protocols: bytes in, bytes out, and the shape of errors."""
