"""The words that a deployment, a job or a request has read in a way of its own."""

from collections.abc import Collection, Mapping

from kernelport.signature import tensor_spec
from kernelport.tensors import Array
from kernelport.text import NO_LEXICON, Lexicon, LexiconError, merged
from kernelport.text.lexicon import MAX_CHARACTERS
from kernelport.v1 import inference_pb2 as pb

LEXICON = "lexicon"
SPEC = tensor_spec(
    LEXICON, pb.U8, ["bytes"], optional=True, description="lines `word = words to say`", max_characters=MAX_CHARACTERS
)
"""Of the input, for the signature of a voice."""


def deployed(options: Mapping[str, object], phonemes: Collection[str]) -> Lexicon:
    """The lexicon of a manifest's options.

    Args:
        phonemes: those that the voice says, each one character.

    Raises:
        LexiconError: it is none.
    """
    text = options.get(LEXICON)
    if text is None:
        return NO_LEXICON
    if not isinstance(text, str):
        raise LexiconError(f"expected lines `word = words to say`, got {text!r}")
    return _checked(text, phonemes)


def given(inputs: Mapping[str, Array], deployment: Lexicon, phonemes: Collection[str]) -> Lexicon:
    """The lexicon of a request, whose entries go before those of its deployment.

    Args:
        phonemes: those that the voice says, each one character.

    Raises:
        LexiconError: it is none.
    """
    if LEXICON not in inputs:
        return deployment
    try:
        text = inputs[LEXICON].tobytes().decode()
    except UnicodeDecodeError as error:
        raise LexiconError(f"expected UTF-8: {error.reason} at byte {error.start}") from error
    return merged(_checked(text, phonemes), deployment)


def _checked(text: str, phonemes: Collection[str]) -> Lexicon:
    lexicon = Lexicon.parse(text)
    lexicon.check(phonemes)
    return lexicon
