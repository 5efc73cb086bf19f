"""The embedded stack: Redis, the front door and the workers as child processes of one command."""
