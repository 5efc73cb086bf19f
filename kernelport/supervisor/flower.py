"""How Flower, the page that shows Celery's workers and tasks, is run here.

Flower asks the workers for their events itself, every few seconds: where no Flower runs, no worker sends any.
"""

import importlib.util
import os
import secrets
import sys
from collections.abc import Callable
from pathlib import Path

from kernelport.config.settings import PREFIX, SettingsError
from kernelport.errors import HostError, install_hint
from kernelport.supervisor.processes import module_command
from kernelport.supervisor.state_folder import make_state_folder, private_folder, write_private

DEFAULT_FLOWER_LISTEN = "127.0.0.1:5555"
FLOWER_COMMAND = module_command("kernelport_workers.guarded_flower", "-A", "kernelport_workers.app", "flower")
USER = "kernelport"
PASSWORD_VARIABLE = f"{PREFIX}FLOWER_PASSWORD"
# A worker that has been gone for so many seconds is no longer shown.
PURGE_AFTER_S = 60
SAVE_INTERVAL_S = 30
# Tasks that are remembered; they are saved as a whole, so many in less than a second.
MAX_TASKS = 20_000


class FlowerNotFoundError(HostError):
    """Flower is not installed; the message says how to get it."""


def flower_environment(listen: str, state_dir: Path, say: Callable[[str], None]) -> dict[str, str]:
    """The variables that tell Flower what to do; its command line stays free of the password.

    Flower only looks: a task that it revoked would be dropped without an answer.

    Args:
        state_dir: the state lives in its folder `flower`.
        say: is told where Flower will be, and a password that was made here, once.

    Raises:
        FlowerNotFoundError: when the extra is not installed.
        SettingsError: when the password in KERNELPORT_FLOWER_PASSWORD cannot be one.
    """
    if importlib.util.find_spec("flower") is None:
        raise FlowerNotFoundError(f"Flower is not installed: {install_hint('flower')}")
    host, _, port = listen.rpartition(":")
    make_state_folder(state_dir)
    folder = private_folder(state_dir / "flower")
    config = folder / "flowerconfig.py"
    write_private(config, "")
    return {
        # Else Flower runs a file of this name in the current folder.
        "FLOWER_CONF": str(config.absolute()),
        "FLOWER_ADDRESS": host.strip("[]"),
        "FLOWER_PORT": port,
        "FLOWER_BASIC_AUTH": f"{USER}:{_password(folder / 'password', f'http://{listen}', say)}",
        "FLOWER_READ_ONLY": "true",
        "FLOWER_PURGE_OFFLINE_WORKERS": str(PURGE_AFTER_S),
        "FLOWER_PERSISTENT": "true",
        "FLOWER_DB": str(folder / "state"),
        "FLOWER_STATE_SAVE_INTERVAL": str(SAVE_INTERVAL_S * 1000),
        "FLOWER_MAX_TASKS": str(MAX_TASKS),
        "FLOWER_TASKS_COLUMNS": "name,uuid,state,args,received,runtime,worker",
    }


def _password(file: Path, url: str, say: Callable[[str], None]) -> str:
    """The password of the environment, else the one in the file, which the first start makes."""
    given = os.environ.get(PASSWORD_VARIABLE, "")
    if given:
        if "," in given:
            raise SettingsError(f"{PASSWORD_VARIABLE}: expected a password without a comma, which Flower splits at")
        say(f"Flower at {url}, user {USER}, password as in {PASSWORD_VARIABLE}")
        return given
    if not file.exists():
        password = secrets.token_urlsafe(16)
        write_private(file, password)
        # Shown to a person, this once; a log is to hold no password.
        shown = f" {password}" if sys.stdout.isatty() else ""
        say(f"Flower at {url}, user {USER}, new password{shown} kept in {file}")
        return password
    say(f"Flower at {url}, user {USER}, password in {file}")
    return file.read_text()
