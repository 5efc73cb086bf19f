"""Steps of many calls at once leave the event loop to others in between."""

import asyncio

from kernelport_api.turns import Turns

CROWD = 50


async def test_of_a_crowd_one_goes_on_in_each_turn_in_the_order_of_coming() -> None:
    turns, gone_on = Turns(), list[int]()

    async def step(number: int) -> None:
        await turns.take()
        gone_on.append(number)

    crowd = [asyncio.create_task(step(number)) for number in range(CROWD)]
    await asyncio.sleep(0)
    at_once = len(gone_on)
    while len(gone_on) < CROWD:
        before = len(gone_on)
        await asyncio.sleep(0)
        assert len(gone_on) <= before + 1
    await asyncio.gather(*crowd)
    assert at_once == 1
    assert gone_on == list(range(CROWD))


async def test_who_gives_up_keeps_nobody_from_their_turn() -> None:
    turns = Turns()
    first, second, third = (asyncio.create_task(turns.take()) for _ in range(3))
    await asyncio.sleep(0)
    second.cancel()
    async with asyncio.timeout(10):
        await asyncio.gather(first, third)
    assert second.cancelled()
