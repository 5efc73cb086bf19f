"""A parent that forks children, each of which calls: `python forks.py TARGET PARENT`. Prints what each tells."""

import asyncio
import faulthandler
import multiprocessing
import os
import sys
import threading
from collections.abc import Iterator

import numpy as np

import kernelport

TARGET, PARENT = sys.argv[1:]
X = {"x": np.ones((1, 1, 2, 2), np.float32)}
client = kernelport.Client(TARGET, timeout_s=20)
async_client = kernelport.AsyncClient(TARGET, timeout_s=20)
answered = threading.Event()


def child(told: "multiprocessing.Queue[str]") -> None:
    faulthandler.dump_traceback_later(7)  # where one hangs is shown
    try:
        client.infer("identity-onnx", X)
        asyncio.run(ask())
        told.put("answered")
    except kernelport.KernelPortError as error:
        told.put(error.reason)


async def ask() -> None:
    await async_client.infer("identity-onnx", X)


def poll() -> None:
    while True:
        client.infer("identity-onnx", X)
        answered.set()


def fork() -> None:
    context = multiprocessing.get_context("fork")
    for _ in range(5):
        told: multiprocessing.Queue[str] = context.Queue()
        process = context.Process(target=child, args=(told,), daemon=True)
        process.start()
        print(told.get(timeout=8), flush=True)
        process.join()


async def fork_beside_a_loop() -> None:
    await ask()
    await asyncio.to_thread(fork)


AMID = {
    "map": lambda: client.map("identity-onnx", [X] * 9, concurrency=4),
    "map_unordered": lambda: client.map_unordered("identity-onnx", [X] * 9, concurrency=4),
    "stream": lambda: client.stream("hibari-en", "One sentence here. " * 10, seed=1),
    "finished_items": lambda: client.jobs.finished_items(client.jobs.submit("identity-onnx", [X] * 5).id),
    "output": lambda: client.jobs.output(large_job(), "a"),
}


def large_job() -> str:
    """A job whose only item became a file of several megabytes."""
    x = np.zeros((1, 1, 1000, 1000), np.float32)
    return client.jobs.wait(client.jobs.submit("identity-onnx", [("a", {"x": x})]).id).id


def fork_amid(results: Iterator[object]) -> None:
    """A child goes on with what its parent is in the middle of, then the parent."""
    next(results)
    if os.fork():
        os.wait()
    else:
        faulthandler.dump_traceback_later(7, exit=True)
    try:
        print(len(list(results)), "left", flush=True)
    except kernelport.KernelPortError as error:
        print(error.reason, flush=True)


if PARENT == "busy":
    threading.Thread(target=poll, daemon=True).start()
    answered.wait()
elif PARENT == "closed-loop":
    asyncio.run(ask())
elif PARENT == "closed-loop-after-a-fork":
    multiprocessing.get_context("fork").Process(target=int).start()
    asyncio.run(ask())
if PARENT == "open-loop":
    asyncio.run(fork_beside_a_loop())
elif PARENT in AMID:
    fork_amid(AMID[PARENT]())
else:
    fork()
os._exit(0)
