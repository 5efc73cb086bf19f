"""The summary that lands beside a job's outputs and manifest."""

from typing import Any

from kernelport.broker.clock import clock
from kernelport.jobs.outputs import StackMark
from kernelport.jobs.records import JobRecord
from kernelport.jobs.shapes import job_dict


def summary(job: JobRecord, shared: dict[str, Any], mark: StackMark) -> dict[str, Any]:
    """The job as a whole, without its webhook.

    Args:
        job: as it is about to be.
        shared: the inputs of every item, as `Inputs` describes them.
        mark: of the stack, which its outputs are known by.
    """
    known = job.job()
    progress = known.progress
    progress.cancelled, progress.waiting = progress.items - progress.succeeded - progress.failed, 0
    known.finished_unix_us = clock.now_us()
    told = job_dict(known)
    del told["spec"]["webhook"]
    told["spec"]["shared_inputs"] = shared
    # Seconds of work per second of audio, over all workers.
    told["real_time_factor"] = progress.backend_s / progress.audio_s if progress.audio_s else None
    # What padding batches to their longest item adds, as a share of the useful length.
    told["padding_waste"] = progress.padded_cost / progress.useful_cost - 1 if progress.useful_cost else 0.0
    return {**told, "stack": mark.stack, "ended": mark.ended}
