"""Bulk jobs in a worker: it takes slices, runs them as batches, keeps the outputs, and finishes jobs."""
