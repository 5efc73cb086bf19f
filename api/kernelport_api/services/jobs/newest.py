"""The newest jobs, and those that are active, as they stand."""

from collections.abc import Collection
from typing import Any

from kernelport.broker import stored
from kernelport.jobs.records import JobRecord
from kernelport.jobs.shapes import job_dict
from kernelport_api.services.jobs.store import JobStore
from kernelport_api.services.jobs.waiting import Waiting

_NEWEST = 100


class NewestJobs:
    """Reads them again and again: only what has changed is made anew."""

    def __init__(self, deployments: Collection[str], store: JobStore, waiting: Waiting) -> None:
        self._deployments = deployments
        self._store = store
        self._waiting = waiting
        self._known: dict[str, tuple[JobRecord, dict[str, Any]]] = {}

    async def read(self) -> dict[str, dict[str, Any]]:
        """The newest hundred jobs, newest first, and a hundred active ones of each deployment: for JSON, by their ids.
        One that was active is told of once more when it is over.

        Raises:
            UnavailableError: Redis cannot be reached.
        """
        newest = await self._store.newest(_NEWEST)
        active = await self._store.active(list(self._deployments), _NEWEST)
        active += [job for job, (record, _) in self._known.items() if not record.is_final]
        over = [job for job in newest if job in self._known and self._known[job][0].is_final]
        same = {job for job, state in (await self._store.job_states(over)).items() if self._was(job, state)}
        known = {job: self._known[job] for job in same}
        for record in await self._store.records([job for job in dict.fromkeys([*newest, *active]) if job not in same]):
            try:
                known[record.id] = record, job_dict(await self._waiting.told(record.job()))
            except stored.StoredError as error:
                stored.tell(error)
        self._known = {job: known[job] for job in dict.fromkeys([*newest, *active]) if job in known}
        return {job: shown for job, (_, shown) in self._known.items()}

    def _was(self, job: str, state: str) -> bool:
        return self._known[job][0].stored_state == state

    async def exists(self, job_id: str) -> bool:
        """Whether there is such a job; it may only be none of those that are read any more."""
        return await self._store.find(job_id) is not None
