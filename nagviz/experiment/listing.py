"""The experiments of a folder, and the question that each asks."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from nagviz.experiment.config import ConfigError, load


class Listed(NamedTuple):
    """A file of the folder."""

    file: Path
    question: str  # the comment on its first line
    expected: str  # the comment on its last line, if that is not the question
    faults: tuple[str, ...]  # what is wrong with it, a line each


def read_experiments(folder: Path) -> list[Listed]:
    """The `*.toml` of a folder by name, those that are no run with their faults.

    Example:
        >>> [experiment.file.stem for experiment in read_experiments(Path("experiments"))][:2]
        ['article', 'autoencoder']
    """
    return [_listed(file) for file in sorted(folder.glob("*.toml"))]


def _listed(file: Path) -> Listed:
    try:
        run = load(file)
    except ConfigError as error:
        return Listed(file, "", "", error.mistakes)
    return Listed(file, run.question, run.expected, ())


def told(experiments: list[Listed], width: int, *, long: bool = False) -> Iterator[str]:
    """Lines that list experiments: where each is, and what it asks, in paragraphs of a width.

    Args:
        experiments: what is to be listed.
        width: of a line.
        long: whether what is expected is told as well.
    """
    for i, experiment in enumerate(experiments):
        if i:
            yield ""
        yield str(experiment.file)
        for fault in experiment.faults:
            yield from _paragraph(f"is no run: {fault.removeprefix(f'{experiment.file}:').lstrip()}", width)
        if not experiment.faults:
            yield from _paragraph(experiment.question or "(asks no question: its first line is no comment)", width)
            if long and experiment.expected:
                yield from _paragraph(experiment.expected, width)


def _paragraph(text: str, width: int) -> list[str]:
    return textwrap.wrap(text, max(width, 40), initial_indent="  ", subsequent_indent="  ", break_on_hyphens=False)
