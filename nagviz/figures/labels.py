"""Labels on a crowded page: each near its point or arrow, off every line, and none on another.

Places are in points on the page. Each label has some that it may take, each at a cost; what lies under a label and
what sticks out of the frame costs more, and labels move in turn until none gains by it.

>>> spots = around(np.array([50.0, 50.0]), np.array([20.0, 8.0]))
>>> place([spots], np.array([[20.0, 8.0]]), np.empty((0, 2)), np.array([100.0, 100.0]))
array([[64.5, 50. ]])
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patheffects import withStroke
from matplotlib.text import Text

from nagviz.figures import style

GAPS = (4.5, 6.5, 9.0, 12.0, 16.0, 21.0)  # points between a point and its label
REACHES = (*GAPS, 28.0, 37.0, 50.0)  # likewise, where a line may lead from the one to the other
DIRECTIONS = 32
SHARES = tuple(np.linspace(0.1, 0.9, 17))  # of an arrow's length, where its label may stand
PAD = 1.2  # points that stay free around a label
FAR = 0.7  # cost of each point of distance beyond the nearest place
UNDER, CLASH, OUTSIDE = 6.0, 80.0, 1e4  # costs of a thing under a label, of another label, of leaving the frame
SAMPLE = 2.0  # points between those of a line that count as things
ROUNDS = 8
APART = 8.0  # points from an end to its name, from which a line joins them
JOINT = 5.0  # points between ends that are one to the eye
MANY = 5  # names of one end that are written
LINE = 1.15  # of a block, in units of its font size
COVERED = 5  # things that a name may lie on
RING = 4.0 * np.array([[1, 0], [0, 1], [-1, 0], [0, -1], [0.7, 0.7], [-0.7, 0.7], [0.7, -0.7], [-0.7, -0.7], [0, 0]])
ASCENT, DESCENT = 0.74, 0.2  # of a line of text, in units of its size


class Frame(NamedTuple):
    """Axes in points on the page."""

    corner: np.ndarray  # (2,) data at the lower left
    scale: np.ndarray  # (2,) data per point
    sides: np.ndarray  # (2,) points

    def points(self, data: np.ndarray) -> np.ndarray:
        """Points on the page of data, (..., 2)."""
        return (np.asarray(data, np.float64) - self.corner) / self.scale

    def data(self, points: np.ndarray) -> np.ndarray:
        """The inverse of `points`."""
        return points * self.scale + self.corner


class Label(NamedTuple):
    """A text that belongs to a point, or to an arrow."""

    text: str  # mathematics between dollars
    color: str  # of what it belongs to
    at: np.ndarray  # data: (2,) a point, or (2, 2) the tail and the head of an arrow


class Spots(NamedTuple):
    """Places that a label may take."""

    centres: np.ndarray  # (places, 2)
    costs: np.ndarray  # (places,)


def frame(ax: Axes) -> Frame:
    """The frame of axes whose limits and place on the page are settled."""
    sides = ax.bbox.size * 72 / ax.figure.dpi
    return Frame(ax.viewLim.min, ax.viewLim.size / sides, sides)


def draw_labels(ax: Axes, labels: Sequence[Label], taken: np.ndarray, size: float = style.TEXT) -> list[Text]:
    """Write labels where they are read best.

    Args:
        ax: the axes, with limits and place settled.
        labels: what to write.
        taken: (n, 2) data that no label should cover, such as `sampled` lines.
        size: of the font, in points.
    """
    on = frame(ax)
    sizes = np.array([_size(label.text, size, math=True) for label in labels])
    spots = [_spots(on.points(label.at), box) for label, box in zip(labels, sizes, strict=True)]
    lows = on.data(place(spots, sizes, on.points(taken), on.sides) - sizes / 2 + [0.0, DESCENT * size])
    return [_write(ax, low, label, size, math=True) for low, label in zip(lows, labels, strict=True)]


def draw_names(ax: Axes, names: Sequence[Label], lines: np.ndarray, marks: np.ndarray) -> list[Text]:
    """Write names beside the ends of paths, with a line to an end that is not near; those of one place in one block.

    A block that would lie on another, off the axes or across much else is left to the key.

    Args:
        ax: the axes, with limits and place settled.
        names: what to write, each at a point.
        lines: (n, 2) data that no name should cover, near one another on the page.
        marks: (n, 2) data at which there are symbols, beside those at the ends.
    """
    if not names:
        return []
    on = frame(ax)
    blocks = _blocks(names, on)
    ends = on.points(np.array([block[0].at for block in blocks]))
    sizes = np.array([_block_size(block) for block in blocks])
    spots = [around(end, size, REACHES) for end, size in zip(ends, sizes, strict=True)]
    taken = np.concatenate([on.points(lines), *(on.points(at) + RING for at in (*marks, *(name.at for name in names)))])
    centres = place(spots, sizes, taken, on.sides)
    written = []
    for i in _clear(centres, sizes, taken, on.sides):
        _lead(ax, on, ends[i], centres[i], sizes[i], blocks[i])
        written += _write_block(ax, on, centres[i], sizes[i], ends[i], blocks[i])
    return written


def _blocks(names: Sequence[Label], on: Frame) -> list[list[Label]]:
    """The names whose ends are one to the eye together."""
    blocks: list[list[Label]] = []
    for name in names:
        near = (b for b in blocks if np.linalg.norm(on.points(b[0].at) - on.points(name.at)) < JOINT)
        if (block := next(near, None)) is None:
            blocks.append([name])
        else:
            block.append(name)
    return [block if len(block) <= MANY else [*block[: MANY - 1], _more(block[MANY - 1 :])] for block in blocks]


def _more(names: Sequence[Label]) -> Label:
    return names[0]._replace(text=f"{len(names)} more", color=style.INK)


def _block_size(block: Sequence[Label]) -> tuple[float, float]:
    wide = max(style.text_width(name.text) for name in block)
    return wide, (ASCENT + DESCENT + LINE * (len(block) - 1)) * style.SMALL


def _clear(centres: np.ndarray, sizes: np.ndarray, taken: np.ndarray, sides: np.ndarray) -> list[int]:
    """Which blocks lie well, the first of two that clash."""
    kept: list[int] = []
    for i, (at, size) in enumerate(zip(centres, sizes, strict=True)):
        (cost,) = _cost(at[None], size, taken, sides)
        clash = any((np.abs(at - centres[j]) < (size + sizes[j]) / 2).all() for j in kept)
        if cost <= COVERED * UNDER and not clash:
            kept.append(i)
    return kept


def _lead(ax: Axes, on: Frame, end: np.ndarray, centre: np.ndarray, size: np.ndarray, block: Sequence[Label]) -> None:
    near = np.clip(end, centre - size / 2, centre + size / 2)
    if np.linalg.norm(near - end) > APART:
        color = style.written(block[0].color) if len(block) == 1 else style.INK
        halo = [withStroke(linewidth=style.TEXT_HALO, foreground=style.PAPER)]
        ax.plot(*on.data(np.stack([end, near])).T, color=color, path_effects=halo, **style.LEADER)


def _write_block(
    ax: Axes, on: Frame, centre: np.ndarray, size: np.ndarray, end: np.ndarray, block: Sequence[Label]
) -> list[Text]:
    """A name a line, all flush on the side of the end."""
    spare = size[0] - np.array([style.text_width(name.text) for name in block])
    aside = spare if centre[0] < end[0] else 0 * spare
    rises = style.SMALL * (DESCENT + LINE * np.arange(len(block)))[::-1]
    lows = centre - size / 2 + np.stack([aside, rises], axis=-1)
    return [_write(ax, on.data(at), name, style.SMALL, math=False) for at, name in zip(lows, block, strict=True)]


def sampled(ax: Axes, tail: np.ndarray, head: np.ndarray) -> np.ndarray:
    """Data along a straight line, near enough for no label to fit in between."""
    length = float(np.linalg.norm(frame(ax).points(head) - frame(ax).points(tail)))
    return np.linspace(tail, head, 2 + int(min(length, 1e4) / SAMPLE))


def boxes(ax: Axes, texts: Sequence[Text]) -> np.ndarray:
    """Data under labels that `draw_labels` has drawn, (n, 2), a point every few points of the page."""
    on = frame(ax)
    unit = np.stack(np.meshgrid(np.linspace(0, 1, 9), [0.0, 0.5, 1.0]), axis=-1).reshape(-1, 2)
    lows = [on.points(np.array(text.get_position())) - [0.0, DESCENT * text.get_fontsize()] for text in texts]
    sizes = [np.array(_size(text.get_text(), text.get_fontsize(), math=text.get_parse_math())) for text in texts]
    return on.data(
        np.concatenate([np.empty((0, 2)), *(low + unit * size for low, size in zip(lows, sizes, strict=True))])
    )


def _size(text: str, size: float, *, math: bool) -> tuple[float, float]:
    return style.text_width(text, size, math=math and "$" in text), (ASCENT + DESCENT) * size


def _write(ax: Axes, low: np.ndarray, label: Label, size: float, *, math: bool) -> Text:
    return ax.text(
        *low,
        label.text,
        color=style.written(label.color),
        fontsize=size,
        ha="left",
        va="baseline",
        zorder=2 * style.ENDS,
        parse_math=math,
        path_effects=[withStroke(linewidth=style.TEXT_HALO, foreground=style.PAPER)],
    )


def _spots(at: np.ndarray, size: np.ndarray) -> Spots:
    return around(at, size) if at.ndim == 1 else along(*at, size)


def around(point: np.ndarray, size: np.ndarray, gaps: Sequence[float] = GAPS) -> Spots:
    """Places around a point, the box always a gap away from it; right of it first.

    Args:
        point: (2,).
        size: (2,) width and height of the label.
        gaps: points between the two, the least first.
    """
    angles = 2 * np.pi * np.arange(DIRECTIONS) / DIRECTIONS
    way = np.stack([np.cos(angles), np.sin(angles)], axis=-1).round(12)
    with np.errstate(divide="ignore"):
        nearest = [((size / 2 + gap) / np.abs(way)).min(axis=-1) for gap in gaps]
    centres = [point + reach[:, None] * way for reach in nearest]
    costs = [FAR * (gap - gaps[0]) + 0.01 * np.arange(DIRECTIONS) for gap in gaps]
    return Spots(np.concatenate(centres), np.concatenate(costs))


def along(tail: np.ndarray, head: np.ndarray, size: np.ndarray) -> Spots:
    """Places beside an arrow, on both sides of it, at its middle first.

    Args:
        tail: (2,).
        head: (2,).
        size: (2,) width and height of the label.
    """
    run = (head - tail) / (np.linalg.norm(head - tail) or 1.0)
    sides = np.array([[-run[1], run[0]], [run[1], -run[0]]])
    pairs = [(share, gap) for share in SHARES for gap in GAPS]
    reach = np.abs(sides) @ (size / 2)
    centres = [tail + share * (head - tail) + (gap + reach)[:, None] * sides for share, gap in pairs]
    costs = [FAR * (gap - GAPS[0]) + 10 * abs(share - 0.5) + np.zeros(2) for share, gap in pairs]
    return Spots(np.concatenate(centres), np.concatenate(costs))


def place(spots: Sequence[Spots], sizes: np.ndarray, taken: np.ndarray, sides: np.ndarray) -> np.ndarray:
    """The centres of the labels, (labels, 2).

    Args:
        spots: by label, the places that it may take.
        sizes: (labels, 2).
        taken: (points, 2) that no label should cover.
        sides: (2,) of the frame, whose lower left corner is the origin.
    """
    costs = [spot.costs + _cost(spot.centres, size, taken, sides) for spot, size in zip(spots, sizes, strict=True)]
    at = np.array([spot.centres[cost.argmin()] for spot, cost in zip(spots, costs, strict=True)])
    for _ in range(ROUNDS):
        for label, (spot, cost) in enumerate(zip(spots, costs, strict=True)):
            gaps = np.abs(spot.centres[:, None] - at) - (sizes[label] + sizes) / 2 - PAD
            clashes = ((gaps < 0).all(-1) & (np.arange(len(at)) != label)).sum(-1)
            at[label] = spot.centres[np.argmin(cost + CLASH * clashes)]
    return at


def _cost(centres: np.ndarray, size: np.ndarray, taken: np.ndarray, sides: np.ndarray) -> np.ndarray:
    low, high = centres - size / 2 - PAD, centres + size / 2 + PAD
    out = (low < 0).any(-1) | (high > sides).any(-1)
    under = ((low[:, None] < taken) & (taken < high[:, None])).all(-1).sum(-1)
    return OUTSIDE * out + UNDER * under
