"""The registered voices of a job: a name means the recording that it meant when the job took it.

A job pins a voice when an item that names it is submitted; one of items that an earlier version took, when a worker
first finds it. The recording is kept with the pin: what becomes of the name does not change the job.
"""

from collections.abc import Collection, Iterator, Sequence
from typing import Any

from redis import Redis
from redis.asyncio import Redis as AsyncRedis

from kernelport.broker import keys, stored
from kernelport.jobs import scripts
from kernelport.names import owner_of
from kernelport.v1.voice_pb2 import Voice

# Redis copies as many recordings in one step.
_PINNED_AT_ONCE = 64
SHA256_DIGITS = 64


class JobVoices:
    """The voices of one job as workers see them. Every method raises RedisError when Redis cannot be asked."""

    def __init__(self, redis: Redis, job: str) -> None:
        self._redis = redis
        self._job = job

    def find(self, name: str) -> Voice | None:
        """The transcript of a voice and the SHA-256 of its recording; pins it if it is registered and not pinned."""
        return self._pinned(name) or self._pin(name)

    def read(self, name: str) -> tuple[Voice, bytes] | None:
        """A voice with its recording."""
        voice = self.find(name)
        recording = self._redis.hget(keys.job_recording(voice.sha256), "bytes") if voice else None
        return None if voice is None or recording is None else (voice, recording)  # type: ignore[return-value]

    def _pinned(self, name: str) -> Voice | None:
        value: bytes | None = self._redis.hget(keys.job_voices(self._job), name)  # type: ignore[assignment]
        if value is None:
            return None
        return Voice(
            name=name, sha256=stored.name(value[:SHA256_DIGITS]), transcript=stored.name(value[SHA256_DIGITS:])
        )

    def _pin(self, name: str) -> Voice | None:
        names = [name]
        while names:
            read: list[bytes | None] = self._redis.hmget(_voices_of(self._job), names)  # type: ignore[assignment]
            names = scripts.run(self._redis, "pin", self._job, *_arguments(names, read))
        return self._pinned(name)


async def pin(redis: AsyncRedis, job: str, names: Collection[str]) -> set[str]:
    """Pins those of the names that are registered to a job that is active, or may be resumed, and has not pinned them.

    Returns:
        the names that it has pinned by now, or before.

    Raises:
        RedisError: when Redis cannot be asked.
    """
    pinned: set[str] = set()
    left = list(names)
    while left:
        some, left = left[:_PINNED_AT_ONCE], left[_PINNED_AT_ONCE:]
        read: Any = await redis.hmget(_voices_of(job), some)
        changed = {name.decode() for name in await scripts.run(redis, "pin", job, *_arguments(some, read))}
        pinned |= {name for name, value in zip(some, read, strict=True) if value is not None} - changed
        left += changed
    if before := [name for name in names if name not in pinned]:  # deleted since then, or never registered
        kept: Any = await redis.hmget(keys.job_voices(job), before)
        pinned |= {name for name, value in zip(before, kept, strict=True) if value is not None}
    return pinned


def _voices_of(job: str) -> str:
    """What is registered by the tenant of a job."""
    return keys.owned(keys.VOICES, owner_of(job)[0])


def _arguments(names: Sequence[str], read: Sequence[bytes | None]) -> Iterator[str | bytes]:
    """What the script `pin` takes of voices that were read just now."""
    for name, value in zip(names, read, strict=True):
        if value is not None:
            voice = Voice.FromString(value)
            yield from (name, value, voice.sha256, voice.transcript)
