"""`python -P -m kernelport_workers`: Celery's command line for processes that are started here.

A pipeline may lie in the current folder, but nothing there stands for a module of ours or of a library: the folder
comes behind all other places. Celery itself would put it before them, were it not there already.
"""

import os
import sys

from kernelport.config.settings import drop_variables
from kernelport.process import end_process, keep_freed_memory


def main() -> None:
    """Runs Celery's command."""
    keep_freed_memory()
    drop_variables("CELERY_")  # before Celery looks at them
    from celery.__main__ import main as celery_main

    sys.path.append(os.getcwd())
    try:
        celery_main()
    except SystemExit as ended:  # as Celery's commands end, well or with a text or a code of their own
        if ended.code not in (None, 0):
            raise
    end_process()


if __name__ == "__main__":
    main()
