"""Random input for everything that reads what others wrote. `make fuzz`; not part of the test suite."""
