"""Where to cut: the axes of lines and planes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import jax
import numpy as np

from nagviz.landscape.parameters import BLOCK, Params, blocks, combine, leaves_like, real_rows, reals, team_of
from nagviz.landscape.peers import of_first
from nagviz.landscape.plane import Plane, spanned
from nagviz.landscape.shards import is_split, total
from nagviz.landscape.trajectory import Trajectory, last


def pca_plane(*trajectories: Trajectory, origin: Params | None = None, centred: bool | None = None) -> Plane:
    """The plane of the two principal components of one path, or of several together.

    With R the (snapshots, parameters) matrix of all differences from the origin, the axes are R's first two
    right singular vectors. They come from the eigenvectors w of the small Gram matrix R R', as R' w / sigma (or of
    R' R, where there are fewer parameters than snapshots), so that nothing of the size of the larger of the two
    squared is made, and no copy of the path in float64.

    Args:
        trajectories: paths over the same parameters. Leaves may be arrays on disk (see `open_trajectory`).
        origin: the point that the plane goes through; if given, `centred` says nothing. Where it is split over
            devices, so are the axes, and each process reads its own part of the paths alone; the processes, all of
            which call this, add up their shares of the Gram matrix.
        centred: go through the mean of all snapshots, which hides the least squared distance of any plane,
            instead of the end of the (first) path (Li et al. 2018). By default for several paths only.

    Returns:
        A plane with orthonormal axes, each turned so that its largest coordinate along the paths is
        positive, and `.explained`: each axis's share of sum |theta_t - origin|^2.

    Raises:
        ValueError: no trajectory; paths over unlike parameters (the first differing path is named); a snapshot
            that is not finite; paths that do not move in two directions.

    Example:
        >>> import numpy as np, nagviz as nv
        >>> points = np.array([[4.0, 0.0, 1.0], [2.0, 2.0, 1.0], [0.0, 0.0, 1.0]])
        >>> plane = nv.pca_plane(nv.Trajectory(np.arange(3), points))
        >>> print(plane.labels)
        ('PC 1 (87.3% of path variance)', 'PC 2 (12.7% of path variance)')
        >>> print(nv.project(plane, points).residual.round(6))
        [0. 0. 0.]

    Source: Li, Xu, Taylor, Studer, Goldstein (2018), section 7.2.
    """
    if not trajectories:
        raise ValueError("trajectories must hold at least one path, got none")
    like = "origin"
    if origin is None:
        origin, like = last(trajectories[0]), "the end of trajectories[0]"
        if centred or (centred is None and len(trajectories) > 1):
            origin = _mean(origin, _snapshots(origin, trajectories, like))
    paths = _snapshots(origin, trajectories, like)
    weights, explained = _principal(origin, paths)
    labels = tuple(f"PC {i} ({share:.1%} of path variance)" for i, share in enumerate(explained, 1))
    return Plane(origin, combine(origin, weights, *paths), labels, tuple(explained))


def _snapshots(origin: Params, trajectories: Sequence[Trajectory], like: str) -> list[tuple[list, int]]:
    paths = []
    for i, (steps, params) in enumerate(trajectories):
        leaves, stacked = leaves_like(origin, params, f"trajectories[{i}].params", like)
        if stacked != len(steps):
            raise ValueError(
                f"trajectories must have leaves (snapshots, *shape) with {len(steps)} snapshots, one a step, "
                f"got {'one point' if stacked is None else stacked}; stack_snapshots makes them"
            )
        paths.append((leaves, stacked))
    return paths


def _mean(like: Params, paths: list[tuple[list, int]]) -> Params:
    leaves, structure = jax.tree.flatten(like)
    count = sum(snapshots for _, snapshots in paths)
    if any(map(is_split, leaves)):
        return jax.tree.map(lambda leaf, far: leaf + far, like, *combine(like, np.full((count, 1), 1 / count), *paths))

    def mean(leaf, *stacks):
        total = sum(np.sum(np.asarray(stack), axis=0, dtype=np.result_type(leaf, np.float64)) for stack in stacks)
        return (total / count).astype(leaf.dtype)

    return jax.tree.unflatten(structure, list(map(mean, leaves, *(stacks for stacks, _ in paths))))


def _principal(origin: Params, paths: list[tuple[list, int]]) -> tuple[np.ndarray, list[float]]:
    """Weights (snapshots, 2) that turn the rows of R into two unit axes, and their shares of the variance."""
    ends = jax.tree.leaves(origin)
    few = sum(map(reals, ends)) < sum(snapshots for _, snapshots in paths)
    few = few and not any(is_split(leaf) for leaves in (ends, *(path for path, _ in paths)) for leaf in leaves)
    products = _covariance(origin, paths) if few else _gram(origin, paths)
    values, vectors = np.linalg.eigh(products)
    values, vectors = values[:-3:-1], vectors[:, :-3:-1]
    if len(values) < 2 or values[1] <= 1e-14 * np.trace(products):
        raise ValueError(
            "trajectories must move in at least two directions to span a plane; "
            "give a longer path, or a plane through given points"
        )
    along = np.concatenate([rows @ vectors for rows in _rows(origin, paths)]) / np.sqrt(values) if few else vectors
    # The coordinates of the snapshots on an axis are sigma w: fix the sign by the largest of them.
    signs = np.sign(along[np.argmax(np.abs(along), axis=0), [0, 1]])
    weights = of_first(team_of((ends, 1), *paths), signs * along / np.sqrt(values))
    return weights, (values / np.trace(products)).tolist()


def _gram(origin, paths) -> np.ndarray:
    """R R', summed over blocks of columns, and over the processes where the paths are split over these."""
    trees, count = ((jax.tree.leaves(origin), 1), *paths), sum(snapshots for _, snapshots in paths)
    products = np.zeros((count, count))
    with np.errstate(invalid="ignore", over="ignore"):
        for centre, *rows in blocks(*trees):
            difference = np.concatenate(rows) - centre
            products = products + difference @ difference.T
        products = total(team_of(*trees), products)
    _require_finite(np.diag(products))
    return products


def _covariance(origin, paths) -> np.ndarray:
    """R' R, summed over blocks of snapshots."""
    _require_finite(np.concatenate([rows.sum(axis=1) for rows in _rows(origin, paths)]))
    return sum(rows.T @ rows for rows in _rows(origin, paths))


def _rows(origin, paths) -> Iterator[np.ndarray]:
    """R as float64, a block of snapshots at a time: for few parameters."""
    centre = np.concatenate([real_rows(leaf, 1) for leaf in jax.tree.leaves(origin)], axis=1, dtype=np.float64)
    size = max(1, BLOCK // max(1, centre.size))
    for leaves, snapshots in paths:
        for first in range(0, snapshots, size):
            last = min(first + size, snapshots)
            parts = [real_rows(leaf[first:last], last - first) for leaf in leaves]
            with np.errstate(invalid="ignore", over="ignore"):
                yield np.concatenate(parts, axis=1, dtype=np.float64) - centre


def _require_finite(sums: np.ndarray) -> None:
    """One number for each snapshot, which is not finite where the snapshot is not."""
    if not np.all(np.isfinite(sums)):
        bad = int(np.flatnonzero(~np.isfinite(sums))[0])
        raise ValueError(f"trajectories must be finite, but snapshot {bad} is not; leave it out")


def points_plane(start: Params, end: Params, third: Params | None = None) -> Plane:
    """The line through two points, or the plane through three.

    The first axis is u = end - start, so that the coordinate runs from 0 to 1 between them; the second is the part
    of third - start at right angles to it,

        v = (third - start) - s u,    s = <u, third - start> / <u, u>

    so that the points lie at (0, 0), (1, 0) and (s, 1), with residual 0.

    Args:
        start: the origin.
        end: another point over the same parameters.
        third: a third one, for a plane.

    Raises:
        ValueError: trees that differ (the first path is named), points that coincide or lie on a line, or are
            not finite.

    Example:
        >>> import numpy as np, nagviz as nv
        >>> p = np.array([[1.0, 1.0, 1.0], [3.0, 1.0, 1.0], [2.0, 5.0, 1.0]])
        >>> plane = nv.points_plane(*p)
        >>> print(nv.project(plane, p).coordinates)
        [[0.  0. ]
         [1.  0. ]
         [0.5 1. ]]

    Source: Goodfellow, Vinyals, Saxe (2015) for the line; Garipov, Izmailov, Podoprikhin, Vetrov, Wilson (2018),
    section 3, for the plane.
    """
    given = {"end": end} if third is None else {"end": end, "third": third}
    trees = [_one_point(start, point, name) for name, point in given.items()]
    differences = combine(start, np.eye(len(trees)), *trees)
    products = spanned(Plane(start, differences), "the differences of the points from start", "start")
    labels = ("from start to end", "towards the third point")
    if third is None:
        return Plane(start, differences, labels[:1])
    share = products[0, 1] / products[0, 0]
    return Plane(start, combine(start, np.array([[1.0, -share], [0.0, 1.0]]), *trees), labels)


def _one_point(origin: Params, point: Params, name: str) -> tuple[list, int]:
    leaves, stacked = leaves_like(origin, point, name, "start")
    if stacked is not None:
        raise ValueError(f"{name} must be one point, got {stacked} stacked ones; pick one of them")
    return leaves, 1


def step_plane(params: Params, velocity: Params, step: Params) -> Plane:
    """The plane of one Nesterov step, in which all of it lies exactly.

    Its origin is the look-ahead point y_t, its axes are the velocity s_t = y_t - x_t and the step d_t, so that

        x_t at (-1, 0)    y_t at (0, 0)    x_{t+1} = y_t + d_t at (0, 1)
        y_{t+1} = x_{t+1} + mu (s_t + d_t) at (mu, 1 + mu)

    A heavy-ball step y_{t+1} = y_t + s_t + d_t lies in it too, but takes its gradient at y_t alone.

    Args:
        params: y_t, the point at which the gradient is taken.
        velocity: s_t, such as `velocity(state, params)`.
        step: d_t, the base optimizer's whole step at y_t; for SGD minus learning rate times gradient.

    Raises:
        ValueError: trees that differ (the first path is named); a velocity or step that is zero, as the velocity is
            before the first step and after a restart; the two parallel.

    Example:
        >>> import jax.numpy as jnp, nagviz as nv
        >>> y, s, d = jnp.array([1.0, 1.0, 0.0]), jnp.array([0.5, 0.0, 0.0]), jnp.array([0.0, -1.0, 2.0])
        >>> seen = nv.project(nv.step_plane(y, s, d), jnp.stack([y - s, y + d + 0.9 * (s + d)]))
        >>> print(seen.coordinates.round(6), seen.residual.max() < 1e-6)
        [[-1.   0. ]
         [ 0.9  1.9]] True

    Source: the recursion of `nesterov_lookahead` with alpha = 1 and gamma = 0.
    """
    plane = Plane(params, (velocity, step), ("velocity s", "step d"))
    spanned(plane, "(velocity, step)", "params")
    return plane
