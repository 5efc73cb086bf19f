"""Calls that block their thread. `kernelport.client.calling.aio` is its counterpart for asyncio."""

import contextlib
import itertools
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import AbstractContextManager
from typing import Any, TypeVar

import grpc

from kernelport.client.calling.address import CLOSED, Address, NotCopied
from kernelport.client.calling.forks import calls
from kernelport.client.calling.limits import Deadline, checked, checked_retries, retry_pause_s
from kernelport.errors import CancelledError, FailedPreconditionError, KernelPortError, from_call

T = TypeVar("T")
R = TypeVar("R")
_Opened = tuple[grpc.Channel, dict[type[Any], Any]]  # with the stubs made of it


class Channel(NotCopied):
    """A connection to a front door for every process that asks for one, and for the threads of a pool.

    Args:
        address: where the front door is.
        timeout_s: seconds that a call may take unless it says otherwise; None for no limit.
        max_retries: how often a call that is safe to repeat is tried again.

    Attributes:
        target: where calls go.
        answered: whether the front door has answered a call.

    Raises:
        InvalidArgumentError: when one of them is not as it should be.
    """

    def __init__(self, address: Address, timeout_s: float | None, max_retries: int) -> None:
        self._address = address
        self.target: str = address.target
        self.timeout_s: float | None = checked(timeout_s)
        self._max_retries = checked_retries(max_retries)
        self._pid = os.getpid()
        self._opened: dict[_Pooled | None, _Opened] = {}
        self._closed = False
        self.answered: bool = False

    def check(self) -> None:
        """Raises FailedPreconditionError when it is closed."""
        if self._closed:
            raise FailedPreconditionError(CLOSED)

    def deadline(self, timeout_s: float | None) -> Deadline:
        """When a call that begins now must be over; None for the client's own limit."""
        return Deadline(self.timeout_s if timeout_s is None else timeout_s)

    def call(self, stub: type[Any], method: str, request: Any, deadline: Deadline, *, repeatable: bool = True) -> Any:
        """The answer to a request.

        Args:
            stub: the generated class of the service's stub.
            repeatable: whether it does no harm to send the request again.
        """
        failures = 0
        while True:
            left_s = deadline.left_s()
            try:
                with self._translated(deadline), calls:
                    answer = self._method(stub, method)(request, timeout=left_s, metadata=self._address.metadata)
                self.answered = True
                return answer
            except KernelPortError as error:
                failure = error
            failures += 1
            pause(retry_pause_s(failure, failures, self._max_retries if repeatable else 0, deadline))

    def exchange(self, stub: type[Any], method: str, request: bytes, deadline: Deadline, is_large: bool) -> bytes:
        """The serialized answer to a serialized request; the caller waits, however large both are."""
        answer: bytes = self.call(stub, method, request, deadline).pop()
        return answer

    def stream(self, stub: type[Any], method: str, request: Any, deadline: Deadline) -> Generator[Any]:
        """The answers to a request, as they come."""
        with self._translated(deadline), calls:
            call = self._method(stub, method)(request, timeout=deadline.left_s(), metadata=self._address.metadata)
        try:
            with self._translated(deadline):
                for answer in call:
                    self.answered = True
                    yield answer
        finally:
            call.cancel()

    def pause_to_repeat(self, failure: KernelPortError, failures: int, deadline: Deadline) -> None:
        """Waits before a call that is safe to repeat is tried again.

        Raises:
            KernelPortError: the failure itself, when there is to be no other try.
        """
        pause(retry_pause_s(failure, failures, self._max_retries, deadline))

    def begin(self, stub: type[Any], method: str, requests: Sequence[Any], deadline: Deadline) -> "Begun":
        """Sends a stream of requests, without waiting for the answer."""
        with self._translated(deadline), calls:
            begin = self._method(stub, method).future
            begun = begin(iter(requests), timeout=deadline.left_s(), metadata=self._address.metadata)
        return Begun(begun, lambda: self._translated(deadline))

    def close(self) -> None:
        """Closes the connection; calls in flight end with FailedPreconditionError. Again, it does nothing."""
        with calls.opening:
            self._closed = True
            is_ours = self._pid == os.getpid()  # else they are the parent's
            opened, self._opened = self._opened, {}
        for channel, _ in opened.values() if is_ours else ():
            channel.close()

    def give_up(self, pooled: "_Pooled") -> None:
        """Ends the calls of the threads of a pool."""
        with calls.opening:
            opened = self._opened.pop(pooled, None)
        if opened is not None:
            opened[0].close()

    @contextlib.contextmanager
    def _translated(self, deadline: Deadline) -> Iterator[None]:
        """Raises what gRPC ends a call with as an error of ours."""
        try:
            yield
        except grpc.RpcError as error:
            failure = deadline.named(from_call(error, self.target))
            if self._closed and isinstance(failure, CancelledError):
                raise FailedPreconditionError(CLOSED) from None
            raise failure from None
        except ValueError:  # by gRPC, of a call that begins while another thread closes
            if self._closed:
                raise FailedPreconditionError(CLOSED) from None
            raise

    def _method(self, stub: type[Any], method: str) -> Any:
        pooled = _thread.pooled
        if self._pid != os.getpid() or (opened := self._opened.get(pooled)) is None:
            opened = self._open(pooled)
        channel, stubs = opened
        if stub not in stubs:
            stubs[stub] = stub(channel)
        return getattr(stubs[stub], method)

    def _open(self, pooled: "_Pooled | None") -> _Opened:
        with calls.opening:  # or threads that call for the first time would open one each
            self.check()
            if self._pid != os.getpid():
                self._opened = {}
                self._pid = os.getpid()
            if pooled not in self._opened:
                calls.check()
                if pooled is not None:
                    pooled.opens(self)
                self._opened[pooled] = self._address.open(grpc), {}
            return self._opened[pooled]


class Begun:
    """A call that has begun."""

    def __init__(self, call: Any, translated: Callable[[], AbstractContextManager[None]]) -> None:
        self._call = call
        self._translated = translated

    def done(self) -> bool:
        """Whether it has ended."""
        return bool(self._call.done())

    def result(self) -> Any:
        """The answer, when it is there."""
        with self._translated():
            try:
                return self._call.result()
            except grpc.FutureCancelledError:
                raise self._call from None

    def cancel(self) -> None:
        """Gives the call up, unless it has ended."""
        self._call.cancel()


class _Pooled:
    """What the threads of a pool have together: connections of their own, as gRPC ends a call that blocks its thread
    only with its connection. They share the client's socket."""

    def __init__(self) -> None:
        self._channels: list[Channel] = []
        self._given_up = threading.Event()

    def join(self) -> None:
        """Takes this thread in."""
        _thread.pooled = self

    def opens(self, channel: Channel) -> None:
        """Notes that these threads get a connection.

        Raises:
            CancelledError: when they have been given up.
        """
        if self._given_up.is_set():
            raise CancelledError("the rest of these requests was given up")
        self._channels.append(channel)

    def pause(self, seconds: float) -> None:
        """Waits, unless they have been given up."""
        self._given_up.wait(seconds)

    def give_up(self) -> None:
        """Ends their calls; there are no others."""
        with calls.opening:
            self._given_up.set()
        for channel in self._channels:
            channel.give_up(self)


class _Thread(threading.local):
    pooled: _Pooled | None = None


_thread = _Thread()


def pause(seconds: float) -> None:
    """Waits."""
    (time.sleep if _thread.pooled is None else _thread.pooled.pause)(seconds)


def in_thread(function: Callable[..., T], *arguments: Any) -> T:
    """The result of a function."""
    return function(*arguments)


def in_thread_if(long: bool, function: Callable[..., T], *arguments: Any) -> T:
    """The result of a function."""
    return function(*arguments)


class Threads(ThreadPoolExecutor):
    """Threads that are given up at the end of a block, and their calls with them. They are of the process that makes
    them: a child that is forked meanwhile has none."""

    def __init__(self, count: int) -> None:
        self._pooled = _Pooled()
        super().__init__(count, initializer=self._pooled.join)
        self._pid = os.getpid()

    def check(self) -> None:
        """Raises FailedPreconditionError in a child, which would wait for its parent's threads for ever."""
        if self._pid != os.getpid():
            raise FailedPreconditionError(
                "this process was forked from one that was in the middle of these requests: begin anew here",
                reason="FORKED",
            )

    def __exit__(self, *_: object) -> None:
        if self._pid == os.getpid():
            self.shutdown(wait=False, cancel_futures=True)
            self._pooled.give_up()


def as_completed(function: Callable[[T], R], values: Iterable[T], concurrency: int) -> Generator[tuple[int, R]]:
    """Calls a function with many values, so many at a time, each in a thread; `values` is read no faster than results
    are taken.

    Yields:
        The index of a value and its result, in the order of completion.
    """
    numbered = enumerate(values)
    running: dict[Future[R], int] = {}
    with Threads(concurrency) as pool:
        while True:
            while len(running) < concurrency and (following := next(numbered, None)) is not None:
                running[pool.submit(function, following[1])] = following[0]
            if not running:
                return
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                yield running.pop(future), future.result()
                pool.check()


def in_order(function: Callable[[T], R], values: Iterable[T], concurrency: int) -> Generator[R]:
    """The same, but the results alone and in the order of the values."""
    coming = iter(values)
    running: deque[Future[R]] = deque()
    with Threads(concurrency) as pool:
        while True:
            for value in itertools.islice(coming, concurrency - len(running)):
                running.append(pool.submit(function, value))
            if not running:
                return
            yield running.popleft().result()
            pool.check()
