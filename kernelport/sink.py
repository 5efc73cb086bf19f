"""Where a library writes a file that goes out while it is made."""


class Sink:
    """A file that is only written, from its beginning to its end; what was written can be taken out meanwhile."""

    def __init__(self) -> None:
        self._bytes = bytearray()

    def write(self, data: bytes) -> int:
        """Appends, as files do."""
        self._bytes += data
        return len(data)

    def flush(self) -> None:
        """Nothing is held back."""

    def taken(self) -> bytes:
        """What was written since the last time."""
        taken, self._bytes = bytes(self._bytes), bytearray()
        return taken
