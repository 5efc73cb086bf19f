"""The same voice without pieces: its worker speaks whole requests, first come, first served."""

from collections.abc import Sequence
from typing import Self

from kernelport.config.deployments import Deployment
from kernelport.errors import KernelPortError
from kernelport_workers.backends.base import Backend, Outputs, Request
from kernelport_workers.pipelines.hibari import HibariPipeline


class WholeRequests(Backend):
    """Speaks one request to its end before it begins with the next."""

    device = HibariPipeline.device
    signature = HibariPipeline.signature
    requirements = HibariPipeline.requirements

    def __init__(self, voice: HibariPipeline) -> None:
        self._voice = voice

    @classmethod
    def load(cls, deployment: Deployment) -> Self:
        """Loads the voice."""
        return cls(HibariPipeline.load(deployment))

    def run(self, requests: Sequence[Request]) -> list[Outputs | KernelPortError]:
        """Speaks a batch."""
        return self._voice.run(requests)
