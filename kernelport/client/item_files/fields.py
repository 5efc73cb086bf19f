"""Which columns or keys a row may have."""

import difflib
from collections.abc import Collection, Iterable, Mapping

from kernelport.client.item_files.opening import ItemFileError
from kernelport.signature import Declared, Signature, TensorSpec

ID = "id"
# The field of what names an item by the file that its speech is to be in, or is in already.
FILE = "output file"
# How Piper and coqui call it.
_FILE_NAMES = ("output_file", "audio_file")
# What they tell of the speaker: left out where the deployment has no such input.
_SPEAKER_NAMES = ("speaker_id", "speaker_name", "emotion_name")
_AUDIO = (".wav", ".flac", ".ogg", ".opus", ".mp3", ".aac", ".pcm")


def id_of_file(name: str) -> str:
    """The id of an item whose audio file is named: the file's name without folders and ending; as it is when it has not
    the ending of an audio file."""
    stem, dot, ending = name.replace("\\", "/").rpartition("/")[2].rpartition(".")
    return stem if f"{dot}{ending}".lower() in _AUDIO else name


class Fields:
    """The fields of a row: its id and the inputs of a deployment.

    Args:
        signature: the deployment's; one without inputs (nobody has loaded the model yet) stands for `text` alone.
        shared: inputs that the job gives once, so that rows need not.
        columns: names in the file by field, where they differ: `{"text": "sentence"}`.
        ignored: names in the file to leave out.

    Raises:
        ItemFileError: when `columns` has one name for two fields.
    """

    def __init__(
        self,
        signature: Signature,
        *,
        shared: Collection[str] = (),
        columns: Mapping[str, str] | None = None,
        ignored: Iterable[str] = (),
    ) -> None:
        self.specs: dict[str, TensorSpec] = {spec.name: spec for spec in signature.inputs}
        self.declared: dict[str, Declared] = {name: Declared([spec]) for name, spec in self.specs.items()}
        self.known: bool = bool(self.specs)
        self.inputs: list[str] = list(self.specs) or ["text"]
        required = [name for name, spec in self.specs.items() if not spec.optional] or ["text"]
        self.required: tuple[str, ...] = tuple(name for name in required if name not in shared)
        self.shown: dict[str, str] = {name: column for name, column in (columns or {}).items() if name != column}
        names = list(dict.fromkeys((ID, *self.inputs)))
        self._columns = list(map(self.column_of, names))
        twice = next((column for column in self._columns if self._columns.count(column) > 1), None)
        if twice is not None:
            raise ItemFileError(f"expected a column of its own for each input, got {twice} for two")
        # Upper and lower case are one, unless a model has inputs that differ in nothing else.
        self._fold = str.casefold if len(set(map(str.casefold, self._columns))) == len(self._columns) else str
        self._names = dict(zip(map(self._fold, self._columns), names, strict=True))
        speakers = [name for name in _SPEAKER_NAMES if self.known and name not in self._names]
        self._ignored = frozenset(map(self._fold, (*ignored, *speakers)))

    def column_of(self, name: str) -> str:
        """What the file calls a field."""
        return self.shown.get(name, name)

    def name_of(self, column: str) -> str | None:
        """The field of a column or key, in upper or lower case; None for one that is ignored or unknown."""
        folded = self._fold(column)
        if folded in self._ignored:
            return None
        return self._names.get(folded, FILE if folded in _FILE_NAMES else None)

    def unknown(self, column: str) -> str | None:
        """What to say of a column or key that is none of the fields; None when it is one, or ignored."""
        folded = self._fold(column)
        if folded in self._ignored or self.name_of(column) is not None:
            return None
        expected = f"expected one of {', '.join(self._columns)}"
        if not self.known:
            return f"{expected}: no worker has told yet what else the deployment takes"
        as_they_are = [column for column, name in self._names.items() if name not in self.shown]
        close = difflib.get_close_matches(folded, as_they_are, n=1)
        return f'{expected}; did you mean "{self._names[close[0]]}"?' if close else expected
