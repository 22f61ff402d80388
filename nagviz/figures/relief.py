"""A slice in three dimensions, the paths lifted onto it, and its contours on the floor.

The camera stands where it sees most of the paths: what is behind a hill is found by looking from each of their points
towards it. Hidden parts of a path are drawn faintly.

>>> from typing import NamedTuple
>>> class Cut(NamedTuple):
...     x: np.ndarray
...     y: np.ndarray
...     values: np.ndarray
...     labels: tuple = ("PC 1", "PC 2")
...     quantity: str = "loss"
>>> x = y = np.linspace(-1, 1, 21)
>>> figure = surface(Cut(x, y, x**2 + 4 * y[:, None] ** 2), {"NAG": [[0.8, 0.6], [0.1, 0.0]]})
>>> figure.axes[0].get_zlabel()
'loss'
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.artist import Artist
from matplotlib.colors import BoundaryNorm
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator
from mpl_toolkits.mplot3d import Axes3D
from mpl_toolkits.mplot3d.art3d import Line3D, Poly3DCollection

from nagviz.figures import style
from nagviz.figures.contour import beyond
from nagviz.figures.grids import read
from nagviz.figures.key import draw_key, wrapped
from nagviz.figures.levels import loss_levels, round_ticks, tick_text
from nagviz.figures.panels import Panel, leaving, overlaid
from nagviz.figures.path import finite_rows, points
from nagviz.figures.style import Figure, Look

HIGH = 0.62  # height of the relief to its longer side
FLOOR = 0.45  # how far under the lowest point the floor lies, in heights
LOG = 30.0  # ratio of the highest to the lowest level, above which heights are logarithms
DRAPE = 400  # points of a path on the relief
LIFT = 0.006  # of the box: by which a path stands above the relief
AZIMUTHS = tuple(quarter + turn for quarter in (-90, 0, 90, 180) for turn in (25, 35, 45, 55, 65))  # degrees
ELEVATIONS = (28, 38, 50)
USUAL = -55  # degrees: the azimuth that readers are used to
LOOKS = 48  # points of a line of sight that are tested
SIGHTS = 80  # points of all paths from which a camera is tried
SPREAD, ODD = 0.25, 0.05  # what a wide view, and an unusual one, count beside the share that is seen
NARROW = 0.5  # the least ratio of the sides
SIDE = 0.6  # of the width: roughly the side of the floor
SHAPE = 0.85  # height to width of the figure, without its key
BESIDE = 0.6  # of the padding of a label, in points of the heights' numbers that it stands beside
LONG = 26  # characters: a label that takes two lines
TITLE_ROOM = 0.2  # inches
PASSES = 5
SUN = 60  # degrees: from the camera to the light
SHADE = 0.3  # how much darker a slope is that no light falls on
EDGE = 0.06  # inches of paper around everything
FAINT = 0.5  # opacity of what is behind a hill


class Camera(NamedTuple):
    """From where to look, in degrees."""

    azimuth: float
    elevation: float


class Relief(NamedTuple):
    """A slice as a body."""

    x: np.ndarray  # (columns,)
    y: np.ndarray  # (rows,)
    z: np.ndarray  # (rows, columns): losses, or their logarithms, cut off at the last level
    levels: np.ndarray  # of the loss
    log: bool  # whether heights are logarithms
    box: np.ndarray  # (3,): its sides as they are seen

    def lifted(self, xy: np.ndarray) -> np.ndarray:
        """(n, 3): the points on the relief above coordinates; NaN where there is none."""
        return np.column_stack([xy, read(self, self.z, xy)])

    @property
    def size(self) -> np.ndarray:
        """(3,): its sides in its coordinates."""
        tall = float(np.nanmax(self.z) - np.nanmin(self.z))
        return np.array([np.ptp(self.x), np.ptp(self.y), tall or abs(float(np.nanmin(self.z))) or 1.0])


class DrawnSurface(NamedTuple):
    """What `draw_surface` has drawn."""

    body: Poly3DCollection | None  # None where no loss is finite
    seen: dict[str, Line3D]  # by name, of each path what is in front
    hidden: dict[str, Line3D]  # and what is behind a hill
    camera: Camera


def sculpted(cut: Any, levels: Sequence[float] | np.ndarray | None = None) -> Relief:
    """A slice as a body: heights are losses, or their logarithms where these are positive and span decades.

    Args:
        cut: a slice.
        levels: as for `draw_contours`; higher than the last one nothing rises.

    Raises:
        ValueError: a slice that is a line, or that has no finite value.
    """
    x, y, values = (np.asarray(field, dtype=np.float64) for field in (cut.x, cut.y, cut.values))
    if values.ndim != 2 or min(values.shape) < 2:
        raise ValueError(f"cut.values has shape {values.shape}: a surface needs two rows and columns at the least")
    levels = np.asarray(loss_levels(values) if levels is None else levels, dtype=np.float64)
    finite = np.isfinite(values)
    log = values[finite].min() > 0 and levels[-1] > LOG * values[finite].min()
    cropped = np.minimum(np.where(finite, values, np.nan), levels[-1])
    across = np.array([np.ptp(x), np.ptp(y)]) / max(np.ptp(x), np.ptp(y))
    box = np.array([*np.maximum(across, NARROW), HIGH])
    return Relief(x, y, np.log10(cropped) if log else cropped, levels, bool(log), box)


def is_seen(body: Relief, at: np.ndarray, camera: Camera) -> np.ndarray:
    """Which points (n, 3) nothing of the body stands in front of, for a camera far away."""
    turn, rise = np.radians(camera)
    way = np.array([np.cos(rise) * np.cos(turn), np.cos(rise) * np.sin(turn), np.sin(rise)])
    reach = np.geomspace(LIFT, np.linalg.norm(body.box), LOOKS)
    sight = at[:, None] + [0.0, 0.0, LIFT * body.size[2] / body.box[2]] + reach[:, None] * (way / body.box * body.size)
    ground = read(body, body.z, sight[..., :2].reshape(-1, 2)).reshape(sight.shape[:2])
    return ~(ground > sight[..., 2]).any(axis=1)  # what is not finite hides nothing


def best_camera(body: Relief, paths: Sequence[np.ndarray]) -> Camera:
    """Where most of the lifted paths is seen, and seen at length.

    Args:
        body: of `sculpted`.
        paths: (n, 3) each, in its coordinates.
    """
    every = np.concatenate([np.empty((0, 3)), *paths])
    every = every[np.isfinite(every).all(axis=1)]
    every = every[:: max(1, len(every) // SIGHTS)]
    cameras = [Camera(azimuth, rise) for rise in ELEVATIONS for azimuth in AZIMUTHS]
    if not len(every):
        return Camera(USUAL, ELEVATIONS[0])
    return max(cameras, key=lambda camera: _worth(body, every, camera))


def _worth(body: Relief, at: np.ndarray, camera: Camera) -> float:
    """The share of points that is seen; of equal ones, the view in which they spread most and that is most usual."""
    turn, rise = np.radians(camera)
    boxed = at / body.size * body.box
    across = np.array([-np.sin(turn), np.cos(turn), 0.0])
    up = np.array([-np.sin(rise) * np.cos(turn), -np.sin(rise) * np.sin(turn), np.cos(rise)])
    spread = np.sqrt(np.var(boxed @ across) + np.var(boxed @ up)) / (np.sqrt(np.var(boxed, axis=0).sum()) or 1.0)
    odd = 1 - np.cos(np.radians(camera.azimuth - USUAL))
    low = (camera.elevation - ELEVATIONS[0]) / 90
    return float(is_seen(body, at, camera).mean() + SPREAD * spread - ODD * odd - 0.3 * low)


def draw_surface(
    ax: Axes3D,
    cut: Any,
    paths: Mapping[str, Any],
    looks: Mapping[str, Look],
    *,
    levels: Sequence[float] | np.ndarray | None = None,
    camera: Camera | None = None,
) -> DrawnSurface:
    """The relief of a slice, its contours on the floor, and paths lifted onto it.

    Args:
        ax: axes in three dimensions.
        cut: a slice.
        paths: by name: (T, 2) coordinates, or records with `.coordinates`.
        looks: by name.
        levels: as for `draw_contours`.
        camera: by default the one that sees most of the paths.
    """
    body = sculpted(cut, levels)
    draped = {name: body.lifted(dense(points(path))) for name, path in paths.items()}
    camera = camera or best_camera(body, list(draped.values()))
    ax.computed_zorder = False
    ax.set_proj_type("ortho")
    ax.view_init(camera.elevation, camera.azimuth)
    _draw_box(ax, body, cut)
    _draw_floor(ax, body, cut)
    faces = _draw_body(ax, body, camera)
    drawn = [_draw_path(ax, body, draped[name], _ends(path, looks[name]), camera) for name, path in paths.items()]
    seen, hidden = (dict(zip(paths, lines, strict=True)) for lines in zip(*drawn, strict=True)) if drawn else ({}, {})
    return DrawnSurface(faces, seen, hidden, camera)


def dense(xy: np.ndarray) -> np.ndarray:
    """The path, (T, 2), as far as it is finite, with so many points that it lies on the relief between its own."""
    xy = xy[: finite_rows(xy)]
    arc = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(xy, axis=0), axis=1))])
    at = np.union1d(arc, np.linspace(0, arc[-1], DRAPE))
    return np.column_stack([np.interp(at, arc, column) for column in xy.T])


def _draw_box(ax: Axes3D, body: Relief, cut: Any) -> None:
    low, tall = float(np.nanmin(body.z)), float(body.size[2])
    _draw_panes(ax, cut)
    ax.set_zlim(low - FLOOR * tall, low + tall)
    ax.set_box_aspect(body.box * [1, 1, 1 + FLOOR])
    ticks = round_ticks(body.levels, 4) if body.log else MaxNLocator(4).tick_values(low, low + tall)
    places = np.log10(ticks) if body.log else ticks
    seen = (places >= low - 1e-9 * tall) & (places <= low + 1.001 * tall)
    ax.set_zticks(places[seen], labels=[tick_text(tick) for tick in ticks[seen]])
    room = max((style.text_width(tick_text(tick), math=True) for tick in ticks[seen]), default=0.0)
    quantity = wrapped(cut.quantity, 1.3)
    pad = BESIDE * room - 8 + 5 * quantity.count("\n")
    ax.set_zlabel(quantity, labelpad=pad, parse_math=False, fontsize=style.SMALL)
    ax.zaxis.set_tick_params(pad=0)


def _draw_panes(ax: Axes3D, cut: Any) -> None:
    """The paper behind the relief, and what its sides are."""
    ax.set(xlim=(np.min(cut.x), np.max(cut.x)), ylim=(np.min(cut.y), np.max(cut.y)))
    for axis in (ax.xaxis, ax.yaxis):
        axis.set_major_locator(MaxNLocator(6, prune="both"))  # in a corner two ends would meet
    words = {"parse_math": False, "fontsize": style.SMALL}
    ax.set_xlabel(wrapped(cut.labels[0], 1.5), labelpad=-7 + 7 * (len(cut.labels[0]) > LONG), **words)
    ax.set_ylabel(wrapped(cut.labels[1], 1.5), labelpad=-7 + 7 * (len(cut.labels[1]) > LONG), **words)
    for axis in (ax.xaxis, ax.yaxis, ax.zaxis):
        axis.set_pane_color(style.PAPER)
        axis.pane.set_edgecolor(style.GRID["color"])
        axis.line.set(color=style.INK, linewidth=style.FRAME_WIDTH)
        axis._axinfo["grid"].update(color=style.GRID["color"], linewidth=0.4)
        axis.set_tick_params(pad=-3, labelsize=style.SMALL)


def _draw_floor(ax: Axes3D, body: Relief, cut: Any) -> None:
    """The contours of the slice as it is: of what is cut off they would follow the grid in steps."""
    edges, values = body.levels, np.asarray(cut.values, np.float64)
    extend = beyond(values, edges)
    fills = np.append(edges[0] - 0.5 * (edges[1] - edges[0]), edges[1:])
    flat = {"zdir": "z", "offset": float(np.nanmin(body.z) - FLOOR * body.size[2]), "zorder": 0}
    norm, shown = BoundaryNorm(edges, style.LANDSCAPE.N, extend=extend), np.ma.masked_invalid(values)
    ax.contourf(body.x, body.y, shown, levels=fills, norm=norm, cmap=style.LANDSCAPE, extend=extend, **flat)
    lines = ax.contour(body.x, body.y, shown, levels=edges[1:], colors=style.CONTOUR, linestyles="solid", **flat)
    lines.set(linewidth=style.CONTOUR_WIDTH, alpha=style.CONTOUR_ALPHA)


def _draw_body(ax: Axes3D, body: Relief, camera: Camera) -> Poly3DCollection:
    losses = 10**body.z if body.log else body.z
    x, y = np.meshgrid(body.x, body.y)
    shares = np.interp(losses, body.levels, np.linspace(0, 1, body.levels.size))  # bands would have ragged edges
    colors = style.LANDSCAPE(shares)
    colors[..., :3] *= _light(body, camera)[..., None]
    corners = _quads(np.stack([x, y, body.z], axis=-1))
    whole = np.isfinite(corners).all(axis=(1, 2))
    faces = Poly3DCollection(
        corners[whole], facecolors=_quads(colors)[whole].mean(axis=1), linewidths=0, antialiased=False, zorder=1
    )
    faces.set_rasterized(True)
    return ax.add_collection3d(faces)


def _quads(grid: np.ndarray) -> np.ndarray:
    """(cells, 4, parts): the corners of each cell of a grid, (rows, columns, parts)."""
    cells = np.stack([grid[:-1, :-1], grid[:-1, 1:], grid[1:, 1:], grid[1:, :-1]], axis=2)
    return cells.reshape(-1, *cells.shape[2:])


def _light(body: Relief, camera: Camera) -> np.ndarray:
    """Brightness of the relief, (rows, columns), with the sun over the camera's left shoulder."""
    unit = body.size / body.box
    down, right = np.gradient(body.z / unit[2], body.y / unit[1], body.x / unit[0])
    normals = np.stack([-right, -down, np.ones_like(right)], axis=-1)
    turn = np.radians(camera.azimuth - SUN)
    sun = np.array([np.cos(turn), np.sin(turn), 1.0]) / np.sqrt(2)
    bright = normals @ sun / np.linalg.norm(normals, axis=-1)
    return np.nan_to_num(1 - SHADE + SHADE * np.clip(bright, 0, 1), nan=1.0)


class _Ends(NamedTuple):
    """How a path begins and ends."""

    look: Look
    start: dict[str, Any]
    end: dict[str, Any]


def _ends(path: Any, look: Look) -> _Ends:
    is_whole = finite_rows(path) == len(points(path))
    return _Ends(look, style.start(look), style.star(look) if is_whole else style.cross(look))


def _draw_path(ax: Axes3D, body: Relief, draped: np.ndarray, ends: _Ends, camera: Camera) -> tuple[Line3D, Line3D]:
    look = ends.look
    raised = draped + np.array([0.0, 0.0, LIFT * body.size[2] / body.box[2]])
    front = is_seen(body, draped, camera)
    near = np.where((front | np.append(front[1:], False))[:, None], raised, np.nan)
    (far,) = ax.plot(*np.where(front[:, None], np.nan, raised).T, alpha=FAINT, **style.core(look))
    ax.plot(*near.T, **style.halo(look))
    (line,) = ax.plot(*near.T, **style.core(look))
    for end, mark in ((draped[:1], ends.start), (draped[-1:], ends.end)):
        if np.isfinite(end).all():
            ax.plot(*end.T, ls="", zorder=style.ENDS + look.order, **mark)
    return line, far


def surface(
    cut: Any,
    paths: Mapping[str, Any] | None = None,
    *,
    width: float = style.COLUMN,
    levels: Sequence[float] | np.ndarray | None = None,
    camera: Camera | None = None,
    title: str | None = None,
    note: str | None = None,
    looks: Mapping[str, Look] | None = None,
) -> Figure:
    """A slice in three dimensions, with its paths on it and its contours on the floor.

    Args:
        cut: a slice: `x`, `y`, `values` (rows are y), `labels` of the axes and `quantity`.
        paths: by name: (T, 2) coordinates, or a record with `.coordinates`.
        width: inches.
        levels: as for `landscape`; the last one is where the relief is cut off.
        camera: azimuth and elevation in degrees; by default where most of the paths is seen.
        title: above the figure.
        note: small text under what the figure says of itself.
        looks: `looks(names)` of the whole run.

    Raises:
        ValueError: a slice that is a line.
    """
    paths = paths or {}
    table = style.resolve(paths, looks)
    with style.context():
        figure = Figure(figsize=(width, SHAPE * width))
        ax = figure.add_subplot(projection="3d")
        if np.isfinite(cut.values).any():
            draw_surface(ax, cut, paths, table, levels=levels, camera=camera)
        else:
            _draw_panes(ax, cut)
            ax.set_zticks([])
            ax.text2D(0.5, 0.5, "no finite loss on this slice", transform=ax.transAxes, **style.NOTICE)
        if title:
            figure.suptitle(title, fontsize=style.TITLE, parse_math=False)
        names = {name: Line2D([], [], **style.curve(look)) for name, look in table.items()}
        under = overlaid([Panel("", cut, paths, None, True)], SIDE * width, table)
        said = [*_said(cut, paths, levels), *filter(None, [under, note])]
        draw_key(figure, names, hints=_hints(paths), note="\n".join(said))
        _fit(figure, ax)
    return figure


def _fit(figure: Figure, ax: Axes3D) -> None:
    """Make the axes as large as the page allows with their labels, and the page as high as they need."""
    width, height = figure.get_size_inches()
    strip = figure.get_layout_engine().get()["rect"][1] * height
    head = TITLE_ROOM if figure.get_suptitle() else 0.0
    figure.set_layout_engine("none")
    side, corner = 0.8 * width, np.array([0.1 * width, strip])
    heavy = [artist for artist in ax.collections if artist.get_visible()]
    for artist in heavy:  # they lie within the box, and take their time
        artist.set_visible(False)
    for _ in range(PASSES):
        ax.set_position([*(corner / [width, height]), side / width, side / height])
        figure.draw_without_rendering()
        box = ax.get_tightbbox().extents / figure.dpi
        height = strip + head + box[3] - box[1] + 2 * EDGE
        figure.set_size_inches(width, height)
        grow = (width - 2 * EDGE - (box[2] - box[0])) / (side + 0.01)
        corner = corner + np.array([EDGE - box[0], strip + EDGE - box[1]])
        side *= 1 + 0.9 * grow
    ax.set_position([*(corner / [width, height]), side / width, side / height])
    for artist in heavy:
        artist.set_visible(True)


def _hints(paths: Mapping[str, Any]) -> dict[str, Artist]:
    marks = {"start": style.start(style.NEUTRAL), "end": style.star(style.NEUTRAL)} if paths else {}
    if not all(np.isfinite(points(path)).all() for path in paths.values()):
        marks["not finite from here"] = style.cross(style.NEUTRAL)
    return {what: Line2D([], [], ls="", **mark) for what, mark in marks.items()}


def _said(cut: Any, paths: Mapping[str, Any], levels: Any) -> list[str]:
    values = np.asarray(cut.values, np.float64)
    finite = values[np.isfinite(values)]
    said = []
    if finite.size:
        top = float((loss_levels(values) if levels is None else np.asarray(levels))[-1])
        said += [f"The relief is cut off at {top:g}."] if finite.max() > top else []
    if gone := leaving(Panel("", cut, paths, None, True)):
        said += [f"Leaving the slice: {gone}."]
    return said + (["Holes: the loss is not finite."] if finite.size < values.size else [])
