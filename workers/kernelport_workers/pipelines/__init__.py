"""Models that are more than one file run by one library."""
