"""Calls of asyncio. `kernelport.client.calling.sync` is its counterpart for threads."""

import asyncio
import contextlib
import gc
import io
import itertools
import os
from collections.abc import AsyncGenerator, AsyncIterable, Awaitable, Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from functools import cache
from types import SimpleNamespace, TracebackType
from typing import Any, TypeVar

import grpc

from kernelport.client.calling.address import CLOSED, Address, NotCopied
from kernelport.client.calling.forks import calls
from kernelport.client.calling.limits import Deadline, checked, checked_retries, retry_pause_s
from kernelport.client.calling.messages import closing
from kernelport.errors import FailedPreconditionError, KernelPortError, from_call, no_front_door

T = TypeVar("T")
R = TypeVar("R")
_Stub = Callable[[Any], Any]  # the class of a service's stub, or what makes one
_Opened = tuple[grpc.aio.Channel, dict[_Stub, Any]]  # with the stubs made of it
# What grpc.aio says where it could not go on sending a stream of requests. The front door has ended the call, and said
# why, but of the two grpc.aio tells what it noticed first.
_CUT_OFF = "Internal error from Core"
# How long gRPC may still tell a loop of calls that were cancelled. Were the loop closed, the next would get an error.
_LATE_S = 0.02
_CONNECTING = (grpc.ChannelConnectivity.CONNECTING, grpc.ChannelConnectivity.TRANSIENT_FAILURE)


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
        self._opened: dict[asyncio.AbstractEventLoop, _Opened] = {}
        self._closed = False
        self._has_cancelled = False
        self.answered: bool = False
        calls.polled.add(self)

    def is_open(self) -> bool:
        """Whether it has connections in loops that are not closed. Ends the others."""
        over = [loop for loop in list(self._opened) if loop.is_closed()]
        for loop in over:
            self._opened.pop(loop, None)
        if over:
            gc.collect()  # a channel whose loop is closed ends only when it is freed, and it refers to itself
        return bool(self._opened)

    def check(self) -> None:
        """Raises FailedPreconditionError when it is closed."""
        if self._closed:
            raise FailedPreconditionError(CLOSED)

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
            del call  # or the traceback of an error keeps it

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
        with calls.opening:
            self._closed = True
            opened, self._opened = self._opened, {}
        if self._pid != os.getpid():
            return  # they are the parent's
        for loop, (channel, _) in opened.items():
            if loop is asyncio.get_running_loop():
                await self._close(channel)
            else:
                self._close_in(loop, channel)

    async def _close(self, channel: grpc.aio.Channel) -> None:
        state = channel.get_state()
        await channel.close()
        await asyncio.sleep(0)  # the calls that this ends are told
        if self._has_cancelled:
            await asyncio.sleep(_LATE_S)
        if state in _CONNECTING:
            gc.collect()  # it goes on trying until its calls are freed, and these refer to themselves

    def _close_in(self, loop: asyncio.AbstractEventLoop, channel: grpc.aio.Channel) -> None:
        """Closes a channel of another loop, when that runs."""
        with contextlib.suppress(RuntimeError):  # it is closed, and will not
            loop.call_soon_threadsafe(lambda: loop.create_task(self._close(channel)))

    def _translated(self, deadline: Deadline) -> "_Translated":
        return _Translated(deadline, self.target, lambda: self._closed)

    def _checked(self, answer: T | None) -> T:
        """An answer; grpc.aio gives None for one that is no message."""
        if answer is None:
            raise no_front_door(self.target)
        return answer

    def _sent(self, stub: _Stub, method: str, request: Any, timeout_s: float | None) -> Any:
        call = self._method(stub, method)(request, timeout=timeout_s, metadata=self._address.metadata)
        call.add_done_callback(self._note_end)
        return call

    def _note_end(self, call: Any) -> None:
        self._has_cancelled = self._has_cancelled or call.cancelled()

    def _method(self, stub: _Stub, method: str) -> Any:
        loop = asyncio.get_running_loop()
        if self._pid != os.getpid() or (opened := self._opened.get(loop)) is None:
            opened = self._open(loop)
        channel, stubs = opened
        if stub not in stubs:
            stubs[stub] = stub(channel)
        return getattr(stubs[stub], method)

    def _open(self, loop: asyncio.AbstractEventLoop) -> _Opened:
        with calls.opening:  # loops of other threads may open theirs meanwhile
            self.check()
            if self._pid != os.getpid():
                self._opened = {}
                self._pid = os.getpid()
            calls.check_polled()
            self.is_open()
            self._opened[loop] = self._address.open(grpc.aio), {}
            return self._opened[loop]


class _Translated:
    """Raises what gRPC ends a call with as an error of ours, which does not refer to the call: the call refers to its
    connection, which lives as long.

    Args:
        is_closed: whether the client is.
    """

    def __init__(self, deadline: Deadline, target: str, is_closed: Callable[[], bool]) -> None:
        self._deadline = deadline
        self._target = target
        self._is_closed = is_closed

    def __enter__(self) -> None:
        pass

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        del trace
        if isinstance(error, grpc.RpcError):
            raise self._deadline.named(from_call(error.with_traceback(None), self._target)) from None
        # Of a call rather than of the task: nobody would see that it has failed.
        if isinstance(error, asyncio.CancelledError) and self._is_closed() and not _is_cancelled():
            raise FailedPreconditionError(CLOSED) from None


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
            async with closing(values):
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
