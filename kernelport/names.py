"""Names of jobs and of the files that their items become, and to whom what is stored under a name belongs."""

import hashlib
import re
import secrets
from urllib.parse import quote

MANIFEST = "manifest.jsonl"
SUMMARY = "summary.json"
# Well below the 255 bytes that file systems allow, so that endings and prefixes fit.
_MOST_BYTES = 160
JOB_ID_LENGTH = 20
_VOICE = re.compile(rb"[A-Za-z0-9]([A-Za-z0-9._-]{0,62}[A-Za-z0-9])?")
# To whom all belongs that was there before there were tenants.
DEFAULT_TENANT = "default"
# Sets a tenant apart from what belongs to it, in names of keys and of folders. No tenant has it in its own name.
MARK = "~"
_TENANT = r"[a-z0-9](?:[a-z0-9._-]{0,62}[a-z0-9])?"
_TENANT_NAME = re.compile(_TENANT)
_JOB_ID = re.compile(rf"(?:{_TENANT}{MARK})?[0-9a-f]{{11,16}}-[0-9a-f]{{8}}")
# Windows takes these for devices whatever their endings are.
_DEVICE = re.compile(r"(con|prn|aux|nul|com[0-9]|lpt[0-9])(\.|$)", re.IGNORECASE)


def is_tenant_name(text: str) -> bool:
    """Whether a tenant can have this name."""
    return _TENANT_NAME.fullmatch(text) is not None


def owned(tenant: str, name: str) -> str:
    """The name under which something of a tenant is stored: of the default tenant the name itself, so that what was
    there before there were tenants is its own. No two tenants get to the same one, whatever the names are."""
    return name if tenant == DEFAULT_TENANT and MARK not in name else f"{tenant}{MARK}{name}"


def owner_of(stored: str) -> tuple[str, str]:
    """To whom belongs what is stored under a name, and what they call it."""
    tenant, mark, name = stored.partition(MARK)
    return (tenant, name) if mark else (DEFAULT_TENANT, stored)


def new_job_id(now: float) -> str:
    """Unique, and sorted by time of creation: `now`, in seconds of Unix time."""
    return f"{round(now * 1000):011x}-{secrets.token_hex(4)}"


def is_job_id(text: str) -> bool:
    """Whether a text can be the id under which a job is stored: only then it becomes part of a key or a path."""
    return _JOB_ID.fullmatch(text) is not None


def is_voice_name(value: bytes) -> bool:
    """Whether a voice can have this name."""
    return _VOICE.fullmatch(value) is not None


def file_name(item_id: str, suffix: str, *, portable: bool = True) -> str:
    """The name of an item's file: the id itself as far as every file system and URL can hold it.

    What is no letter, digit, `.`, `_` or `-` is percent-encoded, as is a leading dot and the first letter of a name
    that Windows keeps for a device, such as `nul`. Some file systems do not tell case apart: an id with capital letters
    ends in `~` and a number that says which they are, so `Ab` is `Ab~1`. A long id is cut and ends in `~` and a digest
    of the whole. So different ids have different names everywhere.

    Args:
        portable: whether devices and case are minded; version 0.1.0 did not.
    """
    # quote() leaves ~ alone, which marks what is added: so it is encoded, too.
    name = quote(item_id, safe="").replace("~", "%7E")
    if name.startswith(".") or (portable and _DEVICE.match(name)):
        name = f"%{ord(name[0]):02X}{name[1:]}"
    if len(name) > _MOST_BYTES:
        name = f"{name[:_MOST_BYTES]}~{hashlib.sha256(item_id.encode()).hexdigest()[:16]}"
    elif portable and (capitals := _capitals(item_id)):
        name = f"{name}~{capitals:x}"
    return f"{name}.{suffix}"


def _capitals(item_id: str) -> int:
    """Which of the ASCII letters are capitals: the first is bit 0."""
    if item_id == item_id.lower():
        return 0
    letters = (letter for letter in item_id if letter.isascii() and letter.isalpha())
    return sum(letter.isupper() << place for place, letter in enumerate(letters))
