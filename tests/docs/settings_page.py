"""`python -m tests.docs.settings_page` writes docs/settings.md, the catalogue of kernelport/config/settings.py."""

import textwrap

from kernelport.config import described
from tests.docs.pages import REPOSITORY

PAGE = REPOSITORY / "docs" / "settings.md"
# What containers have of their own: where they listen is published by compose, their logs go to Docker, each is a
# process and a host by itself, and workers there roll.
OF_CONTAINERS = (
    "listen",
    "http_listen",
    "metrics_listen",
    "deployments_file",
    "worker_id",
    "shared_dir",
    "share_ports",
    "own_listen",
    "first_key_file",
    "log_file",
    "roll",
)
# What is read elsewhere than in the settings of processes, and is no option of a command.
OTHERS = {
    "KERNELPORT_FLOWER_PASSWORD": "of Flower's user `kernelport`: [Flower](operations.md#flower)",
    "KERNELPORT_PUBLISH": "compose: where the front door is published for gRPC",
    "KERNELPORT_PUBLISH_HTTP": "compose: where it is published for HTTP",
    "KERNELPORT_REDIS_MAXMEMORY": "compose: what its Redis may hold",
    "KERNELPORT_REGISTRY_TOKEN": "the autoscaler: of the registry of images ([autoscaling.md](autoscaling.md))",
    "KERNELPORT_REGISTRY_USER": "the autoscaler: its user there",
    "KERNELPORT_SELF_TERMINATE": "the autoscaler: 1 gives rented machines the key to give themselves back",
    "KERNELPORT_TLS_CA": "clients: the authorities that vouch for a front door ([TLS](security.md#tls))",
    "KERNELPORT_TLS_CLIENT_CERT": "clients: their own certificate, where a front door asks for one",
    "KERNELPORT_TLS_CLIENT_KEY": "clients: its key",
    "KERNELPORT_WORKER_REDIS_URL": "the autoscaler: where rented machines reach Redis",
}
_INTRODUCTION = """# Settings

What each process reads from its environment. `kernelport up` hands its own on to the processes that it starts; the
`--help` of `kernelport front-door`, `worker`, `flower` and `autoscale` names those of one process. A value that cannot
be right ends the process at its start, with the name of the variable and what was expected. An empty value is none.

Sizes are bytes, or such as `64MiB`; switches are 1 or 0. In compose, each can be set in the shell or in `compose/.env`.
The containers have these of their own:
{fixed}.

| variable | default | read by | meaning |
|---|---|---|---|
"""
_OTHERS = """
Every option of a command is a variable, too: `KERNELPORT_` and its long name, such as `KERNELPORT_TARGET` for
`--target` and `KERNELPORT_STATE_DIR` for `--state-dir`. Beside these:

| variable | meaning |
|---|---|
"""


def page() -> str:
    """The page as the code has it."""
    fixed = textwrap.fill(", ".join(f"`{described.variable(name)}`" for name in OF_CONTAINERS), 120)
    rows = [_row(name) for name in described.defaults()]
    others = [f"| `{variable}` | {meaning} |" for variable, meaning in OTHERS.items()]
    return "\n".join([_INTRODUCTION.format(fixed=fixed).rstrip(), *rows, _OTHERS.rstrip(), *others, ""])


def _row(name: str) -> str:
    readers = ", ".join(process for process, names in described.PROCESSES.items() if name in names)
    default = f"`{described.defaults()[name]}`" if described.defaults()[name] else "none"
    return f"| `{described.variable(name)}` | {default} | {readers} | {described.meanings()[name]} |"


if __name__ == "__main__":
    PAGE.write_text(page())
