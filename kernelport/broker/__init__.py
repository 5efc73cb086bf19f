"""Redis and Celery: connections, keys, messages and who is alive."""
