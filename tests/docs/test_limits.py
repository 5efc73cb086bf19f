"""The limits that the contract and the pages name are those of the code."""

import re

import pytest

from kernelport import decoder, limits
from kernelport.broker import voices
from kernelport.config.settings import Settings
from kernelport.jobs.records import DEFAULT_PRIORITY
from kernelport.tensors import MAX_RANK
from kernelport_api.aside import SMALL_BYTES
from kernelport_api.doors.grpc.sending import COUNTED_BYTES, MOST_BYTES
from kernelport_api.services.jobs import listing, service, watching
from kernelport_workers.backends.base import LONGEST_WARNING, MOST_WARNINGS
from kernelport_workers.luxtts.chunking import MAX_CHUNK_TOKENS, MIN_CHUNK_TOKENS
from tests.docs.pages import REPOSITORY

# How each row of the table in docs/reliability.md begins, and its other column.
ROWS = {
    "tensors of a request": f"{limits.MAX_TENSORS:,}",
    "elements of their STRING tensors": f"{limits.MAX_STRING_ELEMENTS:,}",
    "dimensions of a tensor": f"{MAX_RANK}",
    f"fields of a request over {SMALL_BYTES // 2**10} KiB": f"{limits.MAX_FIELDS:,}",
    "items in one SubmitJob or AddItems message": f"{limits.MAX_ITEMS:,}",
    "any other message": f"{SMALL_BYTES // 2**10} KiB",
    f"names of tensors (in a request over {SMALL_BYTES // 2**10} KiB)": f"{limits.MAX_NAME} characters",
    "a `request_id`": f"{limits.MAX_REQUEST_ID} characters",
    "the reason for which a job is cancelled": f"{limits.MAX_REASON:,} characters",
    "a webhook's URL, its secret, the events it names": (
        f"{limits.MAX_WEBHOOK_URL:,} and {limits.MAX_WEBHOOK_SECRET:,} characters, {limits.MAX_WEBHOOK_EVENTS}"
    ),
    "a job's metadata": f"{limits.MAX_METADATA} entries, {limits.MAX_METADATA_BYTES // 2**10} KiB",
    "calls in progress over one connection to the gRPC door": f"{limits.MAX_CALLS_OF_CONNECTION:,}; the next wait",
    "calls in progress at one front door": f"{limits.MAX_CALLS:,}; the next is RESOURCE_EXHAUSTED",
    f"answers of {COUNTED_BYTES // 2**20} MiB or more": f"{MOST_BYTES // 2**20} MiB, or one that is larger",
    "pings of a client": "one a second; oftener, and the connection is ended (`too_many_pings`)",
}
# What comments of proto/kernelport/v1 say.
COMMENTS = [
    ("inference", f"in any order, each name once; at most {limits.MAX_TENSORS:,}."),
    ("inference", f"Optional, at most {limits.MAX_REQUEST_ID} characters: makes the call safe to repeat."),
    ("inference", f"({Settings().result_ttl_s / 60:g} minutes by default)"),
    ("inference", f"at most {MOST_WARNINGS}, each of at most {LONGEST_WARNING} characters."),
    ("job", f"at most {MOST_WARNINGS}, each of at most {LONGEST_WARNING} characters."),
    ("job", f"1..{limits.MAX_PRIORITY}; 0 stands for {DEFAULT_PRIORITY}."),
    ("job", f"at most {limits.MAX_METADATA} entries and {limits.MAX_METADATA_BYTES // 2**10} KiB."),
    ("job", f"http or https, at most {limits.MAX_WEBHOOK_URL:,} characters."),
    ("job", f"unique in the job, 1..{limits.MAX_NAME} characters."),
    ("job", f"Optional, at most {limits.MAX_REQUEST_ID} characters: makes the call safe to repeat."),
    ("job", f"At most {limits.MAX_ITEMS:,} in one message."),
    ("job", f"At most {service.MAX_JOBS}; 0 for {service.DEFAULT_JOBS}."),
    ("job", f"At most {listing.MAX_ITEMS}; 0 for {listing.DEFAULT_ITEMS}."),
    (
        "job",
        f"in seconds: {watching.MIN_INTERVAL_S:g}..{watching.MAX_INTERVAL_S:g}; 0 for {watching.DEFAULT_INTERVAL_S:g}.",
    ),
    ("job", f"Shown as the job's reason, at most {limits.MAX_REASON:,} characters; may be empty."),
]
SENTENCES = [
    (
        "docs/luxtts.md",
        f"up to {voices.MAX_SECONDS:g} s, at most {voices.MAX_BYTES // 2**20} MiB",
    ),
    (
        "docs/luxtts.md",
        f"at least {decoder.MIN_SPEECH_S:g} s, of which {decoder.LEAST_SOUND_S:g} s are sound",
    ),
    ("docs/luxtts.md", f"where its words are given at most {decoder.MAX_SPEECH_S:g} s"),
    ("docs/luxtts.md", f"at most {decoder.MOST_OFFSET:g} of full scale"),
    ("docs/luxtts.md", f"at most {decoder.MOST_CLIPPED_PERCENT:g} % of its samples in flat tops"),
    ("docs/streaming.md", f"of which a piece has {MIN_CHUNK_TOKENS} to {MAX_CHUNK_TOKENS}"),
    ("docs/luxtts.md", f"a transcript up to {voices.MAX_TEXT:,}"),
    ("docs/jobs.md", f"at most {MOST_WARNINGS} of at most {LONGEST_WARNING} characters"),
]


def test_the_table_of_limits_is_that_of_the_code() -> None:
    page = (REPOSITORY / "docs" / "reliability.md").read_text()
    section = page.partition("## What a call may carry")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| (.+?) \| (.+?) \|$", section, re.MULTILINE)[1:]
    assert len(rows) == len(ROWS)
    for (what, most), (begins, expected) in zip(rows, ROWS.items(), strict=True):
        assert what.startswith(begins)
        assert most.startswith(expected), f"{what}: expected {expected}, the page says {most}"


@pytest.mark.parametrize(("file", "sentence"), COMMENTS)
def test_a_comment_of_the_contract_names_the_limit_of_the_code(file: str, sentence: str) -> None:
    comments = re.sub(r"\s*// ", " ", (REPOSITORY / "proto" / "kernelport" / "v1" / f"{file}.proto").read_text())
    assert sentence in comments


@pytest.mark.parametrize(("page", "sentence"), SENTENCES)
def test_a_page_names_the_limit_of_the_code(page: str, sentence: str) -> None:
    assert sentence in " ".join((REPOSITORY / page).read_text().split())
