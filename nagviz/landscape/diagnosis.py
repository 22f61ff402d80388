"""Is the picture all right? What a slice hides, and what to do about it.

A path on a contour is the path's shadow. How far the path runs off the plane, and how far the slice under it is from
the loss that it really had, decide what may be read off; a high share of explained variance alone does not. The path
of a random walk in many dimensions, which knows no loss at all, shows on its first two principal components

    about its mean      6/pi^2 = 61% and 15%     eigenvalues 1/(k pi)^2 of k = 1, 2, ..., of 1/6 in all
    from its end        8/pi^2 = 81% and  9%     eigenvalues 1/((k - 1/2) pi)^2, of 1/2 in all

of its squared distances (Antognini and Sohl-Dickstein 2018 give the first), and Lissajous figures.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from nagviz.landscape.plane import Projection
from nagviz.landscape.slicing import Slice

RANDOM_WALK = {
    "from its end": tuple(2 / ((k - 0.5) * math.pi) ** 2 for k in (1, 2)),
    "about its mean": tuple(6 / (k * math.pi) ** 2 for k in (1, 2)),
}
# What is worth a warning.
OFF_PLANE = 0.1  # median residual, as a share of the distance from the origin
MISMATCH = 0.05  # median |slice - loss| / |loss|
CLIPPED = 0.5  # of all cells
MARGIN = 0.05  # of the path's extent, between the path and the edge
CLIMB = 0.1  # of the path's descent, in one step of the grid from its end
_ROOM = 0.2  # of the path's extent: the margin that is advised

_STATISTICS = {
    "kept": "as the loss holds them at every point; if they are running averages, they are those of the origin alone",
    "batch": "of each batch, as in training",
    "recomputed": "recomputed at every point",
}


class Finding(NamedTuple):
    """One thing that was looked at."""

    numbers: dict[str, float]  # NaN where it could not be told
    text: str
    advice: str = ""  # what to do about it; empty where all is well


class Diagnosis(NamedTuple):
    """What a slice and a path on it were found to be; print it for a summary."""

    off_plane: Finding  # the distance that the plane hides along the path
    mismatch: Finding  # slice against true loss under the path
    explained: Finding  # variance of the path along the axes
    statistics: Finding  # where batch norm's come from; no text where there is none
    cells: Finding  # clipped, NaN, infinite
    range: Finding  # whether it holds the path
    resolution: Finding  # whether the grid resolves the valley in which the path ends

    @property
    def warnings(self) -> dict[str, Finding]:
        """The findings with advice, by name."""
        return {name: finding for name, finding in self._asdict().items() if finding.advice}

    def __str__(self) -> str:
        lines = []
        for name, finding in self._asdict().items():
            if not finding.text:
                continue
            mark = "!" if finding.advice else " "
            lines.append(f"{mark} {name.replace('_', ' '):<11} {finding.text}")
            if finding.advice:
                lines.append(f"{'':14}-> {finding.advice}")
        return "\n".join(lines)


_ENOUGH = 600  # snapshots, which more do not change in the second digit


def random_walk(*steps: np.ndarray, centred: bool | None = None) -> tuple[float, float]:
    """What the axes of `pca_plane` explain of random walks, which know no loss: the reference for a picture of paths.

    In many dimensions walks from one start have the inner products min(s, t) at steps s and t of one walk, and 0
    between two. The shares are the two largest eigenvalues of that matrix, moved to the origin of the plane, over its
    trace. Walks of several paths share out their variance among more directions than one does.

    Args:
        steps: of the snapshots of each path, increasing; only their ratios matter.
        centred: as for `pca_plane`: about the mean of all snapshots, or from the end of the (first) path.

    Returns:
        The shares of the first and the second axis; 0 where there is no such.

    Raises:
        ValueError: no steps.

    Example:
        >>> import numpy as np, nagviz as nv
        >>> print(np.round(nv.random_walk(np.arange(1001)), 3))
        [0.811 0.09 ]
        >>> print(np.round(nv.random_walk(*5 * [np.arange(1001)]), 3))
        [0.187 0.187]

    Source: Antognini and Sohl-Dickstein (2018), for one walk about its mean.
    """
    if not steps or not all(np.size(path) for path in steps):
        raise ValueError("steps must hold the steps of at least one path, and each at least one step")
    few = [_thinned(np.asarray(path, np.float64), max(20, _ENOUGH // len(steps))) for path in steps]
    walk, at = np.repeat(np.arange(len(few)), list(map(len, few))), np.concatenate(few)
    products = np.where(walk[:, None] == walk, np.minimum(at[:, None], at), 0.0)
    if centred or (centred is None and len(few) > 1):
        products = products - products.mean(0) - products.mean(1)[:, None] + products.mean()
    else:
        end = len(few[0]) - 1
        products = products - products[end] - products[:, end, None] + products[end, end]
    values, total = np.linalg.eigvalsh(products)[::-1], np.trace(products)
    first, second = (np.append(values, 0.0)[:2] / total).clip(0).tolist() if total > 0 else (0.0, 0.0)
    return first, second


def _thinned(steps: np.ndarray, count: int) -> np.ndarray:
    return steps[np.linspace(0, len(steps) - 1, min(len(steps), count)).astype(int)]


def diagnose(
    cut: Slice,
    path: Projection,
    *,
    losses: np.ndarray | None = None,
    metric: str | None = None,
    clip: float | None = None,
    batch_norm: bool = False,
    principal: bool = True,
) -> Diagnosis:
    """Look at a slice and at a path on it: may the picture be believed?

    Args:
        cut: the slice.
        path: the path, projected onto the slice's plane.
        losses: (points,) the loss that the path really had, of the same data as the slice.
        metric: which of several quantities; by default the first.
        clip: the value from which cells are drawn as one colour.
        batch_norm: whether the loss has such, so that where its statistics come from is told even of a slice that
            kept them; no slice knows whether there are any to keep.
        principal: whether the axes are principal components of the path, as those of `pca_plane` are; what they show of
            a random walk is no reference for others.

    Returns:
        A record of findings with numbers and advice; `print` it.

    Raises:
        ValueError: a path of one point, or of other axes than the slice's; losses that are not one for each point;
            a metric that the slice does not have.

    Example:
        >>> import numpy as np, nagviz as nv
        >>> plane = nv.Plane(np.zeros(3), (np.eye(3)[0], np.eye(3)[1]))
        >>> points = np.array([[2.0, 1.0, 0.5], [1.0, 0.5, 0.25], [0.0, 0.0, 0.0]])
        >>> cut = nv.evaluate(lambda w: (w**2).sum() + 1, plane, np.linspace(-1, 3, 41), np.linspace(-1, 3, 41))
        >>> print(nv.diagnose(cut, nv.project(plane, points), losses=(points**2).sum(1) + 1, clip=10.0))
        ! off plane   median 21.8%, at most 21.8% of the distance from the origin is hidden
                      -> read lengths and angles with care; try pca_plane of this path alone, or a shorter stretch of it
          mismatch    slice under the path is off the true loss by 2.7% in the median, by -4.0% at worst
          explained   76.2% + 19.0% of the path; a random walk from its end shows 81.1% + 9.0%
          cells       14.9% clipped, 0.0% NaN, 0.0% infinite
          range       holds 100.0% of the path, with a margin of 50.0% of its extent
          resolution  one step of the grid from the path's end climbs 0.2% of the path's descent

    Source: Li et al. (2018), section 7.2; Antognini and Sohl-Dickstein (2018).
    """
    values = _values(cut, metric)
    points = np.asarray(path.coordinates, np.float64)
    if points.ndim != 2 or points.shape[1] != values.ndim or not len(points):
        raise ValueError(
            f"path must have coordinates of shape (points, {values.ndim}) on the slice's axes, got {points.shape}"
        )
    grid = (cut.x,) if cut.y is None else (cut.x, cut.y)
    return Diagnosis(
        off_plane=_off_plane(path),
        mismatch=_mismatch(_under(grid, values, points), losses),
        explained=_explained(path, principal),
        statistics=_statistics(cut.statistics, batch_norm),
        cells=_cells(values, clip),
        range=_range(grid, points),
        resolution=_resolution(grid, values, points),
    )


def _values(cut: Slice, metric: str | None) -> np.ndarray:
    if not isinstance(cut.values, Mapping):
        if metric not in (None, cut.quantity):
            raise ValueError(
                f"metric must be left out or {cut.quantity!r}, which is all that the slice has, got {metric!r}"
            )
        return cut.values
    if metric is not None and metric not in cut.values:
        raise ValueError(f"metric must be one of {[*cut.values]}, got {metric!r}")
    return cut.values[metric or next(iter(cut.values))]


def _off_plane(path: Projection) -> Finding:
    share = np.full(1, np.nan) if path.share is None else np.asarray(path.share)
    numbers = {"median": _median(share), "largest": _of_finite(np.max, share)}
    return Finding(
        numbers,
        f"median {_percent(numbers['median'])}, at most {_percent(numbers['largest'])} "
        "of the distance from the origin is hidden",
        "read lengths and angles with care; try pca_plane of this path alone, or a shorter stretch of it"
        if numbers["median"] > OFF_PLANE
        else "",
    )


def _mismatch(under: np.ndarray, losses: Any) -> Finding:
    if losses is None:
        return Finding({"median": math.nan, "worst": math.nan}, "not looked at: give the path's true losses")
    losses = np.asarray(losses, np.float64)
    if losses.shape != under.shape:
        raise ValueError(f"losses must be {len(under)} numbers, one for each point of the path, got {losses.shape}")
    with np.errstate(invalid="ignore", divide="ignore"):
        off = np.where(under == losses, 0.0, (under - losses) / np.abs(losses))
    known, nothing = np.isfinite(off), ~np.isfinite(under) & ~np.isfinite(losses)  # a path that is not finite itself
    off, lost = off[known], float(np.mean(~known & ~nothing))
    worst = off[np.argmax(np.abs(off))].item() if off.size else math.nan
    numbers = {"median": float(np.median(np.abs(off))) if off.size else math.nan, "worst": worst, "not compared": lost}
    said = f"slice under the path is off the true loss by {_percent(numbers['median'])} in the median, "
    said += f"by {_percent(worst, '+')} at worst"
    if lost:
        said += f"; {_percent(lost)} of the path cannot be compared: outside, or slice or loss not finite"
    advice = []
    if numbers["median"] > MISMATCH:
        advice.append("colour the path by its true losses, and do not read them off the contour")
    if lost:
        advice.append("take a range that holds the path and on which the loss is finite")
    return Finding(numbers, said, "; ".join(advice))


def _explained(path: Projection, principal: bool) -> Finding:
    if not path.explained or len(path.coordinates) < 2:
        return Finding({}, "not known: give the path as one trajectory of several points")
    shares = {f"axis {i}": share for i, share in enumerate(path.explained, 1)}
    if not principal:
        return Finding(shares, f"{' + '.join(map(_percent, path.explained))} of the path")
    scale = np.nanmax(np.abs(path.coordinates), initial=0)
    ends = bool(np.all(np.abs(path.coordinates[-1]) <= 1e-6 * scale))
    origin = "from its end" if ends else "about its mean"
    walk = RANDOM_WALK[origin][: len(path.explained)]
    found, reference = (" + ".join(map(_percent, shares)) for shares in (path.explained, walk))
    return Finding(
        shares | {f"random walk {i}": share for i, share in enumerate(walk, 1)},
        f"{found} of the path; a random walk {origin} shows {reference}",
        "this is no more than the plane through a random walk shows: do not read a direction into it"
        if sum(path.explained) <= sum(walk)
        else "",
    )


def _statistics(mode: str, batch_norm: bool) -> Finding:
    return Finding({}, f"of batch norm: {_STATISTICS.get(mode, mode)}" if batch_norm or mode != "kept" else "")


def _cells(values: np.ndarray, clip: float | None) -> Finding:
    nan, infinite = float(np.mean(np.isnan(values))), float(np.mean(np.isinf(values)))
    with np.errstate(invalid="ignore"):
        clipped = math.nan if clip is None else float(np.mean(np.isfinite(values) & (values > clip)))
    advice = []
    if nan + infinite > 0:
        advice.append("narrow the range, or look at how the loss overflows there")
    if clipped > CLIPPED:
        advice.append("narrow the range, or clip higher")
    told = "clip not given" if clip is None else f"{_percent(clipped)} clipped"
    return Finding(
        {"clipped": clipped, "nan": nan, "infinite": infinite},
        f"{told}, {_percent(nan)} NaN, {_percent(infinite)} infinite",
        "; ".join(advice),
    )


def _range(grid: tuple[np.ndarray, ...], points: np.ndarray) -> Finding:
    finite = points[np.isfinite(points).all(axis=1)]
    if not len(finite):
        return Finding({"held": 0.0, "margin": math.nan}, "holds nothing: no point of the path is finite")
    ends = np.array([[axis[0], axis[-1]] for axis in grid])
    low, high = finite.min(0), finite.max(0)
    extent = max(float(np.max(high - low)), np.finfo(float).tiny)
    held = float(np.mean(np.all((finite >= ends[:, 0]) & (finite <= ends[:, 1]), axis=1)))
    margin = float(np.min([low - ends[:, 0], ends[:, 1] - high])) / extent
    wanted = ", ".join(
        f"{name} from {a - _ROOM * extent:.3g} to {b + _ROOM * extent:.3g}"
        for name, a, b in zip("xy", low, high, strict=False)
    )
    return Finding(
        {"held": held, "margin": margin},
        f"holds {_percent(held)} of the path, "
        + ("which is one point" if np.all(high == low) else f"with a margin of {_percent(margin)} of its extent"),
        f"evaluate {wanted}" if margin < MARGIN else "",
    )


def _resolution(grid: tuple[np.ndarray, ...], values: np.ndarray, points: np.ndarray) -> Finding:
    """How much of the path's whole descent one step of the grid from its end climbs."""
    finite = points[np.isfinite(points).all(axis=1)]
    climb = math.nan
    if len(finite) and values.size > 1:
        start, end = _under(grid, values, finite[[0, -1]])
        steps = np.diag([np.mean(np.diff(axis)) if len(axis) > 1 else math.nan for axis in grid])
        around = _under(grid, values, finite[-1] + np.concatenate([steps, -steps]))
        climb = _of_finite(np.max, around - end) / (start - end) if start > end else math.nan
    if not math.isfinite(climb):
        return Finding({"climb": math.nan}, "not told: the slice does not descend along the path")
    # Near a minimum the climb goes with the square of the step.
    wanted = max(math.ceil(len(axis) * math.sqrt(max(climb, 0) / CLIMB)) for axis in grid)
    return Finding(
        {"climb": climb},
        f"one step of the grid from the path's end climbs {_percent(climb)} of the path's descent",
        f"the valley is narrower than the grid resolves: take about {wanted} points a side, or a smaller range"
        if climb > CLIMB
        else "",
    )


def _under(grid: tuple[np.ndarray, ...], values: np.ndarray, points: np.ndarray) -> np.ndarray:
    """The slice under each point, linear between the grid's points and NaN outside."""
    cells = [_cell(axis, points[:, i]) for i, axis in enumerate(grid)]
    (column, right, across), *rest = cells
    if not rest:
        return _between(values[column], values[right], across)
    row, above, along = rest[0]
    below = _between(values[row, column], values[row, right], across)
    return _between(below, _between(values[above, column], values[above, right], across), along)


def _cell(axis: np.ndarray, at: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Neighbours on an axis, and where between them; NaN outside."""
    left = np.clip(np.searchsorted(axis, at, side="right") - 1, 0, max(len(axis) - 2, 0))
    right = np.minimum(left + 1, len(axis) - 1)
    width = np.where(right > left, axis[right] - axis[left], 1.0)
    share = (at - axis[left]) / width
    return left, right, np.where((share >= 0) & (share <= (right > left)), share, np.nan)


def _between(a: np.ndarray, b: np.ndarray, share: np.ndarray) -> np.ndarray:
    """Not a + 0 (b - a): an infinite neighbour does not matter to a point on the other one."""
    with np.errstate(invalid="ignore"):
        return np.select([share == 0, share == 1], [a, b], (1 - share) * a + share * b)


def _median(numbers: np.ndarray) -> float:
    return _of_finite(np.median, numbers)


def _of_finite(of, numbers: np.ndarray) -> float:
    finite = numbers[np.isfinite(numbers)]
    return float(of(finite)) if finite.size else math.nan


def _percent(share: float, sign: str = "") -> str:
    return "unknown" if math.isnan(share) else f"{share:{sign}.1%}"
