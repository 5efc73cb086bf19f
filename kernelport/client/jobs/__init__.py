"""Bulk jobs for the client SDK, reached as `client.jobs`."""

from kernelport.client.jobs.aio.jobs import AsyncJobs
from kernelport.client.jobs.sync.jobs import Jobs

__all__ = ["AsyncJobs", "Jobs"]
