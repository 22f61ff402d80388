"""Two fields on a slice: its negative gradient everywhere, and along a path the look-ahead.

The first says where gradient descent would go from each point, the second how far ahead of its iterate a method looks
before it takes the gradient there.

>>> from typing import NamedTuple
>>> class Cut(NamedTuple):
...     x: np.ndarray
...     y: np.ndarray
...     values: np.ndarray
...     labels: tuple = ("PC 1", "PC 2")
...     quantity: str = "loss"
>>> x = y = np.linspace(-1, 1, 21)
>>> figure = field(Cut(x, y, x**2 + 4 * y[:, None] ** 2))
>>> print(figure.texts[0].get_text())
Arrows: the negative gradient, from differences of the slice;
longest from a slope of 7.7 on, 71% as long at a quarter.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.quiver import Quiver
from matplotlib.streamplot import StreamplotSet

from nagviz.figures import style
from nagviz.figures.grids import read
from nagviz.figures.labels import frame
from nagviz.figures.panels import landscape
from nagviz.figures.path import draw_lookahead, require_walked
from nagviz.figures.style import Figure, Look

SPACE = 13.0  # points between arrows
LONGEST = 0.82  # of that space: the arrow of the steepest slope
SHORTEST = 0.35  # and the one of the least, so that its way is still seen
GENTLE = 0.5  # slopes differ by factors: lengths go with this power of them
STEEP = 0.95  # the share of slopes on the slice that are not beyond what the longest stands for
FLAT = 1e-12  # of the largest value or slope: a rounding error, which points nowhere
STREAMS = 101  # points on each side that streamlines are followed over


def slopes(cut: Any) -> tuple[np.ndarray, bool]:
    """The negative gradient of a slice by its coordinates, (rows, columns, 2), and whether it is the exact one.

    Exact is that which the slice has as `.gradient`; else it comes from differences of neighbouring values, and is
    NaN beside values that are not finite.

    Args:
        cut: a slice.

    Raises:
        ValueError: fewer than two rows or columns.
    """
    given = getattr(cut, "gradient", None)
    if given is not None:
        return -np.asarray(given, np.float64), True
    values = np.asarray(cut.values, np.float64)
    if values.ndim != 2 or min(values.shape) < 2:
        raise ValueError(f"cut.values has shape {values.shape}: a field needs two rows and columns at the least")
    with np.errstate(invalid="ignore", over="ignore"):
        down, right = np.gradient(values, np.asarray(cut.y, np.float64), np.asarray(cut.x, np.float64))
    found = -np.stack([right, down], axis=-1)
    highest = np.max(np.abs(values), initial=0.0, where=np.isfinite(values))
    rounding = FLAT * highest / np.array([np.ptp(cut.x), np.ptp(cut.y)])
    return np.where(np.abs(found) <= rounding, 0.0, found), False


def draw_field(ax: Axes, cut: Any) -> Quiver:
    """Arrows along the negative gradient, longer where it is steeper, none where it is zero or not finite.

    Set the limits of the axes and their place on the page first: arrows stand at equal distances on it. They are
    steepest descent for whoever measures distance in the slice's coordinates.

    Args:
        ax: the axes.
        cut: a slice, with `.gradient` or without.

    Raises:
        ValueError: fewer than two rows or columns.
    """
    on = frame(ax)
    counts = np.maximum(on.sides // SPACE, 1).astype(int)
    rows = [side * (np.arange(count) + 0.5) / count for side, count in zip(on.sides, counts, strict=True)]
    at = on.data(np.stack(np.meshgrid(*rows), axis=-1).reshape(-1, 2))
    field = slopes(cut)[0]
    ways = read(cut, field, at)
    steep = np.linalg.norm(ways, axis=-1)
    known = np.isfinite(steep)
    seen = known & (steep > FLAT * np.max(steep, initial=0.0, where=known))
    return ax.quiver(
        *at[seen].T, *(_lengths(steep[seen], _steep(field))[:, None] * _unit(ways[seen] / on.scale)).T, **style.FIELD
    )


def _is_sloped(field: np.ndarray) -> bool:
    return bool((np.isfinite(field).all(axis=-1) & field.any(axis=-1)).any())


def _steep(field: np.ndarray) -> float:
    """The slope from which on arrows have their full length."""
    slope = np.linalg.norm(field, axis=-1)
    slope = slope[np.isfinite(slope) & (slope > 0)]
    return float(np.quantile(slope, STEEP)) if slope.size else 1.0


def _lengths(steep: np.ndarray, full: float) -> np.ndarray:
    """Points on the page."""
    share = np.minimum(steep / full, 1) ** GENTLE
    return SPACE * (SHORTEST + (LONGEST - SHORTEST) * share)


def _told_lengths(field: np.ndarray) -> str:
    """What the lengths of arrows say: they grow with the root of the slope."""
    steep = float(f"{_steep(field):.2g}")
    said = f"{steep:,g}" if 1e-4 <= steep < 1e5 else f"{steep:g}"
    return f"longest from a slope of {said} on, {_quarter():.0%} as long at a quarter"


def _quarter() -> float:
    return float(_lengths(np.array(0.25), 1.0) / _lengths(np.array(1.0), 1.0))


def _unit(vectors: np.ndarray) -> np.ndarray:
    largest = np.abs(vectors).max(axis=-1, keepdims=True)  # the square of 1e-200 is none
    return vectors / largest / np.linalg.norm(vectors / largest, axis=-1, keepdims=True)


def draw_streams(ax: Axes, cut: Any, *, density: float = 1.0) -> StreamplotSet | None:
    """The negative gradient as streamlines: the ways of gradient descent with small steps.

    Args:
        ax: the axes.
        cut: a slice, with `.gradient` or without.
        density: of the lines, as in matplotlib's `streamplot`.

    Returns:
        The lines, or None of a slice without a finite slope.

    Raises:
        ValueError: fewer than two rows or columns.
    """
    x, y = (np.linspace(np.min(axis), np.max(axis), STREAMS) for axis in (cut.x, cut.y))
    at = np.stack(np.meshgrid(x, y), axis=-1)
    ways = read(cut, slopes(cut)[0], at.reshape(-1, 2)).reshape(at.shape)
    largest = np.max(np.abs(ways), initial=0.0, where=np.isfinite(ways)) or 1.0
    ways = np.ma.masked_invalid(ways / largest)
    ways[(np.abs(ways) <= FLAT).all(axis=-1)] = np.ma.masked  # a line that stands still is never done
    if ways.mask.all():
        return None
    limits = ax.viewLim.frozen()
    drawn = ax.streamplot(x, y, ways[..., 0], ways[..., 1], density=density, **style.STREAM)
    ax.set(xlim=limits.intervalx, ylim=limits.intervaly)
    return drawn


def field(
    cut: Any,
    paths: Mapping[str, Any] | None = None,
    lookaheads: Mapping[str, Any] | None = None,
    *,
    streams: bool = False,
    width: float = style.COLUMN,
    title: str | None = None,
    note: str | None = None,
    looks: Mapping[str, Look] | None = None,
) -> Figure:
    """A slice with its negative gradient and, along paths, what their methods look ahead to.

    Args:
        cut: a slice, with `.gradient` or without.
        paths: iterates by name, as for `landscape`.
        lookaheads: by some of these names, the look-ahead points of the iterates, (T, 2) or a record.
        streams: streamlines in place of arrows.
        width: inches.
        title: above the axes.
        note: small text under what the figure says of itself.
        looks: `looks(names)` of the whole run.

    Raises:
        ValueError: look-ahead points without a path, or not one for each iterate; a slice that is a line.
    """
    paths, lookaheads = paths or {}, lookaheads or {}
    require_walked(paths, lookaheads)
    ways, exact = slopes(cut)
    source = "as evaluated" if exact else "from differences of the slice"
    what = "Lines" if streams else "Arrows"
    said = [f"{what}: the negative gradient, {source}{'' if streams else f'; {_told_lengths(ways)}'}."]
    said = said if _is_sloped(ways) else [f"No {what.lower()}: the slice has no slope anywhere."]
    said += ["Open circles: where a path's method looks ahead to, each joined to its iterate."] if lookaheads else []
    table = style.resolve(paths, looks)
    figure = landscape(
        cut, paths, width=width, title=title, note="\n".join([*said, *filter(None, [note])]), looks=table
    )
    ax = figure.axes[0]
    with style.context():
        (draw_streams if streams else draw_field)(ax, cut)
        for name, ahead in lookaheads.items():
            draw_lookahead(ax, paths[name], ahead, table[name])
    return figure
