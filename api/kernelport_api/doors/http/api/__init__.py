"""Plain JSON for pages and scripts: what the contract tells, in the shape of the commands' `--json`."""
