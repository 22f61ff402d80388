"""A landscape to explore: one HTML file that carries its slice, paths and curves, and asks no network.

The contours are computed here, once; the page's script draws them, moves along the paths and reads the slice between
its points. All numbers are carried as they are, in double precision.

>>> import numpy as np
>>> from types import SimpleNamespace
>>> x = y = np.linspace(-1, 1, 21)
>>> cut = SimpleNamespace(x=x, y=y, values=x**2 + 4 * y[:, None] ** 2, labels=("PC 1", "PC 2"), quantity="loss")
>>> made = page(cut, {"NAG": np.array([[0.8, 0.6], [0.4, -0.1], [0.0, 0.0]])}, about=About("A bowl"))
>>> made.html.startswith("<!doctype html>"), len(made.html) < 60_000
(True, True)
"""

import json
from base64 import b64encode
from collections.abc import Mapping, Sequence
from functools import cache
from html import escape
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from contourpy import FillType, contour_generator
from matplotlib.colors import BoundaryNorm, to_hex
from matplotlib.markers import MarkerStyle

from nagviz.figures import style
from nagviz.figures.contour import TICKS, grid
from nagviz.figures.hypertext import About, document, filled, part
from nagviz.figures.hypertext import colors as custom
from nagviz.figures.levels import round_ticks
from nagviz.figures.lines import Series, log_ratio
from nagviz.figures.panels import Panel, clipped_levels, hides, leaving, pace, told_pace
from nagviz.figures.path import finite_rows, looked_ahead, points, require_walked, steps
from nagviz.figures.style import Look

UNIT = 10_000  # contours are whole numbers from 0 to this: a twentieth of a pixel on a wide screen
MOST = 1000  # rows of a path or a curve that are carried: more than a screen has pixels for
SCRIPT = ("state", "numbers", "elements", "scenes", "ground", "readout", "bar", "curves", "table", "time")
OBLONG = 4.0  # ratio of the ranges up to which the aspect is equal


class Scene(NamedTuple):
    """One landscape of a page."""

    cut: Any  # a slice: `x`, `y`, `values` (rows are y), `labels` of the axes and `quantity`
    paths: Mapping[str, Any]  # by name: (T, 2) coordinates, or a record with `.coordinates`, `.residual`, `.steps`
    curves: Mapping[str, Mapping[str, Series]] = {}  # as for `curves()`; the first stands beside the slice's loss
    lookaheads: Mapping[str, Any] = {}  # by name: where the path's method looks ahead to, coordinates like the path's
    note: str | None = None
    levels: Sequence[float] | np.ndarray | None = None  # by default those of `landscape()`


class Page(NamedTuple):
    """An HTML file."""

    html: str

    def savefig(self, fname: Any, *, metadata: Any = None) -> None:
        """Write it into a file, given by its name or open for bytes."""
        del metadata  # of other figures; a page says in itself what it is about
        if hasattr(fname, "write"):
            fname.write(self.html.encode())
        else:
            Path(fname).write_bytes(self.html.encode())

    def _repr_html_(self) -> str:
        """What a notebook shows: the page in a frame of its own."""
        return f'<iframe srcdoc="{escape(self.html)}" title="landscape" style="{style.FRAMED}"></iframe>'


def page(
    cut: Any,
    paths: Mapping[str, Any],
    *,
    curves: Mapping[str, Mapping[str, Series]] = {},
    lookaheads: Mapping[str, Any] = {},
    note: str | None = None,
    levels: Sequence[float] | np.ndarray | None = None,
    about: About = About(),  # noqa: B008
    looks: Mapping[str, Look] | None = None,
) -> Page:
    """The paths on the slice, with a slider over the steps, in one HTML file.

    Args:
        cut: a slice: `x`, `y`, `values` (rows are y), `labels` of the axes and `quantity`.
        paths: by name: (T, 2) coordinates, or a record with `.coordinates` and perhaps `.residual` and `.steps`.
        curves: what was measured over the steps, as for `curves()`; the first is read beside the slice's loss.
        lookaheads: by name, where a path's method looks ahead to: coordinates like those of the path.
        note: what is to be said besides.
        levels: edges of the bands; by default those of `landscape()`.
        about: title, question and fingerprint.
        looks: `looks(names)` of the whole run, so that each name keeps its look in all figures.

    Raises:
        ValueError: shapes that do not fit each other; levels that do not increase.
    """
    return pages({"": Scene(cut, paths, curves, lookaheads, note, levels)}, about=about, looks=looks)


def pages(
    scenes: Mapping[str, Scene],
    *,
    about: About = About(),  # noqa: B008
    looks: Mapping[str, Look] | None = None,
) -> Page:
    """Several landscapes in one HTML file, of which the reader chooses.

    Args:
        scenes: by title.
        about: title, question and fingerprint.
        looks: `looks(names)` of the whole run.
    """
    if not scenes:
        raise ValueError("scenes is empty: give at least one {title: Scene}")
    table = style.resolve((name for scene in scenes.values() for name in _names(scene)), looks)
    colors = _Colors([])
    held = {
        "ink": _sizes(),
        "marks": {what: _outline(mark) for what, mark in {"start": "o", "star": "*", "cross": "x"}.items()},
        "looks": {name: _look(look, colors) for name, look in table.items()},
        "scenes": [_scene(title, scene, colors) for title, scene in scenes.items()],
    }
    parts = {
        "title": escape(about.title),
        "question": escape(about.question),
        "mark": escape(about.mark),
        "js": "\n\n".join(part(f"{name}.js") for name in SCRIPT),
        # in a script element, only what begins with "<" could end the data
        "data": json.dumps(held, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c"),
    }
    css = f"{colors.css()}\n{part('page.css')}"
    return Page(document(about, css, filled(part("page.html"), parts), scripted=True))


def _names(scene: Scene) -> list[str]:
    series = (name for panel in scene.curves.values() for name in panel)
    return list(dict.fromkeys([*scene.paths, *series]))


# Colours and marks.


class _Colors(NamedTuple):
    """The colours that a page needs besides those of `style.SCREEN`; the page knows them by number."""

    pairs: list[tuple[str, str]]  # by day, by night

    def number(self, day: str, night: str) -> int:
        if (day, night) not in self.pairs:
            self.pairs.append((day, night))
        return self.pairs.index((day, night))

    def css(self) -> str:
        return custom({f"c{number}": pair for number, pair in enumerate(self.pairs)})


def _sizes() -> dict[str, float]:
    """In pixels of the screen; marks as diameters."""
    points = {"halo": style.HALO, "dot": style.DOT, "start": style.START, "star": style.STAR, "head": style.SPOT}
    return {name: round(size * style.SCREEN_SCALE, 2) for name, size in points.items()}


def _look(look: Look, colors: _Colors) -> dict[str, Any]:
    width = look.width * style.SCREEN_SCALE
    return {
        "color": colors.number(look.color, style.night(look.color)),
        "marker": _outline(look.marker),
        "dash": " ".join(f"{part * width:.3g}" for part in look.dash[1] or ()) or "none",
        "width": round(width, 2),
        "order": look.order,
    }


@cache
def _outline(marker: str) -> str:
    """A marker of matplotlib as an SVG path, of size 1."""
    mark = MarkerStyle(marker)
    outline = mark.get_path().transformed(mark.get_transform())
    letters = {outline.MOVETO: "M", outline.LINETO: "L", outline.CURVE3: "Q", outline.CURVE4: "C"}
    said = [
        letters.get(code, "Z") + " ".join(f"{x:.4g} {-y:.4g}" for x, y in at.reshape(-1, 2) if code in letters)
        for at, code in outline.iter_segments()
    ]
    return "".join(said)


# Numbers.


def _packed(numbers: Any) -> str | list[float]:
    """Doubles as they are, in base64: NaN and infinities too, which JSON has no word for.

    Those at equal distances, as steps are, by the first, the distance and how many.
    """
    doubles = np.ascontiguousarray(numbers, dtype="<f8")
    if doubles.ndim == 1 and doubles.size > 2 and np.isfinite(doubles[:2]).all():
        first, by = doubles[0], doubles[1] - doubles[0]
        if np.array_equal(first + by * np.arange(doubles.size), doubles):
            return [float(first), float(by), doubles.size]
    return b64encode(doubles.tobytes()).decode()


def _kept(count: int, marked: Any = ()) -> np.ndarray:
    """The rows of so many that are carried: every one, or every n-th, the last, and those that are marked."""
    return np.unique([*range(0, count, -(-count // MOST) or 1), *range(count)[-1:], *marked]).astype(int)


def _scene(title: str, scene: Scene, colors: _Colors) -> dict[str, Any]:
    panel = Panel(title, scene.cut, scene.paths, None, True)
    require_walked(scene.paths, scene.lookaheads)
    x, y, values = grid(scene.cut)
    wide, high = np.ptp(x), np.ptp(y)
    equal = max(wide, high) <= OBLONG * min(wide, high)
    notes = [scene.note, f"Leaving the slice: {gone}." if (gone := leaving(panel)) else None]
    notes += [f"Not finite: {lost}."] if (lost := _lost(scene.paths)) else []
    notes += [] if equal else ["The axes are not to the same scale."]
    return {
        "title": title,
        "labels": [*map(str, scene.cut.labels), "x", "y"][:2],
        "quantity": str(scene.cut.quantity),
        "note": "\n".join(note for note in notes if note),
        "precision": _precision(scene),
        "names": _names(scene),
        **{name: _packed(field) for name, field in (("x", x), ("y", y), ("values", values))},
        "shape": float(np.clip(high / wide, 1 / OBLONG, OBLONG)) if equal else 0.6,
        "equal": bool(equal),
        **_ground(x, y, values, scene.levels if scene.levels is not None else clipped_levels(panel), colors),
        "every": pace(panel) if scene.paths else 1,
        "pace": told_pace([panel]) if scene.paths else "",
        "paths": [_path(name, path, scene.lookaheads.get(name)) for name, path in scene.paths.items()],
        "curves": [*(_curve(label, series) for label, series in scene.curves.items()), *_hidden(panel)],
    }


def _lost(paths: Mapping[str, Any]) -> str:
    """Which paths stop being finite, and where."""
    kept = {name: finite_rows(path) for name, path in paths.items()}
    ends = {name: steps(paths[name])[length] for name, length in kept.items() if length < len(points(paths[name]))}
    return ", ".join(f"{name} from step {step:,.0f}" for name, step in ends.items())


def _path(name: str, path: Any, ahead: Any) -> dict[str, Any]:
    """Up to where it stops being finite."""
    xy, length = points(path), finite_rows(path)
    hidden = getattr(path, "residual", None)
    rows = _kept(length)
    return {
        "name": name,
        "steps": _packed(steps(path)[rows]),
        "at": _packed(xy[rows]),
        "hidden": None if hidden is None else _packed(np.asarray(hidden)[rows]),
        "ahead": None if ahead is None else _packed(looked_ahead(path, ahead)[rows]),
        "lost": None if length == len(xy) else float(steps(path)[length]),
    }


def _curve(label: str, series: Mapping[str, Series]) -> dict[str, Any]:
    decades = log_ratio([np.asarray(values, np.float64) for _, values, *_ in series.values()])
    made = [_series(name, *of_one) for name, of_one in series.items()]
    return {"label": label, "log": bool(decades > 10), "off": False, "series": made}


def _series(name: str, step: Any, values: Any, marks: Any = (), spread: Any = None) -> dict[str, Any]:
    del spread  # a band of each would hide the others on a screen
    step, values = np.asarray(step, np.float64), np.asarray(values, np.float64)
    if step.shape != values.shape or step.ndim != 1:
        raise ValueError(f"{name!r} has steps of shape {step.shape} and values {values.shape}: give both as (T,)")
    rows = _kept(step.size, np.flatnonzero(np.isin(step, marks)))
    return {"name": name, "steps": _packed(step[rows]), "values": _packed(values[rows]), "marks": _packed(marks)}


def _hidden(panel: Panel) -> list[dict[str, Any]]:
    """The distance of the paths from the plane, where it can be seen; its numbers are with the paths."""
    return [{"label": "distance off the plane", "log": False, "off": True, "series": []}] if hides(panel) else []


def _precision(scene: Scene) -> str:
    """What is said of the numbers."""
    series = (of_one[0] for panel in scene.curves.values() for of_one in panel.values())
    longest = max([*map(len, map(points, scene.paths.values())), *map(len, series)], default=0)
    said = [
        f"The loss between the {np.size(scene.cut.x)} \u00d7 {np.size(scene.cut.y)} points of the slice is linear "
        "along both axes; the numbers are carried in double precision and shown to 4 digits."
    ]
    if longest > MOST:
        said.append(f"Of paths and curves of more than {MOST:,} rows, as many at equal distances are carried.")
    return " ".join(said)


# The ground.


def _ground(x: np.ndarray, y: np.ndarray, values: np.ndarray, levels: Any, colors: _Colors) -> dict[str, Any]:
    """What lies above each level, to be painted over what lies below it, and the cells that are not finite."""
    known = np.ma.masked_invalid(values)
    hatch = _cells(x, y, np.ma.getmaskarray(known))
    if known.mask.all():
        return {"base": 0, "regions": [], "bar": None, "hatch": hatch}
    edges = np.asarray(levels, np.float64)
    if edges.ndim != 1 or edges.size < 2 or not (np.diff(edges) > 0).all():
        raise ValueError(f"levels is {edges.tolist()}: give at least two increasing numbers")
    under, over = bool(known.min() < edges[0]), bool(known.max() > edges[-1])
    shades = _shades(edges, under, over, colors)
    lowest = edges if under else edges[1:]
    generator = contour_generator(
        _placed(x), UNIT - _placed(y), known, corner_mask=False, fill_type=FillType.ChunkCombinedOffset
    )
    regions = [[shade, _region(generator, level)] for shade, level in zip(shades[1:], lowest, strict=False)]
    return {
        "base": shades[0],
        "regions": [region for region in regions if region[1]],
        "bar": {
            "edges": edges.tolist(),
            "colors": shades,
            "ticks": round_ticks(edges, TICKS).tolist(),
            "under": under,
            "over": over,
        },
        "hatch": hatch,
    }


def _shades(edges: np.ndarray, under: bool, over: bool, colors: _Colors) -> list[int]:
    """The colours of the bands from below, those of `draw_contours`."""
    extend = {(0, 0): "neither", (0, 1): "max", (1, 0): "min", (1, 1): "both"}[under, over]
    norm = BoundaryNorm(edges, style.LANDSCAPE.N, extend=extend)
    inner = edges[:-1] + 0.5 * np.diff(edges)
    inside = [-np.inf] * under + inner.tolist() + [np.inf] * over
    places = [norm(value) for value in inside]
    return [colors.number(*(to_hex(ground(at)) for ground in (style.LANDSCAPE, style.NIGHTSCAPE))) for at in places]


def _placed(axis: np.ndarray) -> np.ndarray:
    return (axis - axis[0]) / (axis[-1] - axis[0]) * UNIT


def _region(generator: Any, level: float) -> str:
    (found,), (offsets,) = generator.filled(level, np.finfo(np.float64).max)
    if found is None:
        return ""
    places = np.rint(found).astype(int)
    return "".join(_ring(places[one:two]) for one, two in pairwise(offsets))


def _ring(places: np.ndarray) -> str:
    """A closed line as an SVG path: whole numbers, each from the one before."""
    moves = np.diff(places, axis=0)
    moves = moves[moves.any(axis=1)]
    if len(moves) < 3:
        return ""
    (x, y), rest = places[0], " ".join(map(str, moves[:-1].ravel().tolist()))
    return f"M{x} {y}l{rest}z".replace(" -", "-")


def _cells(x: np.ndarray, y: np.ndarray, missing: np.ndarray) -> str:
    """The cells of the grid with a corner that is not finite, in runs along the rows."""
    broken = missing[:-1, :-1] | missing[1:, :-1] | missing[:-1, 1:] | missing[1:, 1:]
    across, up = (np.rint(_placed(axis)).astype(int) for axis in (x, y))
    said = []
    for row in np.flatnonzero(broken.any(axis=1)):
        turns = np.flatnonzero(np.diff(broken[row].astype(int), prepend=0, append=0))
        top, bottom = UNIT - up[row + 1], UNIT - up[row]
        said += [f"M{across[one]} {top}H{across[two]}V{bottom}H{across[one]}z" for one, two in turns.reshape(-1, 2)]
    return "".join(said)
