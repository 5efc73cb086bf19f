"""Files of items for bulk jobs: plain text, CSV, JSONL, and the JSONL of the OpenAI batch API."""

from kernelport.item_files.opening import ItemFileError
from kernelport.item_files.reading import ItemFile, Kind, Report, detect, model_of
from kernelport.item_files.rows import Problem

__all__ = ["ItemFile", "ItemFileError", "Kind", "Problem", "Report", "detect", "model_of"]
