"""The embedded stack: Redis, the front door and the workers as child processes of one command."""

from kernelport.supervisor.stack import Stack, StackError

__all__ = ["Stack", "StackError"]
