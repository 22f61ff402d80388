"""Characters of a text, cut into pieces of equal length."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from nagviz.experiment.readers import read_text
from nagviz.experiment.samples import Samples, Whole


def python_manual(length: int) -> Whole:
    """The topics of Python's own `help()`, in the order of their names: half a million characters.

    Another version of Python has another text; the digest of a run tells them apart.

    Source: the Python documentation, as `pydoc_data.topics`, PSF License Version 2.
    """
    from platform import python_version
    from pydoc_data.topics import topics

    text = "\n".join(topics[name] for name in sorted(topics))
    source = f"Python {python_version()}'s pydoc_data.topics, Python Software Foundation License 2"
    return pieces(text, length, source)


def text_file(path: str, length: int, source: str | None = None) -> Whole:
    """Any text in UTF-8.

    Args:
        path: of the file.
        length: of a piece.
        source: whence it is, and under which licence, for the record.
    """
    return pieces(read_text(Path(path).expanduser()), length, source or f"{path}, licence not stated")


def pieces(text: str, length: int, source: str) -> Whole:
    """The text as tokens, its characters numbered in their order in Unicode.

    Args:
        text: of which what does not fill a last piece is left out.
        length: tokens in a piece.
        source: whence, and under which licence.

    Returns:
        Inputs and targets (pieces, length) int32, every target the character after its input.

    Raises:
        ValueError: the text does not fill two pieces.

    Example:
        >>> whole = pieces("abracadabra", 5, "a spell")
        >>> whole.train.inputs.tolist(), whole.train.targets.tolist(), whole.outputs
        ([[0, 1, 4, 0, 2], [0, 3, 0, 1, 4]], [[1, 4, 0, 2, 0], [3, 0, 1, 4, 0]], 5)
    """
    codes = np.frombuffer(text.encode("utf-32-le"), "<u4")
    count = (len(codes) - 1) // length
    if count < 2:
        raise ValueError(
            f"length: is {length}, and the text has {len(codes)} characters ({source}); expected two pieces or more"
        )
    alphabet, tokens = np.unique(codes, return_inverse=True)
    tokens = tokens.astype(np.int32)
    inputs, targets = (tokens[i : i + count * length].reshape(count, length) for i in (0, 1))
    return Whole(Samples(inputs, targets), None, len(alphabet), "characters", source)
