"""`python -m kernelport_api`: the front door as a process, configured by KERNELPORT_* variables.

`kernelport front-door` is the same, with options for the addresses.
"""

import os
import signal

# Nobody forks a front door, and to look out for forks costs gRPC 2 % of a call. Clients need it:
# kernelport.client.calling.
os.environ["GRPC_ENABLE_FORK_SUPPORT"] = "0"
# A front door that is asked to read its deployments file again while it starts does so once it has started.
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGHUP])

import argparse
import asyncio
import contextlib
import gc
import resource
import sys
import textwrap

import uvloop

from kernelport.certificates.files import CertificateError
from kernelport.config import described
from kernelport.config.schema import ConfigError
from kernelport.config.settings import BESIDE, Settings, SettingsError
from kernelport.jobs.artifacts import ArtifactsError
from kernelport.jobs.storage import OtherStorageError
from kernelport.process import end_process, keep_freed_memory
from kernelport.telemetry import logs, tracing
from kernelport_api.access.decision import AccessError
from kernelport_api.app import ListenError, serve
from kernelport_api.aside import let_event_loop_go_first

# Of what a variable means, in the help.
_INDENT = " " * 6


def main() -> None:
    """Runs until SIGTERM; exits with 1 and one line when it cannot start."""
    arguments = _arguments()
    try:
        settings = Settings.from_environment()
        logs.set_up(settings)
        tracing.set_up("kernelport-front-door")
        keep_freed_memory()
        let_event_loop_go_first()
        _relax_garbage_collection()
        _take_all_files()
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(serve(settings, beside=arguments.beside))
    except (
        SettingsError,
        ConfigError,
        ArtifactsError,
        OtherStorageError,
        CertificateError,
        ListenError,
        AccessError,
    ) as error:
        sys.exit(f"kernelport front door: {error}")
    end_process()


def _arguments() -> argparse.Namespace:
    """Says with --help what the variables are; ends with 2 at any argument but that of a front door which takes the
    place of another."""
    lines = [
        f"  {variable}\n{textwrap.fill(told, 100, initial_indent=_INDENT, subsequent_indent=_INDENT)}"
        for variable, told in described.explained(described.FRONT_DOOR).items()
    ]
    parser = argparse.ArgumentParser(
        "python -m kernelport_api",
        description="The front door: takes calls, queues them for workers and answers. These variables configure it; "
        "kernelport front-door has options for the addresses, too.",
        epilog="\n".join(["variables:", *lines]),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(BESIDE, type=int, default=0, help=argparse.SUPPRESS)
    return parser.parse_args()


def _relax_garbage_collection() -> None:
    """Next to nothing of a request is left in cycles, and going through all that lives is what slow calls wait for."""
    gc.freeze()
    gc.set_threshold(5_000, 20, 200)


def _take_all_files() -> None:
    """Each connection is a file, and systems let processes have more than the number that they begin with."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):  # macOS has a limit that it does not tell
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


if __name__ == "__main__":
    main()
