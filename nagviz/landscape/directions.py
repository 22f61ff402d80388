"""Where to cut: the axes of lines and planes."""

from __future__ import annotations

import jax
import numpy as np

from nagviz.landscape.parameters import Params, blocks, combine, leaves_like
from nagviz.landscape.plane import Plane
from nagviz.landscape.trajectory import Trajectory, last


def pca_plane(*trajectories: Trajectory, origin: Params | None = None, centred: bool | None = None) -> Plane:
    """The plane of the two principal components of one path, or of several together.

    With R the (snapshots, parameters) matrix of all differences from the origin, the axes are R's first two
    right singular vectors. They come from the eigenvectors w of the small Gram matrix R R', as R' w / sigma,
    so that nothing of the size of the parameters squared is made, and no copy of the path in float64.

    Args:
        trajectories: paths over the same parameters. Leaves may be arrays on disk (see `open_trajectory`).
        origin: the point that the plane goes through; if given, `centred` says nothing.
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
    if origin is None:
        centred = len(trajectories) > 1 if centred is None else centred
        origin = _mean(trajectories) if centred else last(trajectories[0])
    paths = [_snapshots(origin, trajectory) for trajectory in trajectories]
    weights, explained = _principal(_gram(origin, paths))
    labels = tuple(f"PC {i} ({share:.1%} of path variance)" for i, share in enumerate(explained, 1))
    return Plane(origin, combine(origin, weights, *paths), labels, tuple(explained))


def _snapshots(origin: Params, trajectory: Trajectory) -> tuple[list, int]:
    leaves, stacked = leaves_like(origin, trajectory.params)
    if stacked is None:
        raise ValueError("trajectories must have leaves (snapshots, *shape), got one point; stack_snapshots makes them")
    return leaves, stacked


def _mean(trajectories):
    count = sum(len(trajectory.steps) for trajectory in trajectories)

    def leaf(*paths):
        total = sum(np.sum(path, axis=0, dtype=np.result_type(path, np.float64)) for path in map(np.asarray, paths))
        return (total / count).astype(paths[0].dtype)

    return jax.tree.map(leaf, *(trajectory.params for trajectory in trajectories))


def _gram(origin, paths) -> np.ndarray:
    """R R', summed over blocks of columns."""
    total = 0.0
    with np.errstate(invalid="ignore", over="ignore"):
        for centre, *rows in blocks((jax.tree.leaves(origin), 1), *paths):
            difference = np.concatenate(rows) - centre
            total = total + difference @ difference.T
    if not np.all(np.isfinite(total)):
        bad = int(np.flatnonzero(~np.isfinite(np.diag(total)))[0])
        raise ValueError(f"trajectories must be finite, but snapshot {bad} is not; leave it out")
    return total


def _principal(gram: np.ndarray) -> tuple[np.ndarray, list[float]]:
    """Columns w / sigma that turn rows into two unit axes, and their shares of the variance."""
    values, vectors = np.linalg.eigh(gram)
    values, vectors = values[:-3:-1], vectors[:, :-3:-1]
    if len(values) < 2 or values[1] <= 1e-14 * np.trace(gram):
        raise ValueError(
            "trajectories must move in at least two directions to span a plane; "
            "give a longer path, or a plane through given points"
        )
    # The coordinates of the snapshots on an axis are sigma w: fix the sign by the largest of them.
    signs = np.sign(vectors[np.argmax(np.abs(vectors), axis=0), [0, 1]])
    return signs * vectors / np.sqrt(values), (values / np.trace(gram)).tolist()
