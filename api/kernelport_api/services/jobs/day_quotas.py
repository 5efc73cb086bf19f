"""What items of jobs take of the characters and bytes that tenants and keys may use in a day.

The scripts of the job store count them, in the step that takes a page of items in: to the last one, and once each,
however often they are sent. What has not succeeded when the job is over is given back.
"""

import json
from collections.abc import Sequence
from typing import Any

from kernelport.access.quotas import QuotaExceededError
from kernelport.broker import stored
from kernelport.jobs.inputs import characters_of_item
from kernelport.v1.inference_pb2 import Tensor
from kernelport.v1.job_pb2 import NewItem
from kernelport_api import calls

Limited = Sequence[tuple[str, float, float]]
"""Whose quotas hold, and what each may use in a day: characters, bytes; -1 where that is not limited."""


def limited() -> Limited:
    """Those that items of the current call count against; usually none."""
    holders = ((name, *quotas.of_day()) for name, quotas in calls.current().principal.quotas)
    return [each for each in holders if max(each[1:]) >= 0]


def amounts(items: Sequence[NewItem], shared: Sequence[Tensor]) -> tuple[int, int]:
    """The characters and the bytes of items, as `bytes_a_day` counts these: without what they share."""
    return sum(characters_of_item(item.inputs, shared) for item in items), sum(item.ByteSize() for item in items)


def taken(items: Sequence[NewItem], shared: Sequence[Tensor], limited: Limited) -> str:
    """What a page of items takes, as the script `append` has it."""
    return json.dumps([*amounts(items, shared), limited])


def refusal(told: Sequence[Any]) -> QuotaExceededError:
    """The error of a script that says `quota`."""
    holder, quota, limit, used, wait_ms = told
    return QuotaExceededError.by(stored.name(holder), stored.name(quota), limit, used, wait_ms / 1000)
