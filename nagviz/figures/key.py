"""The key under a figure, and the note under the key.

>>> from matplotlib.lines import Line2D
>>> figure = Figure(figsize=(style.COLUMN, 3))
>>> (key,) = draw_key(figure, {"NAG": Line2D([], [], color="C0")}, note="one epoch")
>>> [text.get_text() for text in key.get_texts()]
['NAG']
"""

from collections.abc import Mapping

import numpy as np
from matplotlib.artist import Artist
from matplotlib.legend import Legend

from nagviz.figures import style
from nagviz.figures.style import Figure

HANDLE = 4.0  # lengths of the key, in units of its font size: of a line, so that the longest dash repeats
MARK = 1.2  # of a hint, which has no line
GAP = 0.5
COLUMN_GAP = 1.3
MARGIN = 0.03  # inches
LONGEST = 2.6  # inches: of a line of the key
ROOM = 0.7  # inches, for its handle


def wrapped(text: str, inches: float, size: float = style.SMALL) -> str:
    """The text in as few lines as fit into a width, and these of nearly one length; a word longer than that is broken.

    >>> wrapped("a note that is too long for its column", 1.5)
    'a note that is too\\nlong for its column'
    """
    points = inches * 72
    words = ([piece for word in line.split() for piece in _pieces(word, points, size)] for line in text.splitlines())
    return "\n".join(_balanced(line, points, size) for line in words)


def _pieces(word: str, points: float, size: float) -> list[str]:
    """Of which each is as long as fits, or one character."""
    pieces = [""]
    for character in word if style.text_width(word, size) > points else ():
        if pieces[-1] and style.text_width(pieces[-1] + character, size) > points:
            pieces.append("")
        pieces[-1] += character
    return pieces if pieces[0] else [word]


def _balanced(words: list[str], points: float, size: float) -> str:
    """No word, or sign, is left alone on a last line if the others can spare some."""
    widths = [style.text_width(word, size) for word in words]
    gap = style.text_width("x x", size) - style.text_width("xx", size)
    count = len(_filled(widths, gap, points))
    narrow, wide = 0.0, points
    while wide - narrow > 1.0:
        middle = (narrow + wide) / 2
        narrow, wide = (narrow, middle) if len(_filled(widths, gap, middle)) <= count else (middle, wide)
    ends = np.cumsum(_filled(widths, gap, wide)).tolist()
    return "\n".join(" ".join(words[first:last]) for first, last in zip([0, *ends], ends, strict=False))


def _filled(widths: list[float], gap: float, points: float) -> list[int]:
    """How many words each line takes that is filled before the next is begun."""
    lines, left = [], 0.0
    for width in widths:
        if lines and width + gap <= left:
            lines[-1] += 1
            left -= width + gap
        else:
            lines.append(1)
            left = points - width
    return lines


def draw_key(
    figure: Figure,
    entries: Mapping[str, Artist],
    *,
    hints: Mapping[str, Artist] | None = None,
    note: str | None = None,
) -> list[Legend]:
    """A legend of names, one of hints and a note, under everything, in as many columns as fit.

    The figure grows by that strip and the axes stay out of it: the key covers no path.

    Args:
        figure: a figure with constrained layout.
        entries: by name, the artist that is shown beside it.
        hints: what is true of all names, such as the meaning of a star.
        note: a sentence.

    Returns:
        The legends of the names and of the hints, without those that would be empty.
    """
    width, height = figure.get_size_inches()
    strip = _draw_note(figure, note) if note else 0.0
    legends = []
    for block, handle in ((hints, MARK), (entries, HANDLE)):
        if block:
            labels = [wrapped(name, min(LONGEST, width - ROOM)) for name in block]
            columns = _columns(labels, width, handle)
            with style.context():
                legends.append(_draw_legend(figure, block, labels, columns, handle, strip))
            strip += _height(labels, columns)
    figure.get_layout_engine().set(rect=(0, strip / height, 1, 1 - strip / height))
    resize(figure, height + strip)
    return legends[::-1]


def resize(figure: Figure, height: float) -> None:
    """Another height in inches, with a strip for the key that is as high as before."""
    width, before = figure.get_size_inches()
    strip = figure.get_layout_engine().get()["rect"][1] * before
    figure.set_size_inches(width, height)
    figure.get_layout_engine().set(rect=(0, strip / height, 1, 1 - strip / height))


def _draw_note(figure: Figure, note: str) -> float:
    """Its height in inches."""
    width = figure.get_size_inches()[0]
    text = wrapped(note, width - 0.1)
    place = {"ha": "center", "va": "bottom", "transform": figure.dpi_scale_trans}
    figure.text(width / 2, MARGIN, text, parse_math=False, **place, **style.NOTE)
    return 1.3 * (text.count("\n") + 1) * style.SMALL / 72 + 2 * MARGIN


def _draw_legend(
    figure: Figure,
    entries: Mapping[str, Artist],
    labels: list[str],
    columns: int,
    handle: float,
    bottom: float,
) -> Legend:
    legend = figure.legend(
        list(entries.values()),
        labels,
        loc="lower center",
        bbox_to_anchor=(figure.get_size_inches()[0] / 2, bottom + MARGIN),
        bbox_transform=figure.dpi_scale_trans,
        ncols=columns,
        handlelength=handle,
        handletextpad=GAP,
        columnspacing=COLUMN_GAP,
        borderpad=0,
        borderaxespad=0,
        labelspacing=style.LINE_HEIGHT - 1.0,
    )
    for text in legend.get_texts():
        text.set_parse_math(False)  # a dollar in a name is a dollar
    return legend


def _height(labels: list[str], columns: int) -> float:
    """Inches that a legend takes: those of its highest column."""
    lines = np.array([label.count("\n") + 1 for label in labels])
    high = max(part.sum() for part in np.array_split(lines, columns))
    return high * style.LINE_HEIGHT * style.SMALL / 72 + MARGIN


def _columns(labels: list[str], inches: float, handle: float) -> int:
    """The fewest columns of the least number of rows that fits."""
    entry = np.array([style.text_width(label) for label in labels]) / style.SMALL + handle + GAP
    room = inches * 72 / style.SMALL - 1.0
    widths = {count: _width(entry, count) for count in range(1, len(labels) + 1)}
    fitting = [count for count, width in widths.items() if width <= room] or [1]
    return min(fitting, key=lambda count: (-(-len(labels) // count), count))


def _width(entry: np.ndarray, columns: int) -> float:
    """Of a legend, in units of its font size; matplotlib fills its columns one after the other."""
    widest = [part.max() for part in np.array_split(entry, columns)]
    return sum(widest) + COLUMN_GAP * (columns - 1)
