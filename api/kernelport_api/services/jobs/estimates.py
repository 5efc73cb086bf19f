"""What a job would take, from what the newest ones of its deployment have taken."""

from typing import Any

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
        measured = [record for record in records if record.deployment == deployment and record.useful_cost]
        workers = len(self._workers.workers(deployment))
        run = sum(record.useful_cost for record in measured)
        audio_s = sum(record.audio_s for record in measured) / run * cost if run else None
        backend_s = sum(record.backend_s for record in measured) / run * cost if run else None
        price = await self._fleet.dollars_per_worker_hour(deployment)
        return {
            "jobs": len(measured),
            "workers": workers,
            "audio_s": audio_s,
            "backend_s": backend_s,
            "run_s": backend_s / workers if backend_s is not None and workers else None,
            "dollars": backend_s / 3600 * price if backend_s is not None and price is not None else None,
        }
