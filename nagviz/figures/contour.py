"""The ground of a landscape: bands, lines, their values, and a hatch where the loss is not finite.

>>> import numpy as np
>>> from typing import NamedTuple
>>> class Cut(NamedTuple):
...     x: np.ndarray
...     y: np.ndarray
...     values: np.ndarray  # rows are y, columns are x
...     labels: tuple = ("PC 1", "PC 2")
...     quantity: str = "loss"
>>> x = y = np.linspace(-1, 1, 21)
>>> from nagviz.figures.style import Figure
>>> ax = Figure().subplots()
>>> contours = draw_contours(ax, Cut(x, y, x**2 + 4 * y[:, None] ** 2))
>>> contours.levels.size, contours.hatch
(13, None)
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colorbar import Colorbar
from matplotlib.colors import BoundaryNorm
from matplotlib.contour import QuadContourSet
from matplotlib.patches import Rectangle
from matplotlib.path import Path
from matplotlib.patheffects import withStroke
from matplotlib.text import Text
from matplotlib.ticker import NullLocator

from nagviz.figures import style
from nagviz.figures.labels import frame
from nagviz.figures.levels import loss_levels, round_ticks, tick_text

TICKS = 6  # how many numbers stand at the colour bar, and on lines
ROOM = 10.0  # points: the least distance of a value from paths, edges and values
SAMPLES = 1500  # of what a value keeps away from, about
LONG = 28.0  # points: the shortest line that says its value


class Contours(NamedTuple):
    """What `draw_contours` has drawn."""

    levels: np.ndarray  # increasing; empty when no value is finite
    norm: BoundaryNorm | None  # from loss to band
    bands: QuadContourSet | None
    lines: QuadContourSet | None
    hatch: Rectangle | None  # lies under the bands, seen where they are missing


def draw_contours(
    ax: Axes, cut: Any, levels: Sequence[float] | np.ndarray | None = None, *, extend: str | None = None
) -> Contours:
    """Filled bands of the slice, thin lines between them, and the hatch where it is not finite.

    Bands are drawn from the values as they are: nothing is interpolated, smoothed or replaced.
    The norm extends beyond the levels where the values do.

    Args:
        ax: the axes; their limits become those of the slice.
        cut: a slice, with `x`, `y` and `values` (rows are y, columns are x).
        levels: increasing edges of the bands; `loss_levels(cut.values)` by default.
        extend: "neither", "min", "max" or "both": where bands are open; by default where values lie beyond. Slices
            that share their levels must share this too, or the same loss has another colour on each.

    Raises:
        ValueError: if the shape of the values is not (rows of y, columns of x), if that is a line,
            or if the levels do not increase.
    """
    x, y, values = grid(cut)
    ax.set(xlim=(x[0], x[-1]), ylim=(y[0], y[-1]))
    known = np.ma.masked_invalid(values)
    hatch = _draw_hatch(ax, x, y) if known.mask.any() else None
    if known.mask.all():
        return Contours(np.empty(0), None, None, None, hatch)
    edges = np.asarray(loss_levels(values) if levels is None else levels, dtype=np.float64)
    if edges.ndim != 1 or edges.size < 2 or not (np.diff(edges) > 0).all():
        raise ValueError(f"levels is {edges.tolist()}: give at least two increasing numbers")
    return Contours(edges, *_draw_bands(ax, x, y, known, edges, extend or beyond(values, edges)), hatch)


def beyond(values: np.ndarray, edges: np.ndarray) -> str:
    """At which ends finite values lie beyond the edges, in matplotlib's word.

    >>> beyond(np.array([0.0, 2.0, np.inf]), np.array([0.0, 1.0]))
    'max'
    """
    finite = values[np.isfinite(values)]
    low, high = (finite < edges[0]).any(), (finite > edges[-1]).any()
    return {(0, 0): "neither", (0, 1): "max", (1, 0): "min", (1, 1): "both"}[low, high]


def grid(cut: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The axes and the values of a slice, checked: (columns,), (rows,), (rows, columns)."""
    x, y, values = (np.asarray(field, dtype=np.float64) for field in (cut.x, cut.y, cut.values))
    if values.shape != (y.size, x.size):
        raise ValueError(
            f"cut.values has shape {values.shape}, its axes ({y.size}, {x.size}): "
            "rows belong to y and columns to x; transpose the values"
        )
    if min(values.shape) < 2:
        raise ValueError(f"cut.values has shape {values.shape}: a line has no contours, draw it with curves()")
    return x, y, values


def _draw_bands(
    ax: Axes, x: np.ndarray, y: np.ndarray, known: np.ma.MaskedArray, edges: np.ndarray, extend: str
) -> tuple[BoundaryNorm, QuadContourSet, QuadContourSet]:
    norm = BoundaryNorm(edges, style.LANDSCAPE.N, extend=extend)
    # bands are open at their lower edge, and the lowest value belongs to the first of them
    fills = np.append(edges[0] - 0.5 * (edges[1] - edges[0]), edges[1:])
    shared = {"norm": norm, "cmap": style.LANDSCAPE}
    bands = ax.contourf(x, y, known, levels=fills, extend=extend, zorder=1, **shared)
    bands.set(edgecolor="face", linewidth=style.SEAM)  # no hairlines of paper between bands
    lines = ax.contour(x, y, known, levels=edges[1:], colors=style.CONTOUR, linestyles="solid", zorder=1.2)
    lines.set(linewidth=style.CONTOUR_WIDTH, alpha=style.CONTOUR_ALPHA)
    return norm, bands, lines


def _draw_hatch(ax: Axes, x: np.ndarray, y: np.ndarray) -> Rectangle:
    return ax.add_patch(Rectangle((x[0], y[0]), x[-1] - x[0], y[-1] - y[0], zorder=0.5, **style.HATCHED))


def draw_values(ax: Axes, contours: Contours, *, count: int = TICKS, avoid: np.ndarray | None = None) -> list[Text]:
    """The losses of some lines, written on them where the most room is.

    Args:
        ax: the axes, with their limits set.
        contours: what `draw_contours` returned.
        count: how many at the most: those of levels spread evenly over the bands, and others where these have no room.
        avoid: (n, 2) points to keep away from, such as those of the paths.

    Returns:
        The texts; a line without room has none.
    """
    if contours.lines is None:
        return []
    corner, scale, sides = frame(ax)
    taken = [] if avoid is None else [_sample((np.asarray(avoid) - corner) / scale)]
    texts = []
    for level, path in _by_roundness(contours, count):
        pieces = np.split(path.vertices, np.flatnonzero(path.codes == path.MOVETO)[1:])
        spot = max((_spot((p - corner) / scale, sides, taken) for p in pieces), key=lambda spot: spot.room)
        text = tick_text(level)
        half = style.text_width(text, math="$" in text) / 2
        if len(texts) < count and spot.room > max(ROOM, half):
            taken.append(spot.place + np.outer([-half, 0, half], spot.along))
            texts.append(_write(ax, spot, spot.place * scale + corner, level, contours.norm))
    return texts


def _by_roundness(contours: Contours, count: int) -> list[tuple[float, Path]]:
    """The lines that are there, with their levels: those of the ticks first, and then the others."""
    chosen = round_ticks(contours.levels, count)
    found = zip(contours.lines.levels.tolist(), contours.lines.get_paths(), strict=True)
    return sorted((pair for pair in found if len(pair[1].vertices)), key=lambda pair: pair[0] not in chosen)


class Spot(NamedTuple):
    """A place for a value on a line."""

    room: float  # points to the nearest path, edge or value
    place: np.ndarray  # points from the corner of the frame
    along: np.ndarray  # unit vector of the line


def _sample(points: np.ndarray) -> np.ndarray:
    near = points[np.isfinite(points).all(axis=1)]
    return near[:: max(1, len(near) // SAMPLES)]


def _spot(line: np.ndarray, sides: np.ndarray, taken: list[np.ndarray]) -> Spot:
    """Where a line is farthest from everything."""
    line = line[:: max(1, len(line) // 200)]
    if len(line) < 7 or np.ptp(line, axis=0).max() < LONG:
        return Spot(0.0, line[0], np.array([1.0, 0.0]))
    room = np.minimum(line, sides - line).min(axis=1)
    for points in taken:
        if len(points):
            gaps = np.linalg.norm(line[:, None] - points[None], axis=-1)
            room = np.minimum(room, gaps.min(axis=1))
    best = 3 + int(np.argmax(room[3:-3]))
    step = line[best + 2] - line[best - 2]
    return Spot(float(room[best]), line[best], step / np.linalg.norm(step))


def _write(ax: Axes, spot: Spot, place: np.ndarray, level: float, norm: BoundaryNorm) -> Text:
    slope = np.degrees(np.arctan2(spot.along[1], spot.along[0]))
    return ax.text(
        *place,
        tick_text(level),
        rotation=90 - (90 - slope) % 180,
        rotation_mode="anchor",
        ha="center",
        va="center_baseline",
        fontsize=style.SMALL,
        color=style.INK,
        zorder=1.5,
        path_effects=[withStroke(linewidth=2, foreground=style.LANDSCAPE(norm(level)))],
    )


def draw_bar(ax: Axes, contours: Contours, quantity: str, *, count: int = TICKS) -> Colorbar | None:
    """A slim colour bar right of the axes, exactly as high as they are, with round ticks."""
    if contours.norm is None:
        return None
    place = ax.inset_axes(style.BAR)
    mappable = ScalarMappable(contours.norm, style.LANDSCAPE)
    bar = ax.figure.colorbar(mappable, cax=place, extendfrac=0.04, spacing="uniform")
    ticks = round_ticks(contours.levels, count)
    bar.set_ticks(ticks, labels=[tick_text(tick) for tick in ticks])
    bar.ax.yaxis.set_minor_locator(NullLocator())
    bar.outline.set(linewidth=0.4, edgecolor=style.INK)
    bar.ax.tick_params(length=2, width=0.4, labelsize=style.SMALL)
    bar.set_label(quantity, fontsize=style.SMALL, labelpad=3, parse_math=False)
    return bar
