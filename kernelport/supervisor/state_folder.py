"""The folder in which a stack keeps its data, logs and secrets: nobody else on the machine reads them."""

import fcntl
import os
from pathlib import Path
from typing import IO

from kernelport.config.settings import default_state_dir


def make_state_folder(path: Path) -> None:
    """Makes the folder of a stack. One that was there before and is not the default is left as open as it was: its
    owner may share it on purpose, and what we put there is closed by itself."""
    if path == default_state_dir() or not path.exists():
        private_folder(path)


def private_folder(path: Path) -> Path:
    """Makes a folder that only this user can look into, or closes it."""
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    path.chmod(0o700)
    return path


def lock_state_folder(path: Path) -> IO[str] | None:
    """Makes the folder of a stack, and locks it for as long as the file is open; None when another stack has it."""
    make_state_folder(path)
    lock = open(path / "lock", "w", opener=open_private)  # noqa: SIM115 - the caller holds it
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.close()
        return None
    return lock


def open_private(path: str, flags: int) -> int:
    """An `opener` for `open`: only this user can read the file, be it new or left by an earlier version."""
    descriptor = os.open(path, flags, 0o600)
    os.fchmod(descriptor, 0o600)
    return descriptor


def write_private(path: Path, text: str) -> None:
    """Writes a file that only this user can read, whole or not at all."""
    draft = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    with open(draft, "w", encoding="utf-8", opener=open_private) as file:
        file.write(text)
    draft.replace(path)


def read_own(path: Path) -> str | None:
    """What a file that this user has written says; None when there is none, or it is another user's: whoever may write
    into a shared folder must not tell our processes what to do."""
    try:
        return path.read_text(encoding="utf-8") if path.stat().st_uid == os.getuid() else None
    except (OSError, ValueError):
        return None


def is_alive(pid: int) -> bool:
    """Whether there is a process of this id, and this user may know."""
    try:
        os.kill(pid, 0)
    except (OSError, OverflowError):
        return False
    return True
