"""The synchronous twin of `jobs/aio/__init__.py`: generated, not to be edited; `make sync` writes it."""
