"""Losses along lines, such as one through two solutions: what lies between them, on data seen and unseen.

>>> x = np.linspace(-0.5, 1.5, 41)
>>> line = Line(x, {"train loss": (x * (1 - x)) ** 2, "test loss": 0.1 + (x * (1 - x)) ** 2}, {"NAG": 0.0, "Adam": 1.0})
>>> figure = cuts({"digits": line})
>>> [text.get_text() for text in figure.legends[0].get_texts()]
['train loss', 'test loss', 'NAG', 'Adam']
"""

from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from nagviz.figures import style
from nagviz.figures.key import draw_key, wrapped
from nagviz.figures.lines import SHAPE, scale_losses, settle_values
from nagviz.figures.style import Figure, Look


class Line(NamedTuple):
    """What was evaluated along a line, such as one through two solutions."""

    x: np.ndarray  # (n,), increasing
    losses: Mapping[str, np.ndarray]  # by name, (n,) each: read on the left
    marks: Mapping[str, float] = {}  # by name, where something stands on the line, such as a solution
    label: str = "along the line"
    quantity: str = "loss"
    shares: Mapping[str, np.ndarray] = {}  # by name, (n,) each: read on the right, as accuracies


def draw_cut(ax: Axes, x: Any, values: Mapping[str, Any], *, color: str = style.INK) -> dict[str, Line2D]:
    """Values along a line, one curve each, told apart by their dashes; NaN and infinity leave a gap.

    Args:
        ax: the axes.
        x: (n,) increasing.
        values: by name, (n,) each.
        color: of all.

    Raises:
        ValueError: values of another shape than x.
    """
    x = np.asarray(x, np.float64)
    drawn = {}
    for i, (name, given) in enumerate(values.items()):
        y = np.asarray(given, np.float64)
        if y.shape != x.shape or x.ndim != 1:
            raise ValueError(f"x has shape {x.shape} and values[{name!r}] {y.shape}: give both as (n,)")
        shown = np.where(np.isfinite(y), y, np.nan)
        (drawn[name],) = ax.plot(x, shown, label=name, **style.cut(color, i))
    return drawn


def draw_marks(
    ax: Axes, x: Any, values: Mapping[str, Any], marks: Mapping[str, float], looks: Mapping[str, Look]
) -> dict[str, Line2D]:
    """A mark on every curve at each named place, on a thin line across.

    Args:
        ax: the axes.
        x: (n,) increasing.
        values: by name, (n,) each, as for `draw_cut`.
        marks: by name, where.
        looks: by the names of the marks.

    Raises:
        ValueError: a mark that is not on the line, where nothing was evaluated.
    """
    ends, drawn = np.asarray(x, np.float64)[[0, -1]], {}
    for name, at in marks.items():
        if not ends[0] <= at <= ends[1]:
            raise ValueError(f"marks[{name!r}] is {at}: must be from {ends[0]:g} to {ends[1]:g}, where the line is")
    for name, at in marks.items():
        ax.axvline(at, **style.GRID, zorder=0.5)
        heights = [np.interp(at, x, np.asarray(given, np.float64)) for given in values.values()]
        (drawn[name],) = ax.plot([at] * len(heights), heights, ls="", zorder=style.ENDS, **style.spot(looks[name]))
    return drawn


def cuts(
    panels: Mapping[str, Line],
    *,
    width: float = style.COLUMN,
    note: str | None = None,
    looks: Mapping[str, Look] | None = None,
    shares: bool | Collection[str] = True,
) -> Figure:
    """Losses along lines, one a panel, with marks at what lies on them; accuracies on an axis at the right.

    The axis of the losses is logarithmic where that belongs; that of accuracies runs from 0 to 1.

    Args:
        panels: by title.
        width: inches.
        note: a line of small text under the key.
        looks: `looks(names)` of the whole run, for the marks.
        shares: whether all panels share one range of losses, so that heights compare; or the titles of those that do.

    Raises:
        ValueError: no panels, or values or marks that do not fit their line.
    """
    if not panels:
        raise ValueError("panels is empty: give at least one {title: Line(x, losses)}")
    table = style.resolve((name for line in panels.values() for name in line.marks), looks)
    columns = style.columns_of(len(panels), width)
    rows = -(-len(panels) // columns)
    with style.context():
        across = width / columns - 0.5
        titles = [wrapped(title, across, style.TITLE) for title in panels]
        above = 1.2 * style.TITLE / 72 * max(title.count("\n") for title in titles)
        figure = Figure(figsize=(width, rows * (SHAPE * across + 0.4 + above)))
        grid, entries, axes = figure.add_gridspec(rows, columns), {}, []
        for title, line, cell in zip(titles, panels.values(), grid, strict=False):
            axes.append(figure.add_subplot(cell))
            axes[-1].set_title(title, parse_math=False)
            entries |= _draw_line(axes[-1], line, table, (across, SHAPE * across + 0.2))
        _scale(dict(zip(panels, axes, strict=True)), panels, columns, shares)
        entries |= {name: Line2D([], [], ls="", **style.spot(look)) for name, look in table.items()}
        draw_key(figure, entries, note=note)
    return figure


def _scale(axes: Mapping[str, Axes], panels: Mapping[str, Line], columns: int, shares: bool | Collection[str]) -> None:
    """Ranges of the losses, and labels that are the same in neighbours at the outer ones alone."""
    together = list(panels) if shares is True else [title for title in panels if shares and title in shares]
    for group in (together, *([title] for title in panels if title not in together)):
        scale_losses([axes[t] for t in group], [values for t in group for values in panels[t].losses.values()])
    for i, (title, ax) in enumerate(axes.items()):
        before, below = list(panels)[i - i % columns : i], list(panels)[i + columns : i + columns + 1]
        if title in together and before and before[-1] in together:
            ax.tick_params(labelleft=False)
        if before and panels[before[-1]].quantity == panels[title].quantity:
            ax.set_ylabel("")
        if below and panels[below[0]].label == panels[title].label:
            ax.set_xlabel("")


def _draw_line(ax: Axes, line: Line, table: Mapping[str, Look], room: tuple[float, float]) -> dict[str, Line2D]:
    drawn = draw_cut(ax, line.x, line.losses)
    draw_marks(ax, line.x, line.losses, line.marks, table)
    settle_values(ax, list(line.losses.values()))
    ax.set_xlabel(wrapped(line.label, room[0]), parse_math=False)
    ax.set_ylabel(wrapped(line.quantity, room[1]), parse_math=False)
    ax.margins(x=0.02)
    ax.locator_params(axis="x", nbins=5)
    ax.spines["top"].set_visible(False)
    if not line.shares:
        ax.spines["right"].set_visible(False)
        return drawn
    right = ax.twinx()
    drawn |= draw_cut(right, line.x, line.shares, color=style.COLORS[0])
    right.set_ylabel(" / ".join(line.shares), parse_math=False, color=style.written(style.COLORS[0]))
    right.set_ylim(0, 1)
    right.spines["top"].set_visible(False)
    return drawn
