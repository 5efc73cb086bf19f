"""Bulk jobs for the client SDK, reached as `client.jobs`."""

from kernelport.client.jobs.aio import AsyncJobs
from kernelport.client.jobs.sync import Jobs

__all__ = ["AsyncJobs", "Jobs"]
