"""English sentences to speak: varied, and the same on every machine."""

import random

_SUBJECTS = (
    "the night train to the coast",
    "a gardener from the next village",
    "my older sister",
    "the committee",
    "every student in the back row",
    "the weather station on the ridge",
    "a small blue boat",
    "our new neighbour",
    "the last page of the letter",
    "someone in the kitchen",
)
_VERBS = (
    "arrived without a word",
    "counted the steps twice",
    "forgot the name of the street",
    "waited under the bridge",
    "asked for another cup of tea",
    "opened the window and listened",
    "promised to write every week",
    "left a key on the table",
    "answered before the question was over",
    "carried the lantern across the field",
)
_PLACES = (
    "near the old harbour",
    "behind the railway station",
    "at the far end of the valley",
    "between two rows of apple trees",
    "outside the town hall",
    "on the third floor",
)
_TIMES = (
    "at half past seven",
    "on the first cold day of October",
    "while the bells were ringing",
    "long after midnight",
    "twenty minutes later",
    "before anybody noticed",
)
_CLOSINGS = (
    "and nobody was surprised",
    "though the rain had not stopped",
    "because there was nothing else to do",
    "so the dog began to bark",
    "which is how the story usually ends",
)


def sentences(count: int) -> list[str]:
    """So many sentences, of 4 to about 30 words."""
    rng = random.Random(0)  # noqa: S311
    return [_sentence(rng) for _ in range(count)]


def _sentence(rng: random.Random) -> str:
    words = f"{rng.choice(_SUBJECTS)} {rng.choice(_VERBS)}"
    if rng.random() < 0.6:
        words += f" {rng.choice(_PLACES)}"
    if rng.random() < 0.5:
        words = f"{rng.choice(_TIMES)}, {words}"
    if rng.random() < 0.4:
        words += f", {rng.choice(_CLOSINGS)}"
    return f"{words[0].upper()}{words[1:]}."


def mixed_lines(count: int) -> list[str]:
    """So many lines as a book has them: sentences, and paragraphs of up to about 12 sentences."""
    rng = random.Random(1)  # noqa: S311
    return [" ".join(_sentence(rng) for _ in range(min(12, 1 + int(rng.expovariate(0.5))))) for _ in range(count)]
