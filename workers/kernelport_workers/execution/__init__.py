"""What runs next, with whom, and what becomes of its outputs."""
