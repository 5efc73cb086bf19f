"""Bulk jobs for the client SDK, reached as `client.jobs`."""

from kernelport.job_client.aio import AsyncJobs
from kernelport.job_client.sync import Jobs

__all__ = ["AsyncJobs", "Jobs"]
