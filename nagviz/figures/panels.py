"""Whole figures of a landscape: one slice with its paths, or several side by side.

>>> import numpy as np
>>> from typing import NamedTuple
>>> class Cut(NamedTuple):
...     x: np.ndarray
...     y: np.ndarray
...     values: np.ndarray
...     labels: tuple = ("PC 1 (94.1% of path variance)", "PC 2 (4.2%)")
...     quantity: str = "train cross entropy, 1,437 samples"
>>> x = y = np.linspace(-1, 1, 21)
>>> cut = Cut(x, y, x**2 + 4 * y[:, None] ** 2)
>>> figure = landscape(cut, {"NAG": np.array([[0.8, 0.6], [0.4, -0.1], [0.0, 0.0]])})
>>> figure.axes[0].get_xlabel()
'PC 1 (94.1% of path variance)'
>>> [round(float(side), 1) for side in figure.get_size_inches()]
[3.4, 3.1]
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.colorbar import Colorbar
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from nagviz.figures import style
from nagviz.figures.contour import TICKS, Contours, draw_bar, draw_contours, draw_values
from nagviz.figures.key import draw_key, resize, wrapped
from nagviz.figures.labels import Label, boxes, draw_names, frame
from nagviz.figures.levels import loss_levels, tick_text
from nagviz.figures.path import (
    common_pace,
    draw_hidden,
    draw_lookahead,
    draw_path,
    finite_rows,
    looked_ahead,
    marked,
    points,
    require_walked,
    spread,
    steps,
)
from nagviz.figures.style import Figure, Look

Paths = Mapping[str, Any]

STRIP = 0.55  # inches: height of the strip under a landscape
SHAPE = 0.85  # height to width of a landscape, unless its aspect is equal
FLATTEST, TALLEST = 0.35, 1.5  # likewise, beyond which an equal aspect leaves paper at its sides
OVERHANG = 0.1  # inches: by which a label may be longer than its axes are high
NEGLIGIBLE = 0.01  # of the slice's width: a distance off the plane that no eye would see
FAR = 0.5  # of the slice's width: a start that far off the plane does not rule the levels
REACH = 4.0  # points: from an iterate to a look-ahead point that is seen beside it
UNDER = 1.6  # points: from a path to one above it, that hides it
MOSTLY = 0.7  # of a path
SOME = 4  # names, of many that a note lists
EQUAL = 2.0  # ratio of the ranges up to which small multiples keep an equal aspect


class Panel(NamedTuple):
    """One landscape of a figure."""

    title: str
    cut: Any
    paths: Paths
    levels: np.ndarray | None
    equal: bool
    extend: str | None = None  # as for `draw_contours`
    lookaheads: Mapping[str, Any] = {}  # of paths, by name


class Sheet(NamedTuple):
    """What the landscapes of a figure stand on."""

    columns: int
    width: float  # inches
    note: str | None = None
    looks: Mapping[str, Look] | None = None
    bars: bool = True  # whether each landscape has a colour bar of its own
    named: bool = True  # whether the key names the paths
    hints: Mapping[str, Artist] | None = None  # what marks mean; those of the paths if left out
    walked: bool = True  # whether the paths are drawn


class Laid(NamedTuple):
    """A figure whose landscapes are drawn."""

    figure: Figure
    rows: list[list[tuple[Axes, Axes | None]]]  # the ground, and the strip under it
    grounds: list[Contours]


def landscape(
    cut: Any,
    paths: Paths,
    *,
    width: float = style.COLUMN,
    levels: Sequence[float] | np.ndarray | None = None,
    title: str | None = None,
    note: str | None = None,
    looks: Mapping[str, Look] | None = None,
    walk: Sequence[float] | None = None,
    lookaheads: Mapping[str, Any] | None = None,
) -> Figure:
    """The paths on the slice, at equal aspect; under it the distance that the plane hides, if any.

    Args:
        cut: a slice: `x`, `y`, `values` (rows are y), `labels` of the axes and `quantity`.
        paths: by name: (T, 2) coordinates, or a record with `.coordinates` and `.residual`.
        width: inches.
        levels: edges of the bands; by default those of `loss_levels`, clipped by the starts.
        title: above the axes; the axis labels usually say more.
        note: a line of small text under the key.
        looks: `looks(names)` of the whole run, so that each name keeps its look in all figures.
        walk: the share of the variance that each axis would explain of a random walk, where they are principal
            components, as `nagviz.random_walk` tells it; it is told under the key.
        lookaheads: by some of the paths' names, where their methods look ahead to: (T, 2), NaN where it is not known,
            or a record. Those that stand off their iterates are drawn.
    """
    panel = Panel(
        title or "", cut, paths, None if levels is None else np.asarray(levels), True, lookaheads=lookaheads or {}
    )
    told = "\n".join(line for line in (note, walked(walk)) if line) or None
    return lay_out([panel], Sheet(1, width, told, looks)).figure


def walked(walk: Sequence[float] | None) -> str | None:
    """What is to be held against the variance that principal components explain, as a note.

    >>> walked((0.187, 0.187))
    'Random walks as long would show 19% + 19%.'

    Source: Antognini and Sohl-Dickstein (2018).
    """
    if not walk:
        return None
    return f"Random walks as long would show {' + '.join(f'{share:.0%}' for share in walk)}."


def landscapes(
    panels: Mapping[str, tuple[Any, Paths]],
    *,
    width: float = style.PAGE,
    note: str | None = None,
    looks: Mapping[str, Look] | None = None,
    lookaheads: Mapping[str, Mapping[str, Any]] | None = None,
) -> Figure:
    """Small multiples, each slice with its own levels and colour bar, under one key.

    The aspect is equal unless the ranges of a slice differ by more than a factor of two.

    Args:
        panels: by title: a slice and its paths, as for `landscape`.
        width: inches.
        note: a line of small text under the key.
        looks: `looks(names)` of the whole run.
        lookaheads: by some of the titles, as for `landscape`.
    """
    if not panels:
        raise ValueError("panels is empty: give at least one {title: (slice, paths)}")
    ahead = lookaheads or {}
    made = [
        Panel(title, *pair, None, is_squarish(pair[0]), lookaheads=ahead.get(title, {}))
        for title, pair in panels.items()
    ]
    return lay_out(made, Sheet(style.columns_of(len(made), width, style.ALONE), width, note, looks)).figure


def ground(
    cut: Any,
    paths: Paths,
    *,
    width: float = style.COLUMN,
    levels: Sequence[float] | np.ndarray | None = None,
    title: str | None = None,
    note: str | None = None,
    hints: Mapping[str, Artist] | None = None,
    looks: Mapping[str, Look] | None = None,
) -> Figure:
    """A landscape without its paths: its first axes, and the strip if there is one, are laid out for them.

    Args:
        cut: as for `landscape`, and so are all others but
        hints: what the marks mean that will be drawn.
        paths: those that will be drawn.
        width: inches.
        levels: edges of the bands.
        title: above the axes.
        note: under the key.
        looks: of the whole run.
    """
    panel = Panel(title or "", cut, paths, None if levels is None else np.asarray(levels), True)
    return lay_out([panel], Sheet(1, width, note, looks, hints=hints, walked=False)).figure


def lay_out(panels: list[Panel], sheet: Sheet, frame: Callable[[Laid], None] = lambda laid: None) -> Laid:
    """Landscapes side by side, under one key.

    Args:
        panels: in reading order.
        sheet: what they stand on.
        frame: draws what takes room beside the landscapes, before they are laid out.
    """
    table = style.resolve((name for panel in panels for name in panel.paths), sheet.looks)
    columns, width, note = sheet[:3]
    with style.context():
        figure = Figure(figsize=(width, width * max(1.0, -(-len(panels) // columns) / columns)))
        rows = _subplots(figure, len(panels), columns, strip=any(map(hides, panels)))
        places = [place for row in rows for place in row]
        across = width / columns - (1.2 if sheet.bars else 0.7)  # inches, roughly: of an axes without its labels
        panels = [panel._replace(lookaheads=_reaching(panel, across)) for panel in panels]
        labels, explained = _axis_words(panels, across)
        grounds = [
            _draw_ground(ax, panel, across, words) for panel, (ax, _), words in zip(panels, places, labels, strict=True)
        ]
        if sheet.bars:
            for panel, contours, (ax, _) in zip(panels, grounds, places, strict=True):
                draw_scale(ax, contours, panel.cut.quantity, _shape(panel) * across)
        _draw_strips(panels, [strip for _, strip in places], table)
        laid = Laid(figure, rows, grounds)
        frame(laid)
        names = {name: Line2D([], [], **style.curve(look)) for name, look in table.items()} if sheet.named else {}
        hints = _hints(panels) if sheet.hints is None else sheet.hints
        said = (
            explained,
            note,
            _level(panels),
            overlaid(panels, across, table) if sheet.walked else None,
            _left(panels),
        )
        draw_key(figure, names, hints=hints, note="\n".join(filter(None, said)) or None)
        _fit(figure, rows, [_shape(panel) for panel in panels])
        for panel, contours, (ax, _) in zip(panels, grounds, places, strict=True):
            _settle(ax, panel)
            taken = _lines(ax, panel)
            if sheet.walked and sheet.named:
                taken = np.concatenate([taken, _name_ends(ax, panel, table, taken)])
            draw_values(ax, contours, avoid=taken)
            if sheet.walked:
                _draw_paths(ax, panel, table)
    return laid


def _subplots(figure: Figure, count: int, columns: int, *, strip: bool) -> list[list[tuple[Axes, Axes | None]]]:
    """Rows of (ground, strip)."""
    deep = 2 if strip else 1
    grid = figure.add_gridspec(deep * -(-count // columns), columns)
    cells = [divmod(index, columns) for index in range(count)]
    made = [
        (
            figure.add_subplot(grid[row * deep, column]),
            figure.add_subplot(grid[row * deep + 1, column]) if strip else None,
        )
        for row, column in cells
    ]
    return [made[first : first + columns] for first in range(0, count, columns)]


def _axis_words(panels: list[Panel], across: float) -> tuple[list[Sequence[str]], str | None]:
    """The labels of the axes; where they find no room beside all, what stands in brackets goes to the note."""
    given = [panel.cut.labels for panel in panels]
    room = across, min(_shape(panel) for panel in panels) * across + OVERHANG
    cramped = any(wrapped(word, at, style.TEXT).count("\n") > 1 for word, at in zip(given[0], room, strict=True))
    parts = [word.partition(" (") for word in given[0]]
    if not cramped or any(words != given[0] for words in given) or not all(rest for *_, rest in parts):
        return given, None
    told = "; ".join(f"{short}: {rest.removesuffix(')')}" for short, _, rest in parts)
    return [[short for short, *_ in parts]] * len(panels), f"{told}."


def _draw_ground(ax: Axes, panel: Panel, across: float, labels: Sequence[str]) -> Contours:
    cut = panel.cut
    levels = clipped_levels(panel) if panel.levels is None else panel.levels
    contours = draw_contours(ax, cut, levels, extend=panel.extend)
    up = _shape(panel) * across
    words = {"parse_math": False}
    # at a fixed height: the arrow of a colour bar would lift it out of its row, and off the page
    ax.set_title(wrapped(panel.title, across, style.TITLE), y=1.0, **words)
    ax.set_xlabel(wrapped(labels[0], across, style.TEXT), **words)
    ax.set_ylabel(wrapped(labels[1], up + OVERHANG, style.TEXT), **words)
    ax.locator_params(axis="x", nbins=int(np.clip(2.5 * across, 3, 6)))
    ax.locator_params(axis="y", nbins=int(np.clip(2.5 * up, 3, 6)))
    if contours.norm is None:
        ax.text(0.5, 0.9, "no finite loss on this slice", transform=ax.transAxes, **style.NOTICE)
    return contours


def draw_scale(ax: Axes, contours: Contours, quantity: str, up: float) -> Colorbar | None:
    """The colour bar of a landscape that is about `up` inches high."""
    return draw_bar(ax, contours, wrapped(quantity, up + OVERHANG), count=int(np.clip(5 * up, 4, TICKS)))


def _settle(ax: Axes, panel: Panel) -> None:
    ax.set_aspect("equal" if panel.equal else "auto")
    ax.set_anchor("N" if _slope(panel) >= FLATTEST else "C")  # titles of a row on one line
    ax.apply_aspect()


def _reaching(panel: Panel, across: float) -> dict[str, np.ndarray]:
    """The look-ahead points that stand off their iterates, on axes of so many inches; NaN for the others."""
    require_walked(panel.paths, panel.lookaheads)
    scale = _scale(panel, across)
    found = {}
    for name, ahead in panel.lookaheads.items():
        xy, seen = points(panel.paths[name]), looked_ahead(panel.paths[name], ahead)
        off = np.linalg.norm((seen - xy) / scale, axis=1) >= REACH
        found |= {name: np.where(off[:, None], seen, np.nan)} if off.any() else {}
    return found


def _scale(panel: Panel, across: float) -> np.ndarray:
    """Of the slice's coordinates, to a point of the page."""
    return np.array([np.ptp(panel.cut.x), np.ptp(panel.cut.y)]) / (72 * across * np.array([1.0, _shape(panel)]))


def _lines(ax: Axes, panel: Panel) -> np.ndarray:
    """Data along the paths, near one another on the page."""
    on = frame(ax)
    walked = [on.data(spread(on.points(points(path)))) for path in panel.paths.values()]
    return np.concatenate([np.empty((0, 2)), *walked])


def _name_ends(ax: Axes, panel: Panel, table: Mapping[str, Look], lines: np.ndarray) -> np.ndarray:
    """Names at the ends of several paths, as far as there is room; what they cover."""
    if len(panel.paths) < 2:
        return np.empty((0, 2))
    walked = {name: points(path) for name, path in panel.paths.items()}
    ends = {name: xy[finite_rows(xy) - 1] for name, xy in walked.items()}
    (left, right), (low, high) = ax.get_xlim(), ax.get_ylim()
    seen = [name for name, (x, y) in ends.items() if left <= x <= right and low <= y <= high]
    seen.sort(key=lambda name: -table[name].order)
    names = [Label(name, table[name].color, ends[name]) for name in seen]
    return boxes(ax, draw_names(ax, names, lines, np.array([xy[0] for xy in walked.values()])))


def _draw_paths(ax: Axes, panel: Panel, table: Mapping[str, Look]) -> None:
    for name, path in panel.paths.items():
        draw_path(ax, path, table[name], name, every=pace(panel))
        if name in panel.lookaheads:
            draw_lookahead(ax, path, panel.lookaheads[name], table[name])


def _draw_strips(panels: list[Panel], strips: list[Axes | None], table: Mapping[str, Look]) -> None:
    for panel, strip in zip(panels, strips, strict=True):
        if strip is not None and not (hides(panel) and draw_hidden(strip, panel.paths, table, every=pace(panel))):
            strip.set_visible(False)


def clipped_levels(panel: Panel) -> np.ndarray | None:
    """Levels clipped by the highest of the starts."""
    if not np.isfinite(panel.cut.values).any():
        return None
    return loss_levels(panel.cut.values, start=highest_start(panel))


def highest_start(panel: Panel) -> float | None:
    """The highest loss at which a path starts, read off the slice at the nearest point."""
    x, y, values = (np.asarray(field, np.float64) for field in (panel.cut.x, panel.cut.y, panel.cut.values))
    firsts = [points(path)[0] for path in panel.paths.values() if not _is_far(panel, path)]
    starts = [values[np.abs(y - b).argmin(), np.abs(x - a).argmin()] for a, b in firsts]
    return max((float(start) for start in starts if np.isfinite(start)), default=None)


def _is_far(panel: Panel, path: Any) -> bool:
    """Whether a path starts so far off the plane that the slice under it says nothing of it."""
    residual = getattr(path, "residual", None)
    return residual is not None and not residual[0] <= FAR * max(np.ptp(panel.cut.x), np.ptp(panel.cut.y))


def pace(panel: Panel) -> int:
    """Steps between dots, the same for all paths: then their spacing compares their speeds."""
    return common_pace(panel.paths.values())


def hides(panel: Panel) -> bool:
    """Whether a path runs so far off the plane that an eye would see it."""
    extent = max(np.ptp(panel.cut.x), np.ptp(panel.cut.y))
    residuals = [getattr(path, "residual", None) for path in panel.paths.values()]
    known = [np.nan_to_num(r, posinf=np.inf).max() for r in residuals if r is not None]
    return max(known, default=0.0) > NEGLIGIBLE * extent


def is_squarish(cut: Any) -> bool:
    """Whether an equal aspect suits a small panel."""
    ranges = np.ptp(cut.x), np.ptp(cut.y)
    return max(ranges) <= EQUAL * min(ranges)


def _fit(figure: Figure, rows: list[list[tuple[Axes, Axes | None]]], shapes: list[float]) -> None:
    """Make the figure as high as its landscapes need at the width that is left for them.

    The layout is then kept as it is: constrained layout would take the free sides of axes with an
    equal aspect for room. Until then the aspect must be "auto", so that axes fill their cells.
    """
    for _ in range(3):  # a label longer than its axes takes room, which is free in the next pass
        figure.settle(1)
        width, height = figure.get_size_inches()
        wanted, found = _heights(rows, shapes, width, height)
        rows[0][0][0].get_gridspec().set_height_ratios(wanted)
        resize(figure, height + sum(wanted) - sum(found))
    figure.settle()
    figure.set_layout_engine("none")


def _heights(
    rows: list[list[tuple[Axes, Axes | None]]], shapes: list[float], width: float, height: float
) -> tuple[list[float], list[float]]:
    """In inches, of each row of axes: the height it should have, and has."""
    shape = iter(shapes)
    wanted, found = [], []
    for row in rows:
        cells = [ground.get_position() for ground, _ in row]
        wanted.append(max(cell.width * width * next(shape) for cell in cells))
        found.append(cells[0].height * height)
        if row[0][1] is not None:
            wanted.append(STRIP)
            found.append(row[0][1].get_position().height * height)
    return wanted, found


def _shape(panel: Panel) -> float:
    """Height over width of the cell: that of the slice, unless a page would look odd."""
    if not panel.equal:
        return SHAPE
    return float(np.clip(_slope(panel), FLATTEST, TALLEST))


def _slope(panel: Panel) -> float:
    return float(np.ptp(panel.cut.y) / np.ptp(panel.cut.x))


def _hints(panels: list[Panel]) -> dict[str, Artist]:
    """What the marks mean, of those that are there."""
    walked = [points(path) for panel in panels for path in panel.paths.values()]
    hints = {}
    if walked:
        hints["start"] = style.start(style.NEUTRAL)
        hints["end"] = style.star(style.NEUTRAL)
        hints[told_pace(panels)] = style.dot(style.NEUTRAL)
    if any(panel.lookaheads for panel in panels):
        hints["look-ahead"] = style.ahead(style.NEUTRAL)
    if not all(np.isfinite(xy).all() for xy in walked):
        hints["not finite from here"] = style.cross(style.NEUTRAL)
    marks: dict[str, Artist] = {what: Line2D([], [], ls="", **look) for what, look in hints.items()}
    if not all(np.isfinite(panel.cut.values).all() for panel in panels):
        marks["loss not finite"] = Patch(**style.HATCHED)
    return marks


def told_pace(panels: Sequence[Panel]) -> str:
    """At which steps the dots on the paths are."""
    spaces = {pace(panel) for panel in panels if panel.paths}
    if len(spaces) > 1:
        return "at equal steps"
    every = spaces.pop()
    paths = [path for panel in panels for path in panel.paths.values()]
    exact = all((steps(path)[marked(path, every)] % every == 0).all() for path in paths)
    return f"{'' if exact else 'about '}every {every:,} steps".replace("every 1 steps", "every step")


def _level(panels: list[Panel]) -> str | None:
    spans = {panel.title: np.asarray(panel.cut.values, np.float64) for panel in panels}
    flat = {title: v[np.isfinite(v)] for title, v in spans.items()}
    one = {title: tick_text(v[0]) if v.size and np.ptp(v) == 0 else "" for title, v in flat.items()}
    return _by_panel("One loss at all points", one)


def _left(panels: list[Panel]) -> str | None:
    return _by_panel("Leaving the slice", {panel.title: leaving(panel) for panel in panels})


def overlaid(panels: Sequence[Panel], across: float, table: Mapping[str, Look]) -> str | None:
    """Which paths are not seen for others, as a note; by panel where there are several."""
    return _by_panel("Mostly under others", {p.title: _some(covered(p, across, table)) for p in panels})


def _some(names: Sequence[str]) -> str:
    return listed(names if len(names) <= SOME else [*names[: SOME - 1], f"{len(names) - SOME + 1} more"])


def listed(names: Sequence[str]) -> str:
    """Names in a row, told apart also where they have commas of their own.

    >>> listed(["NAG", "SGD"]), listed(["NAG, 0.9", "SGD"])
    ('NAG, SGD', 'NAG, 0.9; SGD')
    """
    return ("; " if any("," in name for name in names) else ", ").join(names)


def _by_panel(said: str, names: Mapping[str, str]) -> str | None:
    each = [
        f"{title.splitlines()[0]}: {of_one}" if len(names) > 1 else of_one for title, of_one in names.items() if of_one
    ]
    return f"{said}: {'; '.join(each)}." if each else None


def covered(panel: Panel, across: float, table: Mapping[str, Look]) -> list[str]:
    """The names of the paths of which most lies under the paths above them, on axes of so many inches."""
    scale = _scale(panel, across)
    walked = {name: spread(points(path) / scale) for name, path in panel.paths.items()}
    found = []
    for name, here in walked.items():
        above = [walked[other] for other in walked if table[other].order > table[name].order]
        hides = [np.linalg.norm(here[:, None] - there, axis=-1).min(axis=1) < UNDER for there in above]
        if hides and np.mean(np.any(hides, axis=0)) > MOSTLY:
            found.append(name)
    return found


def leaving(panel: Panel) -> str:
    """The names of the paths that leave the slice."""
    low = np.min(panel.cut.x), np.min(panel.cut.y)
    high = np.max(panel.cut.x), np.max(panel.cut.y)
    return listed([n for n, path in panel.paths.items() if ((points(path) < low) | (points(path) > high)).any()])
