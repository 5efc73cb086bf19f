"""The deployment pipeline around the LuxTTS engine."""

from kernelport_workers.pipelines.luxtts.backend import LuxTTSPipeline

__all__ = ["LuxTTSPipeline"]
