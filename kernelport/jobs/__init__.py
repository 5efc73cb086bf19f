"""Bulk jobs as front doors and workers share them: the job store in Redis, how items become pages, slices and files."""
