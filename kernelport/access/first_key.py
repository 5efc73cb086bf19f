"""The first key of a store: from the environment or a file, or a new one that is put into that file."""

import os
import time
from pathlib import Path

from kernelport.access.principals import ADMIN
from kernelport.access.records import KeyRecord, Secret
from kernelport.access.tokens import new_key_id, new_token, read_token
from kernelport.config.settings import Settings, SettingsError
from kernelport.names import DEFAULT_TENANT

NAME = "first"
# How often, and after how long, a file is looked at that is there and empty.
_LOOKS, _LOOK_S = 10, 0.05


def first_key(settings: Settings, now_us: int) -> KeyRecord | None:
    """The key that a store without any is to have; None where the settings name none. It lets its bearer do everything.

    Raises:
        SettingsError: what they name is no key, or the file cannot be read or written.
    """
    variable, token = "KERNELPORT_FIRST_KEY", settings.first_key
    if not token and not settings.first_key_file:
        return None
    if not token:
        variable, token = "KERNELPORT_FIRST_KEY_FILE", key_in_file(Path(settings.first_key_file))
    presented = read_token(token)
    if presented is None:
        raise SettingsError(f"{variable}: expected a key: kp_, 12 hexadecimal digits, _ and 43 letters, digits, - or _")
    secret = Secret(presented.sha256.hex())
    return KeyRecord(presented.key_id, NAME, DEFAULT_TENANT, (ADMIN,), now_us, secrets=(secret,))


def key_in_file(path: Path) -> str:
    """The key in a file, which is made where there is none, for this user's eyes alone.

    Raises:
        SettingsError: the file cannot be read or written.
    """
    token = new_token(new_key_id())
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        try:
            return _written(path)
        except (OSError, ValueError) as error:
            raise SettingsError(f"KERNELPORT_FIRST_KEY_FILE: cannot read {path}: {type(error).__name__}") from error
    except OSError as error:
        raise SettingsError(f"KERNELPORT_FIRST_KEY_FILE: cannot write {path}: {error.strerror}") from error
    with open(descriptor, "w", encoding="utf-8") as file:
        file.write(f"{token}\n")
    return token


def _written(path: Path) -> str:
    """What is in a file that another process may be about to write."""
    for _ in range(_LOOKS):
        if text := path.read_text(encoding="utf-8").strip():
            return text
        time.sleep(_LOOK_S)
    return ""
