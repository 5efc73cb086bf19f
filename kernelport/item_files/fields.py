"""Which columns or keys a row may have."""

import difflib
from collections.abc import Collection, Iterable, Mapping

from kernelport.signature import Declared, Signature

ID = "id"


class Fields:
    """The fields of a row: its id and the inputs of a deployment.

    Args:
        signature: the deployment's; one without inputs (nobody has loaded the model yet) stands for `text` alone.
        shared: inputs that the job gives once, so that rows need not.
        columns: names in the file by field, where they differ: `{"text": "sentence"}`.
        ignored: names in the file to leave out.
    """

    def __init__(
        self,
        signature: Signature,
        *,
        shared: Collection[str] = (),
        columns: Mapping[str, str] | None = None,
        ignored: Iterable[str] = (),
    ) -> None:
        self.specs = {spec.name: spec for spec in signature.inputs}
        self.declared = {name: Declared([spec]) for name, spec in self.specs.items()}
        self.known = bool(self.specs)
        self.inputs = list(self.specs) or ["text"]
        required = [name for name, spec in self.specs.items() if not spec.optional] or ["text"]
        self.required = tuple(name for name in required if name not in shared)
        self.shown = {name: column for name, column in (columns or {}).items() if name != column}
        self._names = {self.column_of(name): name for name in (ID, *self.inputs)}
        self._ignored = frozenset(ignored)

    def column_of(self, name: str) -> str:
        """What the file calls a field."""
        return self.shown.get(name, name)

    def name_of(self, column: str) -> str | None:
        """The field of a column or key; None for one that is ignored or unknown."""
        return None if column in self._ignored else self._names.get(column)

    def unknown(self, column: str) -> str | None:
        """What to say of a column or key that is none of the fields; None when it is one, or ignored."""
        if column in self._names or column in self._ignored:
            return None
        expected = f"expected one of {', '.join(self._names)}"
        if not self.known:
            return f"{expected}: no worker has told yet what else the deployment takes"
        close = difflib.get_close_matches(column, self._names, n=1)
        return f'{expected}; did you mean "{close[0]}"?' if close else expected
