"""Tells URLs what becomes of jobs: signed, at least once, and never inside the operator's own network."""
