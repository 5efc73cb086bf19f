"""Files of items for bulk jobs: plain text, CSV, JSONL, and the JSONL of the OpenAI batch API."""

from kernelport.client.item_files.jsonl_file import looks_like_objects
from kernelport.client.item_files.lines import Line
from kernelport.client.item_files.opening import ItemFileError
from kernelport.client.item_files.reading import ItemFile, Kind, Report, detect, model_of
from kernelport.client.item_files.rows import Problem
from kernelport.client.item_files.text_file import SPLITS, Passage, Split, chosen, read_passages

__all__ = [
    "SPLITS",
    "ItemFile",
    "ItemFileError",
    "Kind",
    "Line",
    "Passage",
    "Problem",
    "Report",
    "Split",
    "chosen",
    "detect",
    "looks_like_objects",
    "model_of",
    "read_passages",
]
