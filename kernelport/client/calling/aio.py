"""Calls of asyncio. `kernelport.client.calling.sync` is its counterpart for threads."""

import asyncio
import contextlib
import gc
import io
import itertools
import os
from collections.abc import AsyncGenerator, AsyncIterable, Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from functools import cache
from types import SimpleNamespace
from typing import Any, TypeVar

import grpc

from kernelport.client.calling.address import CLOSED, Address, NotCopied
from kernelport.client.calling.forks import calls
from kernelport.client.calling.limits import Deadline, checked, checked_retries, retry_pause_s
from kernelport.errors import FailedPreconditionError, KernelPortError, from_call, no_front_door

T = TypeVar("T")
R = TypeVar("R")
_Stub = Callable[[Any], Any]  # the class of a service's stub, or what makes one
_Stubs = dict[_Stub, Any]
# What grpc.aio says where it could not go on sending a stream of requests. The front door has ended the call, and said
# why, but of the two grpc.aio tells what it noticed first.
_CUT_OFF = "Internal error from Core"


class AsyncChannel(NotCopied):
    """A connection to a front door for every process and event loop that asks for one.

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
        self._opened: dict[asyncio.AbstractEventLoop, tuple[grpc.aio.Channel, _Stubs]] = {}
        self._closed = False
        self.answered: bool = False
        calls.polled.add(self)

    def is_open(self) -> bool:
        """Whether it has connections in loops that are not closed. Ends the others."""
        kept = {loop: opened for loop, opened in self._opened.items() if not loop.is_closed()}
        if len(kept) < len(self._opened):
            self._opened = kept
            gc.collect()  # a channel whose loop is closed ends only when it is freed, and it refers to itself
        return bool(kept)

    def deadline(self, timeout_s: float | None) -> Deadline:
        """When a call that begins now must be over; None for the client's own limit."""
        return Deadline(self.timeout_s if timeout_s is None else timeout_s)

    async def call(self, stub: _Stub, method: str, request: Any, deadline: Deadline, *, repeatable: bool = True) -> Any:
        """The answer to a request.

        Args:
            stub: the generated class of the service's stub.
            repeatable: whether it does no harm to send the request again.
        """

        def once(left_s: float | None) -> Awaitable[Any]:
            awaitable: Awaitable[Any] = self._sent(stub, method, request, left_s)
            return awaitable

        return self._checked(await self._repeated(once, deadline, repeatable))

    async def exchange(self, stub: _Stub, method: str, request: bytes, deadline: Deadline, is_large: bool) -> bytes:
        """The serialized answer to a serialized request.

        Args:
            stub: has the method, and where messages may be large one that takes and gives them in chunks.
            is_large: whether either message may be. gRPC copies one at a go, and the event loop waits meanwhile.
        """
        if not is_large:
            answer: bytes = (await self.call(stub, method, request, deadline)).pop()
            return answer

        async def in_chunks(left_s: float | None) -> bytes:
            answer = io.BytesIO()
            call = self._sent(stub, f"{method}Chunked", request, left_s)
            try:
                async for chunk in call:
                    answer.write(self._checked(chunk))
            except grpc.aio.AioRpcError as error:
                if error.code() is not grpc.StatusCode.UNIMPLEMENTED and not _is_cut_off(error):
                    raise
                # By a front door of version 0.1.0, or one whose reason a message in one piece tells.
                return bytes((await self._sent(stub, method, request, left_s)).pop())
            finally:
                call.cancel()
            return answer.getvalue()

        return await self._repeated(in_chunks, deadline, True)

    async def _repeated(self, once: Callable[[float | None], Awaitable[R]], deadline: Deadline, repeatable: bool) -> R:
        """What a call gives, tried again where that helps."""
        failures = 0
        while True:
            left_s = deadline.left_s()
            try:
                with self._translated(deadline):
                    answer = await once(left_s)
                self.answered = True
                return answer
            except KernelPortError as error:
                failure = error
            failures += 1
            await pause(retry_pause_s(failure, failures, self._max_retries if repeatable else 0, deadline))

    async def stream(self, stub: _Stub, method: str, request: Any, deadline: Deadline) -> AsyncGenerator[Any]:
        """The answers to a request, as they come."""
        call = self._sent(stub, method, request, deadline.left_s())
        try:
            with self._translated(deadline):
                async for answer in call:
                    self.answered = True
                    yield self._checked(answer)
        finally:
            call.cancel()

    async def pause_to_repeat(self, failure: KernelPortError, failures: int, deadline: Deadline) -> None:
        """Waits before a call that is safe to repeat is tried again.

        Raises:
            KernelPortError: the failure itself, when there is to be no other try.
        """
        await pause(retry_pause_s(failure, failures, self._max_retries, deadline))

    def begin(self, stub: _Stub, method: str, requests: Sequence[Any], deadline: Deadline) -> "AsyncBegun":
        """Sends a stream of requests, without waiting for the answer."""

        async def one_by_one() -> Any:
            for request in requests:
                answer = await self.call(_of_one_message(stub), method, request, deadline, repeatable=False)
            return answer

        begun = self._sent(stub, method, requests, deadline.left_s())
        return AsyncBegun(begun, lambda: self._translated(deadline), self._checked, one_by_one)

    async def close(self) -> None:
        """Closes every connection; calls in flight end with FailedPreconditionError. Again, it does nothing."""
        self._closed = True
        opened, self._opened = self._opened, {}
        if self._pid != os.getpid():
            return  # they are the parent's
        for loop, (channel, _) in opened.items():
            if loop is asyncio.get_running_loop():
                await channel.close()
            elif not loop.is_closed():
                asyncio.run_coroutine_threadsafe(channel.close(), loop)

    @contextlib.contextmanager
    def _translated(self, deadline: Deadline) -> Iterator[None]:
        """Raises what gRPC ends a call with as an error of ours."""
        try:
            yield
        except grpc.RpcError as error:
            raise deadline.named(from_call(error, self.target)) from None
        except asyncio.CancelledError:
            # Of a call rather than of the task: nobody would see that it has failed.
            if self._closed and not _is_cancelled():
                raise FailedPreconditionError(CLOSED) from None
            raise

    def _checked(self, answer: T | None) -> T:
        """An answer; grpc.aio gives None for one that is no message."""
        if answer is None:
            raise no_front_door(self.target)
        return answer

    def _sent(self, stub: _Stub, method: str, request: Any, timeout_s: float | None) -> Any:
        return self._method(stub, method)(request, timeout=timeout_s, metadata=self._address.metadata)

    def _method(self, stub: _Stub, method: str) -> Any:
        if self._closed:
            raise FailedPreconditionError(CLOSED)
        if self._pid != os.getpid():
            self._pid, self._opened = os.getpid(), {}
        loop = asyncio.get_running_loop()
        if loop not in self._opened:
            self._open(loop)
        channel, stubs = self._opened[loop]
        if stub not in stubs:
            stubs[stub] = stub(channel)
        return getattr(stubs[stub], method)

    def _open(self, loop: asyncio.AbstractEventLoop) -> None:
        calls.check_polled()
        self.is_open()
        self._opened[loop] = self._address.open(grpc.aio), {}


class AsyncBegun:
    """A call that has begun, with requests that are sent one by one where they were cut off."""

    def __init__(
        self,
        call: Any,
        translated: Callable[[], AbstractContextManager[None]],
        checked: Callable[[Any], Any],
        one_by_one: Callable[[], Awaitable[Any]],
    ) -> None:
        self._call = call
        self._translated = translated
        self._checked = checked
        self._one_by_one = one_by_one

    def done(self) -> bool:
        """Whether it has ended."""
        return bool(self._call.done())

    async def result(self) -> Any:
        """The answer, when it is there."""
        with self._translated():
            try:
                return self._checked(await self._call)
            except grpc.aio.AioRpcError as error:
                if not _is_cut_off(error):
                    raise
            return await self._one_by_one()

    def cancel(self) -> None:
        """Gives the call up, unless it has ended."""
        self._call.cancel()


async def pause(seconds: float) -> None:
    """Waits."""
    await asyncio.sleep(seconds)


async def in_thread(function: Callable[..., T], *arguments: Any) -> T:
    """The result of a function that takes a while, while the event loop goes on."""
    return await asyncio.to_thread(function, *arguments)


async def in_thread_if(long: bool, function: Callable[..., T], *arguments: Any) -> T:
    """The result of a function, while the event loop goes on if it takes long."""
    return await in_thread(function, *arguments) if long else function(*arguments)


async def as_completed(
    function: Callable[[T], Awaitable[R]],
    values: Iterable[T] | AsyncIterable[T],
    concurrency: int,
    *,
    ordered: bool = False,
) -> AsyncGenerator[tuple[int, R]]:
    """Calls a function with many values, so many at a time; `values` is read no faster than results are taken.

    Args:
        ordered: whether results come in the order of the values.

    Yields:
        The index of a value and its result, in the order of completion.
    """
    numbers = itertools.count()
    room = asyncio.Semaphore(concurrency)
    running: dict[asyncio.Future[Any], int] = {}
    coming: asyncio.Queue[asyncio.Future[Any]] = asyncio.Queue()

    async def begin(value: T) -> None:
        call = asyncio.ensure_future(function(value))
        running[call] = next(numbers)
        if ordered:
            coming.put_nowait(call)
        else:
            call.add_done_callback(coming.put_nowait)
        await room.acquire()

    async def begin_all() -> None:
        await room.acquire()
        if isinstance(values, AsyncIterable):
            async for value in values:
                await begin(value)
        else:
            for value in values:
                await begin(value)

    # A task of its own: results that are there need not wait for the next value.
    reading = asyncio.ensure_future(begin_all())
    reading.add_done_callback(coming.put_nowait)
    try:
        while running or not reading.done():
            call = await coming.get()
            result = await call
            if call is not reading:
                yield running.pop(call), result
                room.release()
        await reading
    finally:
        await _give_up([reading, *running])


async def in_order(
    function: Callable[[T], Awaitable[R]], values: Iterable[T] | AsyncIterable[T], concurrency: int
) -> AsyncGenerator[R]:
    """The same, but the results alone and in the order of the values."""
    async with contextlib.aclosing(as_completed(function, values, concurrency, ordered=True)) as results:
        async for _, result in results:
            yield result


async def _give_up(running: Iterable[asyncio.Future[Any]]) -> None:
    running = list(running)
    for future in running:
        future.cancel()
    await asyncio.gather(*running, return_exceptions=True)


@cache
def _of_one_message(stub: _Stub) -> _Stub:
    """A stub to which a stream of requests has one message: on the wire, a call of one request is no different."""
    return lambda channel: stub(
        SimpleNamespace(
            unary_unary=channel.unary_unary,
            unary_stream=channel.unary_stream,
            stream_unary=channel.unary_unary,
            stream_stream=channel.unary_stream,
        )
    )


def _is_cut_off(error: grpc.aio.AioRpcError) -> bool:
    return error.code() is grpc.StatusCode.INTERNAL and error.details() == _CUT_OFF


def _is_cancelled() -> bool:
    """Whether somebody has cancelled the task, rather than a call that it awaits."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
