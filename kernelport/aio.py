"""The client for asyncio under the names of the synchronous one: `kernelport.aio.Client`."""

from kernelport.client.aio import AsyncClient as Client
from kernelport.client.jobs.aio.jobs import AsyncJobs as Jobs

__all__ = ["Client", "Jobs"]
