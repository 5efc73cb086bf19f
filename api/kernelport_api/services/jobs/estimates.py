"""What a job would take, from what the newest ones of its deployment have taken."""

from typing import Any

from kernelport.jobs.records import JobRecord
from kernelport_api.queueing.live_workers import WorkerView
from kernelport_api.services.fleet import Fleet
from kernelport_api.services.jobs.store import JobStore

# The newest jobs are looked through for those of the deployment.
_JOBS_LOOKED_AT = 200


class Estimates:
    """Reckons with the rates that jobs have had."""

    def __init__(self, store: JobStore, workers: WorkerView, fleet: Fleet) -> None:
        self._store = store
        self._workers = workers
        self._fleet = fleet

    async def of(self, deployment: str, cost: int) -> dict[str, Any]:
        """An estimate for items of this cost together. What nothing is known of is None.

        Returns:
            `jobs`: how many it is measured by; `audio_s`: seconds of audio; `backend_s`: seconds of compute; `run_s`:
            seconds until all is done by the live `workers`, with nothing else to do; `dollars`: for the compute, as
            the autoscaler pays for machines of this deployment.
        """
        records = await self._store.records(await self._store.newest(_JOBS_LOOKED_AT))
        measured = [record for record in records if record.deployment == deployment and record.number("useful_cost")]
        workers = len(self._workers.workers(deployment))
        run = sum(record.number("useful_cost") for record in measured)
        audio_s, backend_s = (
            sum(map(seconds, measured)) / run * cost if run else None for seconds in (_audio_s, _backend_s)
        )
        price = await self._fleet.dollars_per_worker_hour(deployment)
        return {
            "jobs": len(measured),
            "workers": workers,
            "audio_s": audio_s,
            "backend_s": backend_s,
            "run_s": backend_s / workers if backend_s is not None and workers else None,
            "dollars": backend_s / 3600 * price if backend_s is not None and price is not None else None,
        }


def _audio_s(record: JobRecord) -> float:
    return record.number("audio_us") / 1e6


def _backend_s(record: JobRecord) -> float:
    return record.number("backend_us") / 1e6
