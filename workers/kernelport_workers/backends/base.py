"""What a worker asks of the thing that runs a model."""

import functools
import importlib.util
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Self

from kernelport.config.deployments import Batching, Deployment
from kernelport.errors import KernelPortError, as_unicode
from kernelport.names import DEFAULT_TENANT
from kernelport.signature import Signature
from kernelport.speech_pace import SpeechPace
from kernelport.tensors import Array

Outputs = dict[str, Array]

MOST_WARNINGS, LONGEST_WARNING = 8, 200


def _never() -> None: ...


@dataclass(frozen=True)
class Request:
    """One request of a batch.

    Attributes:
        inputs: the arrays, which fit the backend's signature. They are read-only.
        check: raises when the answer is of no use any more (deadline passed, caller gone). A backend that works in
            steps calls it between them; others may get the model meanwhile.
        tick: tells that the model is at work. A backend whose steps take long calls it within them.
        outputs: the names of those that the caller wants; empty for the usual ones. What else is given is left out.
        tenant: whose request it is: names of registered voices are that tenant's.
        warnings: what `warn` was told.
    """

    inputs: Mapping[str, Array]
    check: Callable[[], None] = _never
    tick: Callable[[], None] = _never
    outputs: Sequence[str] = ()
    tenant: str = DEFAULT_TENANT
    warnings: list[str] = field(default_factory=list)

    def warn(self, what: str) -> None:
        """Tells the caller of something in its answer that it did not ask for, such as characters that are left out.

        The manifest of a job shows the first 8 that differ, each cut at 200 characters.
        """
        shown = as_unicode(what[:LONGEST_WARNING])[:LONGEST_WARNING]
        if len(self.warnings) < MOST_WARNINGS and shown not in self.warnings:
            self.warnings.append(shown)


class Backend(ABC):
    """Runs one model. Loaded once per worker process, before the worker takes work; used by one thread at a time."""

    signature: Signature
    """What the model takes and gives."""

    device: str
    """Where it runs, for people: `cpu`, `cuda:0`, `cpu (interpreted)`."""

    compute_path: str = ""
    """Where and how it computes, for people: device, precision, threads, kernels; what it answers depends on them by
    rounding only. Empty: `device` says it all."""

    checks_output_shapes: ClassVar[bool] = True
    """Whether an output of another rank or fixed size than `signature` says is a failure. Names and dtypes always
    count."""

    outputs_stay: ClassVar[bool] = False
    """Whether nobody writes to an output once it is given: outputs are sent while the next batch runs. Of a backend
    that does not say so each is copied, as it may compute into the same memory every time."""

    requirements: ClassVar[Mapping[str, str]] = {}
    """The modules it imports when it loads, each with what to install where it is missing."""

    compute_options: ClassVar[frozenset[str]] = frozenset()
    """The options of a manifest that only choose a compute path: workers that differ in them serve one revision."""

    @functools.cached_property
    def pace(self) -> SpeechPace:
        """How fast it has spoken, if it is a voice."""
        return SpeechPace()

    @classmethod
    def check_requirements(cls) -> None:
        """Looks for the modules without importing them.

        Raises:
            LoadError: when one is missing; the message says what to install.
        """
        for module, install in cls.requirements.items():
            if importlib.util.find_spec(module) is None:
                raise LoadError(f"the package {module!r} is missing: {install}")

    @classmethod
    @abstractmethod
    def load(cls, deployment: Deployment) -> Self:
        """Loads the model and warms it up, so that the first request is as fast as the next.

        Raises:
            LoadError: when it cannot run here; the message says what to do about it.
        """

    def for_job(self, job: str) -> Self:
        """The backend that runs the items of a job: this one, unless what a request means is settled by its job."""
        return self

    def take_limits(self, batching: Batching) -> None:  # noqa: B027 - most do not part a batch any further
        """The deployments file has been read again, and says this of a batch. What comes is no larger."""

    @abstractmethod
    def run(self, requests: Sequence[Request]) -> list[Outputs | KernelPortError]:
        """Runs a batch; element i of the result belongs to request i, and has the outputs that `signature` declares.

        A request that fails yields its error in its place. An exception means that the batch as a whole failed: the
        runner then runs its requests one by one. It also runs again, alone, each that in company yielded an error other
        than CancelledError and DeadlineExceededError, or a result that is not as declared.
        """


class LoadError(Exception):
    """A model that cannot be loaded on this machine; the message says what to do about it."""
