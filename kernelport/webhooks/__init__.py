"""Tells URLs what becomes of jobs: signed, at least once, and never inside the operator's own network."""

from kernelport.webhooks.notifier import Notifier
from kernelport.webhooks.signing import SignatureError, verify

__all__ = ["Notifier", "SignatureError", "verify"]
