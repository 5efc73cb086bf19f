"""DeadLetterService: look at dead letters, run them again, or throw them away."""

from typing import Any

import grpc
from redis.asyncio import Redis

from kernelport.broker import keys, stored
from kernelport.errors import NotFoundError
from kernelport.names import owner_of
from kernelport.v1 import dead_letter_pb2 as pb
from kernelport.v1 import dead_letter_pb2_grpc, inference_pb2
from kernelport_api import calls
from kernelport_api.access.deployments import CallersDeployments
from kernelport_api.queueing.durability import Durability, on_disk
from kernelport_api.queueing.redis_errors import reached
from kernelport_api.services.audited import audited
from kernelport_api.services.inference import Inference

Context = grpc.aio.ServicerContext[Any, Any]


class DeadLetterNotFoundError(NotFoundError):
    """The deployment has no such dead letter."""

    reason = "DEAD_LETTER_NOT_FOUND"


def _name(request: pb.ReplayDeadLetterRequest | pb.PurgeDeadLetterRequest) -> str:
    return f"{request.deployment}/{request.id}"


class DeadLetters(dead_letter_pb2_grpc.DeadLetterServiceServicer):
    """The dead letters of every deployment."""

    def __init__(
        self, deployments: CallersDeployments, redis: Redis, inference: Inference, durability: Durability
    ) -> None:
        self.durability = durability
        self._deployments = deployments
        self._redis = redis
        self._inference = inference

    async def ListDeadLetters(self, request: pb.ListDeadLettersRequest, context: Context) -> pb.ListDeadLettersResponse:
        key, principal = self._key(request.deployment), calls.current().principal
        found: dict[bytes, bytes] = await reached(self._redis.hgetall(key))
        letters = []
        for name, value in ((stored.name(name), value) for name, value in found.items()):
            letter = stored.readable(pb.DeadLetter, value, f"{key} {name}") if principal.sees(name) else None
            if letter is not None:
                letter.id = principal.shown(name)
                letters.append(letter)
        letters.sort(key=lambda letter: letter.unix_us)
        for letter in letters:
            letter.ClearField("request")
        return pb.ListDeadLettersResponse(dead_letters=letters)

    async def GetDeadLetter(self, request: pb.GetDeadLetterRequest, context: Context) -> pb.GetDeadLetterResponse:
        return pb.GetDeadLetterResponse(dead_letter=await self._letter(request.deployment, request.id))

    @audited("dead_letter.replay", _name)
    async def ReplayDeadLetter(
        self, request: pb.ReplayDeadLetterRequest, context: Context
    ) -> pb.ReplayDeadLetterResponse:
        letter = await self._letter(request.deployment, request.id)
        where = f"{self._key(request.deployment)} {request.id}"
        call = calls.current()
        tenant, letter.id = owner_of(call.principal.stored(request.id))
        call.acts_for(tenant)  # whose voices it names
        call.replays = letter
        again = stored.message(inference_pb2.InferRequest, letter.request, where)
        response = await self._inference.answer(again, letter.request, context.time_remaining(), call.arrived_at)
        await reached(self._redis.hdel(self._key(request.deployment), call.principal.stored(request.id)))
        return pb.ReplayDeadLetterResponse(response=response)

    @audited("dead_letter.purge", _name)
    @on_disk
    async def PurgeDeadLetter(self, request: pb.PurgeDeadLetterRequest, context: Context) -> pb.PurgeDeadLetterResponse:
        letter_id = calls.current().principal.stored(request.id)
        removed = await reached(self._redis.hdel(self._key(request.deployment), letter_id))
        return pb.PurgeDeadLetterResponse(removed=bool(removed))

    async def _letter(self, deployment: str, letter_id: str) -> pb.DeadLetter:
        key = self._key(deployment)
        value = await reached(self._redis.hget(key, calls.current().principal.stored(letter_id)))
        if value is None:
            raise DeadLetterNotFoundError(f'id: "{deployment}" has no dead letter "{letter_id}"')
        letter = stored.message(pb.DeadLetter, value, f"{key} {letter_id}")
        letter.id = letter_id
        return letter

    def _key(self, deployment: str) -> str:
        if deployment not in self._deployments:
            raise NotFoundError(f"deployment: {self._deployments.unknown(deployment)}")
        return keys.dead_letters(deployment)
