"""How a process that has stopped what it did ends."""

import atexit
import logging
import os
import sys
from typing import NoReturn


def end_process(code: int = 0) -> NoReturn:
    """Ends this process, once what is registered with `atexit` has been done and everything said has been written.

    Its objects are not taken apart before, which nobody needs: it takes a while, the longer the busier the machine, and
    gRPC has been seen to hang in it.
    """
    atexit._run_exitfuncs()
    logging.shutdown()
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            stream.flush()
    os._exit(code)
