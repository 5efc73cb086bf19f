"""`python -m kernelport_api`: the front door as a process, configured by KERNELPORT_* variables."""

import asyncio
import sys

import uvloop

from kernelport import logs, tracing
from kernelport.artifacts import ArtifactsError
from kernelport.schema import ConfigError
from kernelport.settings import Settings, SettingsError
from kernelport_api.server import ListenError, serve


def main() -> None:
    """Runs until SIGTERM; exits with 1 and one line when it cannot start."""
    try:
        settings = Settings.from_environment()
        logs.set_up(settings.log_level, settings.log_format)
        tracing.set_up("kernelport-front-door")
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(serve(settings))
    except (SettingsError, ConfigError, ArtifactsError, ListenError) as error:
        sys.exit(f"kernelport front door: {error}")


if __name__ == "__main__":
    main()
