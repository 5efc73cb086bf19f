"""What doors ask, and how they count what they are asked."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from kernelport_api.access.decision import Access
from kernelport_api.access.deployments import CallersDeployments
from kernelport_api.doors.calls import Calls
from kernelport_api.doors.open_inference.models import Models
from kernelport_api.services.access import Keys
from kernelport_api.services.dead_letters import DeadLetters
from kernelport_api.services.deployments import Deployments
from kernelport_api.services.files import Files
from kernelport_api.services.inference import Inference
from kernelport_api.services.jobs.service import Jobs
from kernelport_api.services.operations import Operations
from kernelport_api.services.records import Records
from kernelport_api.services.voices import Voices


@dataclass(frozen=True)
class Services:
    """What can be asked for.

    Attributes:
        access: decides about each call.
        keys: makes and changes keys and tenants.
        described: tells of the deployments.
        stop: set when the front door is to stop.
        not_serving: says why no calls can be taken; empty when they can.
        runs: calls that run a model; how many there may be is for the inference service to say.
        others: calls that ask for something else.
        watches: calls that nobody waits for when the front door stops.
    """

    access: Access
    keys: Keys
    deployments: CallersDeployments
    inference: Inference
    models: Models
    voices: Voices
    described: Deployments
    letters: DeadLetters
    jobs: Jobs
    files: Files
    batches: Records
    operations: Operations
    stop: asyncio.Event
    not_serving: Callable[[], str]
    runs: Calls
    others: Calls
    watches: Calls
