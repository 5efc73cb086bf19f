"""All that whoever looks after a stack wants to see of it."""

from dataclasses import dataclass
from typing import Any, Self

from redis.asyncio import Redis

from kernelport.config.deployments import DeploymentTable, load_autoscale
from kernelport.config.settings import Settings
from kernelport_api.queueing.live_workers import WorkerView
from kernelport_api.queueing.redis_errors import reached
from kernelport_api.services.deployments import Deployments
from kernelport_api.services.figures import Figures
from kernelport_api.services.fleet import Fleet
from kernelport_api.services.jobs.estimates import Estimates
from kernelport_api.services.jobs.newest import NewestJobs
from kernelport_api.services.jobs.store import JobStore
from kernelport_api.services.jobs.waiting import Waiting
from kernelport_api.services.workers import Workers


@dataclass(frozen=True)
class Operations:
    """What there is to see.

    Attributes:
        described: tells of all deployments, whoever asks.
        links: the pages of other programs that tell more, by their names.
    """

    deployments: DeploymentTable
    described: Deployments
    figures: Figures
    workers: Workers
    fleet: Fleet
    estimates: Estimates
    newest_jobs: NewestJobs
    links: dict[str, str]

    @classmethod
    def of(
        cls,
        settings: Settings,
        redis: Redis,
        deployments: DeploymentTable,
        workers: WorkerView,
        figures: Figures,
        store: JobStore,
        waiting: Waiting,
    ) -> Self:
        """Of a front door with these settings.

        Raises:
            ConfigError: when the deployments file is not valid.
        """
        fleet = Fleet(redis, load_autoscale(settings.deployments_file).fleet)
        links = {"flower": settings.flower_url, "grafana": settings.grafana_url}
        return cls(
            deployments,
            Deployments(redis, deployments, workers, lambda: False),
            figures,
            Workers(redis, deployments, workers),
            fleet,
            Estimates(store, workers, fleet),
            NewestJobs(deployments, store, waiting),
            {name: url for name, url in links.items() if url},
        )

    async def now(self) -> dict[str, dict[str, Any]]:
        """The figures of every deployment now, for JSON, by its name.

        Raises:
            UnavailableError: Redis cannot be reached.
        """
        await reached(self.figures.refresh())
        return {name: self.figures.shown(name) for name in sorted(self.deployments)}

    async def told(self) -> dict[str, Any]:
        """All of it, for JSON.

        Raises:
            UnavailableError: Redis cannot be reached.
        """
        now = await self.now()
        return {
            "deployments": [{**shown, "minutes": self.figures.minutes(name)} for name, shown in now.items()],
            "workers": await self.workers.all(),
            "autoscaler": await self.fleet.report(),
            "links": self.links,
        }
