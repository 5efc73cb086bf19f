"""Names of jobs and of the files that their items become."""

import hashlib
import secrets
import time
from urllib.parse import quote

MANIFEST = "manifest.jsonl"
SUMMARY = "summary.json"
# Well below the 255 bytes that file systems allow, so that endings and prefixes fit.
_MOST_BYTES = 160


def new_job_id() -> str:
    """Unique, and sorted by time of creation."""
    return f"{round(time.time() * 1000):011x}-{secrets.token_hex(4)}"


def file_name(item_id: str, suffix: str) -> str:
    """The name of an item's file: the id itself as far as every file system and URL can hold it.

    What is no letter, digit, `.`, `_` or `-` is percent-encoded, as is a leading dot. A long id is cut and ends
    in a digest of the whole, so that different ids have different names.
    """
    # quote() leaves ~ alone, which marks a cut name: so it is encoded, too.
    name = quote(item_id, safe="").replace("~", "%7E")
    if name.startswith("."):
        name = f"%2E{name[1:]}"
    if len(name) > _MOST_BYTES:
        name = f"{name[:_MOST_BYTES]}~{hashlib.sha256(item_id.encode()).hexdigest()[:16]}"
    return f"{name}.{suffix}"
