"""The client SDK: a synchronous and an asyncio client of one front door."""

from kernelport.client.aio import AsyncClient
from kernelport.client.calling.address import Address
from kernelport.client.results import InferResult, Speech, load_outputs
from kernelport.client.sync import Client

__all__ = ["Address", "AsyncClient", "Client", "InferResult", "Speech", "load_outputs"]
