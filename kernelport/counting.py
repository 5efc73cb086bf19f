"""How many of a thing there are, in messages."""


def counted(count: int, one: str, several: str = "") -> str:
    """A count with what is counted, such as `1 item` and `1,024 items`.

    Args:
        one: what follows a 1, such as `item` or `entry is`.
        several: what follows any other count, such as `entries are`; by default `one` with an s.
    """
    return f"{count:,} {one if count == 1 else several or f'{one}s'}"
