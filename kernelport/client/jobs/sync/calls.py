"""The synchronous twin of `jobs/aio/calls.py`: generated, not to be edited; `make sync` writes it."""

import contextlib
from collections.abc import Callable, Collection, Generator, Sequence
from typing import Any

from kernelport.client.calling.limits import Deadline
from kernelport.client.calling.sync import Begun, Channel, pause
from kernelport.client.jobs.messages import Patience
from kernelport.errors import KernelPortError, no_front_door, of_request
from kernelport.v1 import job_pb2 as pb
from kernelport.v1.job_pb2_grpc import JobServiceStub


class JobCalls:
    """Calls within the client's time limit and a caller's own, and the pauses between their tries.

    Attributes:
        patience_s: seconds for which a caller goes on trying while no front door can be reached, once it has answered.
        on_retry: called with what is in the way and the seconds until the next try.
    """

    def __init__(self, channel: Channel) -> None:
        self.patience_s: float = 300.0
        self.on_retry: Callable[[KernelPortError, float], None] | None = None
        self._channel = channel

    def call(self, method: str, request: Any, whole: Deadline | None = None, *, repeatable: bool = True) -> Any:
        """One answer, within the client's time limit and what is left of `whole`."""
        deadline = self.portion(whole or Deadline(None))
        return self._checked(self._channel.call(JobServiceStub, method, request, deadline, repeatable=repeatable))

    def patient_call(
        self, method: str, request: Any, whole: Deadline, also: Collection[type[KernelPortError]] = ()
    ) -> Any:
        """As `call`, and again while the front door is away.

        Args:
            also: errors that another try may mend, too.
        """
        patience = self.patience()
        while True:
            try:
                return self.call(method, request, whole)
            except KernelPortError as error:
                self.pause(patience, error, whole, also)

    def stream(self, method: str, request: Any, deadline: Deadline) -> Generator[Any]:
        """Answers as they come, until the deadline."""
        answers = self._channel.stream(JobServiceStub, method, request, deadline)
        with contextlib.closing(answers):
            for answer in answers:
                yield self._checked(answer)

    def pages(self, method: str, request: Any, whole: Deadline) -> Generator[Any]:
        """The pages of a listing, each asked for when it is wanted."""
        while True:
            page = self.patient_call(method, request, whole)
            yield page
            request.page_token = page.next_page_token
            if not request.page_token:
                return

    def begin(self, requests: Sequence[pb.AddItemsRequest], whole: Deadline) -> Begun:
        """Begins to add items to a job, in one call."""
        return self._channel.begin(JobServiceStub, "AddItems", requests, self.portion(whole))

    def portion(self, whole: Deadline) -> Deadline:
        """When a call that begins now must be over."""
        return whole.portion(self._channel.timeout_s)

    def patience(self) -> Patience:
        """None before the first answer: the address may be wrong."""
        return Patience(self.patience_s if self._channel.answered else 0.0)

    def pause(
        self,
        patience: Patience,
        error: KernelPortError,
        whole: Deadline,
        also: Collection[type[KernelPortError]] = (),
    ) -> None:
        """Waits for the next try; raises the error when there is to be none, or that the time is over.

        Args:
            also: errors that another try may mend, beside those of a front door that is away.
        """
        with of_request(error.request_id):
            whole.left_s()
        pause_s = patience.pause_s(error, also)
        if self.on_retry is not None:
            self.on_retry(error, pause_s)
        pause(whole.pause_s(pause_s))

    def _checked(self, answer: Any) -> Any:
        """An answer, unless it is about a job without an id: one that a server of another kind has left empty."""
        if hasattr(answer, "job") and not answer.job.id:
            raise no_front_door(self._channel.target)
        return answer
