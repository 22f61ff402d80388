"""The path of an optimizer on a plane, and how far from the plane it really runs.

>>> import numpy as np
>>> path = np.stack([np.linspace(1, 0, 30), np.linspace(1, 0, 30) ** 2], axis=1)
>>> from nagviz.figures.style import Figure, looks
>>> ax = Figure().subplots()
>>> drawn = draw_path(ax, path, looks(["NAG"])["NAG"], label="NAG")
>>> drawn.line.get_label(), len(drawn.arrows)
('NAG', 3)
"""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import FancyArrowPatch
from matplotlib.ticker import FuncFormatter

from nagviz.figures import style
from nagviz.figures.labels import frame
from nagviz.figures.levels import tick_text
from nagviz.figures.lines import scale_steps
from nagviz.figures.style import Look

THIN = 0.4  # points of arc between two vertices that are kept: less than is seen
ARROWS = (0.22, 0.5, 0.8)  # where arrowheads stand, as shares of the arc
AHEAD = 9.0  # points of path between two look-ahead points
ARROW_SPACE = 16.0  # points of arc that an arrowhead needs


class DrawnPath(NamedTuple):
    """What `draw_path` has drawn."""

    line: Line2D  # the core, over its halo
    dots: Line2D  # at equal step spacing
    arrows: list[FancyArrowPatch]
    start: Line2D
    end: Line2D  # a star, or a cross where the path stops being finite


def points(path: Any) -> np.ndarray:
    """The (T, 2) coordinates of a path: an array, or a record with `.coordinates`.

    >>> points([[0, 1], [2, 3]]).shape
    (2, 2)
    """
    xy = np.asarray(getattr(path, "coordinates", path), dtype=np.float64)
    if xy.ndim != 2 or xy.shape[1] != 2 or not np.isfinite(xy[:1]).all() or not len(xy):
        raise ValueError(
            f"path has coordinates of shape {xy.shape}, starting at {xy[:1].tolist()}: "
            "give (T, 2) numbers of which the first row is finite"
        )
    return xy


def steps(path: Any) -> np.ndarray:
    """The step of each row: `.steps` of the record if it has any, else 0, 1, 2, ...

    >>> steps([[0, 1], [2, 3]])
    array([0., 1.])
    """
    given = getattr(path, "steps", None)
    return np.asarray(np.arange(len(points(path))) if given is None else given, np.float64)


def looked_ahead(path: Any, lookaheads: Any) -> np.ndarray:
    """The (T, 2) look-ahead points of a path's rows: an array, or a record with `.coordinates`; NaN where unknown.

    >>> looked_ahead([[0, 1], [2, 3]], [[np.nan, np.nan], [4, 5]]).tolist()
    [[nan, nan], [4.0, 5.0]]

    Raises:
        ValueError: not one for each row.
    """
    ahead, xy = np.asarray(getattr(lookaheads, "coordinates", lookaheads), np.float64), points(path)
    if ahead.shape != xy.shape:
        raise ValueError(
            f"lookaheads has {len(ahead)} points and path {len(xy)}, of shapes {ahead.shape} and {xy.shape}: "
            "give one look-ahead point for each iterate"
        )
    return ahead


def require_walked(paths: Mapping[str, Any], lookaheads: Mapping[str, Any]) -> None:
    """Refuse look-ahead points of what is none of the paths, or not one for each iterate."""
    for name, ahead in lookaheads.items():
        if name not in paths:
            raise ValueError(f"lookaheads has an entry {name!r} that paths has not: give its iterates too")
        looked_ahead(paths[name], ahead)


def finite_rows(path: Any) -> int:
    """How many rows of a path are finite before the first that is not.

    >>> finite_rows([[0, 1], [2, 3], [np.nan, 0], [1, 1]])
    2
    """
    finite = np.isfinite(points(path)).all(axis=1)
    return len(finite) if finite.all() else int(np.argmin(finite))


def spacing(count: float, dots: int = 12) -> int:
    """The round number of steps between dots that gives at most so many of them.

    >>> spacing(100), spacing(5), spacing(2001)
    (10, 1, 200)
    """
    return next(m * 10**n for n in range(20) for m in (1, 2, 5) if m * 10**n * dots >= count)


def common_pace(paths: Iterable[Any]) -> int:
    """Steps between dots, the same for all paths, so that their spacing compares their speeds; rows have these steps.

    >>> common_pace([np.zeros((101, 2))])
    10

    Args:
        paths: with rows at steps that are multiples apart, or not.
    """
    known = [steps(path) - steps(path)[0] for path in paths]
    rows = np.concatenate([step[:-1] for step in known] or [np.empty(0)])  # the last one may be where a path was done
    whole = bool((rows == np.rint(rows)).all() and rows.any())
    apart = int(np.gcd.reduce(rows.astype(np.int64))) if whole else 1
    return apart * spacing((max((step[-1] for step in known), default=0) + 1) / apart)


def marked(path: Any, every: int) -> np.ndarray:
    """The rows that have a dot: the first ones at or after each so many steps, as far as the path is finite.

    >>> marked(np.zeros((5, 2)), 2)
    array([2, 4])
    """
    tick = np.floor(steps(path)[: finite_rows(path)] / every)
    return np.flatnonzero(np.diff(tick, prepend=tick[0]) > 0)


def draw_path(ax: Axes, path: Any, look: Look, label: str | None = None, *, every: int | None = None) -> DrawnPath:
    """A path: core over halo, dots at equal steps, arrowheads, open start and star at the end.

    Set the limits of the axes first: arrowheads and thinning are measured in points on the page.

    Args:
        ax: the axes.
        path: (T, 2) coordinates, or a record with `.coordinates` and perhaps `.steps` (T,). Past
            the first row that is not finite nothing is drawn, and a cross stands for the star.
        look: its colour, dash and marker.
        label: its name in a legend.
        every: steps between dots; by default a round number that gives at most twelve.
    """
    xy, length = points(path), finite_rows(path)
    line = _draw_line(ax, xy[:length], look, label)
    dots = _draw_dots(ax, xy[marked(path, every or common_pace([path]))], look)
    arrows = _draw_arrows(ax, xy[:length], look)
    return DrawnPath(line, dots, arrows, *_draw_ends(ax, xy, length - 1, look))


def _draw_line(ax: Axes, xy: np.ndarray, look: Look, label: str | None) -> Line2D:
    kept = xy[_thinned(_arc(ax, xy))].T
    # a dashed halo would be a row of beads: it is solid
    ax.plot(*kept, **style.halo(look))
    (line,) = ax.plot(*kept, label=label, **style.core(look))
    return line


def _draw_dots(ax: Axes, xy: np.ndarray, look: Look) -> Line2D:
    (dots,) = ax.plot(*xy.T, ls="", zorder=look.order + 0.002, **style.dot(look))
    return dots


def _draw_ends(ax: Axes, xy: np.ndarray, last: int, look: Look) -> tuple[Line2D, Line2D]:
    """Above all paths: where a path ends matters more than what passes there."""
    above = style.ENDS + look.order
    end = style.star(look) if last == len(xy) - 1 else style.cross(look)
    (start,) = ax.plot(*xy[0], ls="", zorder=above, **style.start(look))
    (star,) = ax.plot(*xy[last], ls="", zorder=above + 0.001, **end)
    return start, star


def _arc(ax: Axes, xy: np.ndarray) -> np.ndarray:
    """Arc length on the page, in points, up to each row."""
    pixels = np.linalg.norm(np.diff(ax.transData.transform(xy), axis=0), axis=1)
    return np.concatenate([[0.0], np.cumsum(pixels)]) * 72 / ax.figure.dpi


def spread(xy: np.ndarray, space: float = 2.0, most: int = 400) -> np.ndarray:
    """Points of a line at equal distances, as far as it is finite.

    >>> spread(np.array([[0.0, 0.0], [3.0, 4.0], [np.nan, 0.0]]), 2.5)
    array([[0. , 0. ],
           [1.5, 2. ],
           [3. , 4. ]])

    Args:
        xy: (T, 2), the first of them finite.
        space: between two.
        most: how many at the most, where it is long.
    """
    xy = xy[: finite_rows(xy)]
    arc = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(xy, axis=0), axis=1))])
    at = np.linspace(0, arc[-1], int(np.clip(arc[-1] / space, 1, most)) + 1)
    return np.stack([np.interp(at, arc, column) for column in xy.T], axis=-1)


def _thinned(arc: np.ndarray) -> np.ndarray:
    kept = np.flatnonzero(np.diff(np.floor(arc / THIN), prepend=-1))
    return np.unique(np.append(kept, arc.size - 1))


def _draw_arrows(ax: Axes, xy: np.ndarray, look: Look) -> list[FancyArrowPatch]:
    arc = _arc(ax, xy)
    low, high = np.sort([ax.get_xlim(), ax.get_ylim()], axis=1).T
    seen = ((low <= xy) & (xy <= high)).all(axis=1)
    lengths = np.diff(arc) * (seen[1:] & seen[:-1])  # arrowheads off the axes tell nothing
    arc = np.concatenate([[0.0], np.cumsum(lengths)])
    room = int(min(len(ARROWS), arc[-1] // ARROW_SPACE))
    return [_arrow(ax, xy, arc, share * arc[-1], look) for share in ARROWS[:room]]


def _arrow(ax: Axes, xy: np.ndarray, arc: np.ndarray, at: float, look: Look) -> FancyArrowPatch:
    tail, head = (tuple(np.interp(np.clip(at + d, 0, arc[-1]), arc, column) for column in xy.T) for d in (-1.5, 1.5))
    arrow = FancyArrowPatch(tail, head, zorder=look.order + 0.001, **style.arrow(look))
    return ax.add_patch(arrow)


class DrawnLookahead(NamedTuple):
    """What `draw_lookahead` has drawn."""

    stems: Line2D  # from iterates to their look-ahead points, with gaps between them
    points: Line2D  # open circles


def draw_lookahead(ax: Axes, path: Any, lookaheads: Any, look: Look) -> DrawnLookahead:
    """Look-ahead points as open circles, each on a stem from its iterate, as many as there is room for.

    Args:
        ax: the axes, with limits and place settled.
        path: iterates, (T, 2) coordinates or a record with `.coordinates`.
        lookaheads: their look-ahead points, likewise; NaN where they are not known.
        look: of the path.

    Raises:
        ValueError: not as many look-ahead points as iterates.
    """
    x, y = points(path), looked_ahead(path, lookaheads)
    kept = _apart(frame(ax).points(x), np.isfinite(x).all(-1) & np.isfinite(y).all(-1) & (x != y).any(-1))
    stems = np.stack([x[kept], y[kept], np.full_like(x[kept], np.nan)], axis=1).reshape(-1, 2)
    above = look.order + 0.003
    (stem,) = ax.plot(*stems.T, **{**style.reach(look), "zorder": above})
    (point,) = ax.plot(*y[kept].T, ls="", zorder=above + 0.001, **style.ahead(look))
    return DrawnLookahead(stem, point)


def _apart(at: np.ndarray, finite: np.ndarray) -> np.ndarray:
    """Which points to keep, so that each is some way along the path from the one before."""
    moved = np.linalg.norm(np.diff(np.where(finite[:, None], at, 0.0), axis=0, prepend=at[:1]), axis=-1)
    ticks = np.floor(np.cumsum(np.nan_to_num(moved)) / AHEAD)
    return np.flatnonzero(np.diff(ticks, prepend=-1).astype(bool) & finite)


def draw_hidden(
    ax: Axes, paths: Mapping[str, Any], looks: Mapping[str, Look], *, every: int | None = None
) -> dict[str, Line2D]:
    """The strip that shows what the plane hides: the distance of each path from it, by step.

    Args:
        ax: the axes.
        paths: by name; those without `.residual` (T,) are left out, since theirs is unknown.
        looks: by name.
        every: steps between markers, which are those of the dots on the paths; by default as `draw_path` has them.
    """
    lines, every = {}, every or common_pace(paths.values())
    for name, path in paths.items():
        residual = getattr(path, "residual", None)
        if residual is not None:
            (lines[name],) = ax.plot(steps(path), np.asarray(residual), **style.curve(looks[name]))
            lines[name].set(label=name, markevery=marked(path, every).tolist() or [-1])  # of one row too
    ax.set(xlabel="step", ylabel="distance\noff the plane")
    ax.locator_params(axis="y", nbins=3)
    ax.yaxis.set_major_formatter(FuncFormatter(tick_text))
    ax.margins(x=0)
    ax.set_ylim(bottom=0)
    if lines:
        scale_steps(ax, [line.get_xdata()[-1] for line in lines.values()])
    return lines
