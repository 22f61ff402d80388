"""Between the points of a grid: smooth interpolation by exact gradients, and grids that refine where they must.

With values, gradients and the mixed derivative at its corners, a cell holds one bicubic polynomial, and
neighbours agree along their common edge in value and slope: the surface is C1. In one direction,

    f(t) = H0(t) f_0 + H1(t) f_1 + h (D0(t) f_0' + D1(t) f_1')
    H0 = (1 + 2 t)(1 - t)^2,   H1 = t^2 (3 - 2 t),   D0 = t (1 - t)^2,   D1 = t^2 (t - 1)
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import jax
import numpy as np

from nagviz.landscape.plane import Plane
from nagviz.landscape.slicing import Slice, axis_of, identity_of, require_alike
from nagviz.landscape.spreading import apart, team_of_mesh, workers_of
from nagviz.landscape.surface import Question, arrange, ask, tabulator
from nagviz.landscape.sweep import Effort, require_effort
from nagviz.landscape.tiles import fingerprint


class Refined(NamedTuple):
    """A full grid of which part was evaluated."""

    cut: Slice  # values at all grid points: evaluated, or interpolated to the tolerance
    evaluated: np.ndarray  # (rows, columns) of bool: which are exact
    worst: float  # of the cells that were accepted, the greatest error seen, in units of what was allowed

    @property
    def saved(self) -> int:
        """How many evaluations the full grid would have taken beyond those made."""
        return int(self.evaluated.size - self.evaluated.sum())


def interpolate(cut: Slice, x: np.ndarray, y: np.ndarray | None = None) -> Slice:
    """A slice with gradients, carried over to other points by a C1 interpolation.

    Along a line by cubic Hermite polynomials, of error h^4 max|f''''| / 384; on a plane by bicubic ones, whose
    mixed derivatives are differences of the gradients. A cell with a corner that is not finite is not finite.

    Args:
        cut: a slice of one quantity that `evaluate` made with `gradient=True`.
        x: coordinates within its own.
        y: likewise; left out on a line.

    Returns:
        A slice at x and y, its gradient that of the interpolation.

    Raises:
        ValueError: no gradient, several quantities, or a point outside.

    Example:
        >>> import jax.numpy as jnp, numpy as np, nagviz as nv
        >>> line = nv.Plane(jnp.zeros(1), (jnp.ones(1),))
        >>> coarse = nv.evaluate(lambda w: jnp.sum(w**3), line, [0.0, 1.0, 2.0], gradient=True)
        >>> print(nv.interpolate(coarse, [0.5, 1.5]).values)
        [0.125 3.375]
    """
    if cut.gradient is None or isinstance(cut.values, dict):
        raise ValueError("cut must hold one quantity and its gradient; evaluate it with gradient=True")
    x, y = _within("x", x, cut.x), None if cut.y is None else _within("y", y, cut.y)
    cells_x, along_x = _places(cut.x, x)
    if y is None:
        corners = np.stack([cut.values, cut.gradient[:, 0]], -1)[cells_x[:, None] + [0, 1]]
        values, slope = (np.einsum("nck,nck->n", corners, along_x[order]) for order in (0, 1))
        return cut._replace(x=x, values=values, gradient=slope[:, None], work=None)
    cells_y, along_y = _places(cut.y, y)
    corners = _nodes(cut.values, cut.gradient, _mixed(cut))
    corners = corners[(cells_y[:, None] + [0, 1])[:, None, :, None], (cells_x[:, None] + [0, 1])[None, :, None, :]]
    values, *slopes = (
        np.einsum("ijabkl,iak,jbl->ij", corners, along_y[b], along_x[a]) for a, b in ((0, 0), (1, 0), (0, 1))
    )
    return cut._replace(x=x, y=y, values=values, gradient=np.stack(slopes, -1), work=None)


def _within(name: str, coordinates, known: np.ndarray) -> np.ndarray:
    if coordinates is None:
        raise ValueError(f"{name} must be given, since the slice is of a plane")
    axis = axis_of(name, coordinates)
    if axis[0] < known[0] or axis[-1] > known[-1]:
        raise ValueError(f"{name} must lie within {known[0]} and {known[-1]}, the slice's own, got {coordinates}")
    if len(known) < 2:
        raise ValueError(f"cut must have at least two points along {name} to interpolate between")
    return axis


def _places(known: np.ndarray, axis: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The cell of each point, and its weights (value or derivative, points, corner, value or slope there)."""
    cells = np.clip(np.searchsorted(known, axis, side="right") - 1, 0, len(known) - 2)
    width = known[cells + 1] - known[cells]
    return cells, _hermite((axis - known[cells]) / width, width)


def _hermite(t: np.ndarray, h: np.ndarray) -> np.ndarray:
    """Weights of the corners' values and slopes, for the value and for the derivative: (2, n, 2, 2)."""
    values = [[(1 + 2 * t) * (1 - t) ** 2, h * t * (1 - t) ** 2], [t**2 * (3 - 2 * t), h * t**2 * (t - 1)]]
    rise = 6 * t * (1 - t) / h
    slopes = [[-rise, (1 - t) * (1 - 3 * t)], [rise, t * (3 * t - 2)]]
    return np.moveaxis(np.array([values, slopes]), -1, 1)


def _nodes(values, gradient, mixed) -> np.ndarray:
    """At each node f, f_x, f_y and f_xy, as (..., order in y, order in x)."""
    rows = np.stack([values, gradient[..., 0]], -1), np.stack([gradient[..., 1], mixed], -1)
    return np.stack(rows, -2)


def _mixed(cut: Slice) -> np.ndarray:
    """f_xy by differences of f_x along y and of f_y along x, of second order."""
    along_y = _slope(cut.gradient[..., 0], cut.y, 0)
    along_x = _slope(cut.gradient[..., 1], cut.x, 1)
    return (along_x + along_y) / 2


def _slope(values: np.ndarray, axis: np.ndarray, along: int) -> np.ndarray:
    with np.errstate(invalid="ignore"):
        return np.gradient(values, axis, axis=along, edge_order=min(2, len(axis) - 1))


@apart()
def refine(
    loss: Callable[..., Any],
    plane: Plane,
    x: np.ndarray,
    y: np.ndarray,
    *,
    tolerance: float = 1e-2,
    least: float = 0.0,
    stride: int = 8,
    batches: Iterable[Any] | None = None,
    quantity: str = "loss",
    effort: Effort = Effort(),  # noqa: B008
    mesh: jax.sharding.Mesh | None = None,
    report: Callable[[int, int], None] = lambda done, total: None,
) -> Refined:
    """Fill a grid by evaluating only where the surface bends.

    The grid is laid out in cells of `stride` steps, with f, f_x, f_y and f_xy at their corners, all exact. Each
    cell's bicubic interpolant is compared with the loss and its gradient at the cell's middle, and the cell is
    accepted if

        |df| + (w |df_x| + h |df_y|) / 8  <=  (tolerance |f| + least) / 2,

    w and h its sides and |f| the least of its corners; otherwise, or where something is not finite, it is split
    in four there and the parts are judged in the same way. It stops when all cells are accepted or hold no
    further grid point. The middle stands for the cell: on smooth surfaces the whole grid was seen to be within
    0.8 of the tolerance, on one with many kinks within 1.3. What is narrower than the first cells and shows at
    no corner or middle is not found.

    Args:
        loss: as for `evaluate`; a scalar.
        plane: a plane.
        x: coordinates of the full grid.
        y: likewise.
        tolerance: relative error that is accepted.
        least: absolute error that is accepted besides.
        stride: grid steps in the sides of the first cells.
        batches: as for `evaluate`.
        quantity: the name of the values.
        effort: memory, and how to go about it.
        mesh: devices to spread the points over, as for `evaluate`.
        report: called with the number of grid points settled and their total.

    Returns:
        The slice on the full grid, which points of it were evaluated (each costs about four
        evaluations without derivatives), and the greatest error seen in accepted cells as a share of what was allowed.

    Raises:
        ValueError: as for `evaluate`; a tolerance or a stride that is not positive.

    Example:
        >>> import jax.numpy as jnp, numpy as np, nagviz as nv
        >>> plane = nv.Plane(jnp.zeros(2), (jnp.array([1.0, 0.0]), jnp.array([0.0, 1.0])))
        >>> axis = np.linspace(-1, 1, 33)
        >>> seen = nv.refine(lambda w: jnp.exp(w[0]) + w[1] ** 2, plane, axis, axis, tolerance=1e-3)
        >>> seen.saved, seen.evaluated.size
        (1048, 1089)
    """
    if not tolerance >= 0 or not least >= 0 or not tolerance + least > 0 or stride < 1:
        raise ValueError(
            f"tolerance and least must not be negative nor both zero, and stride at least 1, "
            f"got {tolerance}, {least}, {stride}"
        )
    x, y = axis_of("x", x), axis_of("y", y)
    if len(plane.axes) != 2:
        raise ValueError(f"plane must have two axes to be refined over, got {len(plane.axes)}")
    asked = ask(Question({quantity: loss}, batches, order=2), plane, mesh)
    if len(asked.quantities) != 1:
        raise ValueError(f"loss must be one scalar to refine by, got {asked.quantities}")
    effort, team = require_effort(effort), team_of_mesh(mesh)
    if team.count > 1:
        rule = fingerprint(rule=f"{tolerance} {least} {stride}")
        require_alike(identity_of(asked, [x, y], for_store=False) | rule, team)
    trial = arrange(asked, max(1, len(x) * len(y) // 4 // workers_of(mesh)), effort)
    known = _Known(np.full((len(y), len(x), 4), np.nan), np.zeros((len(y), len(x)), bool))
    tabulate = tabulator(asked, trial.plan, max(0, effort.budget - trial.bytes), mesh=mesh)

    cells, accepted, worst = _first_cells(len(y), len(x), stride), [], 0.0
    _evaluate(known, tabulate, x, y, _corners(cells))
    while len(cells):
        middles = (cells[:, 0] + cells[:, 1]) // 2, (cells[:, 2] + cells[:, 3]) // 2
        open_ = (cells[:, 1] - cells[:, 0] > 1) | (cells[:, 3] - cells[:, 2] > 1)
        _evaluate(known, tabulate, x, y, tuple(m[open_] for m in middles))
        error = _errors(known, x, y, cells, middles) / _allowed(known, cells, tolerance, least)
        good = ~open_ | (error <= 1)
        worst = max([worst, *error[good & open_]])
        accepted.append(cells[good])
        cells = _quarters(cells[~good])
        _evaluate(known, tabulate, x, y, _corners(cells))
        report(len(x) * len(y) - _inside(cells), len(x) * len(y))
    values = _filled(known, x, y, np.concatenate(accepted))
    return Refined(Slice(x, y, values, plane.labels, quantity, None, asked.mode), known.evaluated, float(worst))


class _Known(NamedTuple):
    """What has been evaluated so far, filled in place."""

    table: np.ndarray  # (rows, columns, f and f_x and f_y and f_xy)
    evaluated: np.ndarray  # (rows, columns)


def _first_cells(rows: int, columns: int, stride: int) -> np.ndarray:
    """Cells as (first row, last row, first column, last column)."""
    edges = [np.unique([*range(0, n - 1, stride), n - 1]) for n in (rows, columns)]
    bounds = [np.stack([e[:-1], e[1:]], 1) if len(e) > 1 else np.array([[0, 0]]) for e in edges]
    return np.array([[*row, *column] for row in bounds[0] for column in bounds[1]])


def _quarters(cells: np.ndarray) -> np.ndarray:
    """Each cell split at its middle, in the directions in which it has one."""
    parts = []
    for top, bottom, left, right in cells:
        row, column = (top + bottom) // 2, (left + right) // 2
        rows = [(top, row), (row, bottom)] if row > top else [(top, bottom)]
        columns = [(left, column), (column, right)] if column > left else [(left, right)]
        parts += [[*r, *c] for r in rows for c in columns]
    return np.array(parts, int).reshape(-1, 4)


def _inside(cells: np.ndarray) -> int:
    return int(((cells[:, 1] - cells[:, 0]) * (cells[:, 3] - cells[:, 2])).sum())


def _corners(cells: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return cells[:, [0, 0, 1, 1]].ravel(), cells[:, [2, 3, 2, 3]].ravel()


def _evaluate(known: _Known, tabulate, x, y, where: tuple[np.ndarray, np.ndarray]) -> None:
    """Evaluate the points of these that are not known yet."""
    fresh = np.unique(np.stack(where, 1)[~known.evaluated[where]], axis=0)
    if len(fresh):
        rows, columns = fresh.T
        known.table[rows, columns] = tabulate(np.stack([x[columns], y[rows]], 1))[:, 0]
        known.evaluated[rows, columns] = True


def _interpolant(known: _Known, x, y, cells: np.ndarray, rows, columns) -> np.ndarray:
    """Of each cell at its own point: value and slopes (n, 3)."""
    (top, bottom, left, right), table = cells.T, known.table
    width, height = _side(x, left, right), _side(y, top, bottom)
    corner = table[np.stack([[top, top], [bottom, bottom]]), np.stack([[left, right], [left, right]])]
    corner = np.moveaxis(corner, 2, 0)  # (n, row, column, 4)
    nodes = _nodes(corner[..., 0], corner[..., 1:3], corner[..., 3])
    weights_x = _hermite((x[columns] - x[left]) / width, width)
    weights_y = _hermite((y[rows] - y[top]) / height, height)
    parts = [np.einsum("nabkl,nak,nbl->n", nodes, weights_y[b], weights_x[a]) for a, b in ((0, 0), (1, 0), (0, 1))]
    return np.stack(parts, -1)


def _side(axis: np.ndarray, first, last) -> np.ndarray:
    """The length of a side; 1 where a grid is a single point wide, whose derivatives there count for nothing."""
    return np.where(last > first, axis[last] - axis[first], 1.0)


def _errors(known: _Known, x, y, cells, middles) -> np.ndarray:
    """|df| + (w |df_x| + h |df_y|) / 8 at the middles; infinite where something is not finite."""
    with np.errstate(invalid="ignore"):
        apart = np.abs(_interpolant(known, x, y, cells, *middles) - known.table[middles][:, :3])
    width, height = x[cells[:, 3]] - x[cells[:, 2]], y[cells[:, 1]] - y[cells[:, 0]]
    error = apart[:, 0] + (width * apart[:, 1] + height * apart[:, 2]) / 8
    return np.where(np.isfinite(error), error, np.inf)


def _allowed(known: _Known, cells, tolerance: float, least: float) -> np.ndarray:
    """Half of what the tolerance is at the corner with the least value: the middle is not all of a cell."""
    corners = np.abs(known.table[..., 0][_corners(cells)]).reshape(-1, 4)
    allowed = tolerance * corners.min(axis=1) + least
    return np.where(np.isfinite(allowed) & (allowed > 0), allowed, np.finfo(float).tiny) / 2


def _filled(known: _Known, x, y, cells: np.ndarray) -> np.ndarray:
    """Values at all grid points: as evaluated, or else of the cell's interpolant."""
    values = known.table[..., 0].copy()
    for cell in cells:
        rows, columns = (m.ravel() for m in np.mgrid[cell[0] : cell[1] + 1, cell[2] : cell[3] + 1])
        unknown = ~known.evaluated[rows, columns]
        rows, columns = rows[unknown], columns[unknown]
        repeated = np.repeat(cell[None], len(rows), 0)
        values[rows, columns] = _interpolant(known, x, y, repeated, rows, columns)[:, 0]
    return values
