"""The asyncio client of jobs. The synchronous one beside it is generated from this package: `make sync`."""
