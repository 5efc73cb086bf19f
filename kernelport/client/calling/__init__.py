"""How a client calls a front door: addresses, channels, time limits and retries.

`aio` and `sync` are two modules of one shape, for what differs between asyncio and threads. All else that both clients
do is written once, for asyncio; ops/generate_sync.py makes the synchronous code of it.
"""

import os
import sys

# gRPC reads it when it is imported first. Without it, a child that is forked from a process that has called hangs.
FORKS_SUPPORTED = "grpc" not in sys.modules and os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "1") != "0"
