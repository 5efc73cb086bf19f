"""Bulk jobs at the front door: taking them in, telling about them, and cleaning up after them."""
