"""Planes through the paths of a run."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np

from nagviz import landscape
from nagviz.experiment.outcomes import Shown
from nagviz.experiment.problems import Problem, Standpoint, window
from nagviz.experiment.trials import AHEAD, load, load_projected

Paths = dict[str, landscape.Trajectory]


def _through_paths(problem: Problem, paths: Paths, around: str, seed: int) -> tuple[landscape.Plane, Paths]:
    """The principal components of all paths."""
    del problem, around, seed
    return landscape.pca_plane(*paths.values()), paths


def _along_random(problem: Problem, paths: Paths, around: str, seed: int) -> tuple[landscape.Plane, Paths]:
    """Two filter-normalised Gaussian directions."""
    del problem
    return landscape.random_plane(_end(paths[around]), seed), {around: paths[around]}


def _along_curvature(problem: Problem, paths: Paths, around: str, seed: int) -> tuple[landscape.Plane, Paths]:
    """The eigenvectors of the Hessian's two largest eigenvalues."""
    loss = problem.judged or problem.loss
    plane = landscape.hessian_plane(loss, _end(paths[around]), batches=problem.data, key=seed)
    return plane, {around: paths[around]}


def _through_ends(problem: Problem, paths: Paths, around: str, seed: int) -> tuple[landscape.Plane, Paths]:
    """The ends of three paths, that of `around` first."""
    del problem, seed
    names = [around, *(name for name in paths if name != around)][:3]
    if len(names) < 3:
        raise ValueError(f"needs the ends of three paths, got those of {', '.join(names)}")
    ends = {name: jax.tree.map(lambda leaf: leaf[-1:], paths[name]) for name in names}
    return landscape.points_plane(*(_end(path) for path in ends.values())), ends


PLANES = {
    "pca": _through_paths,
    "random": _along_random,
    "hessian": _along_curvature,
    "points": _through_ends,
}
KEPT = "projection"  # the plane of a run whose config has a table of this name
UNIT = {"random": 1.0}  # how far to go where the paths do not say: a filter's own length


class View(NamedTuple):
    """A plane, and what is seen on it."""

    plane: landscape.Plane
    paths: Paths  # those that it is about
    seen: dict[str, landscape.Projection]  # them, projected
    ranges: list[tuple[float, float]]  # ends of x and y

    @property
    def walk(self) -> tuple[float, ...]:
        """What random walks as long would show on the axes, where these are principal components of the paths."""
        return landscape.random_walk(*(path.steps for path in self.paths.values())) if self.plane.explained else ()


def stand(problem: Problem, shown: Shown, standpoint: Standpoint) -> View:
    """The plane of a standpoint.

    Args:
        problem: whose loss is to be cut.
        shown: the paths that stayed finite.
        standpoint: which plane; that in which the paths are kept, where these have no points.

    Raises:
        ValueError: the paths do not span it.
    """
    if shown.recorded is not None:
        plane, paths, seen = problem.plane_through(problem.start), shown.paths, shown.recorded
    else:
        around = standpoint.around or next(iter(shown.paths))
        plane, paths = PLANES[standpoint.kind](problem, shown.paths, around, standpoint.seed or 0)
        seen = {name: landscape.project(plane, path) for name, path in paths.items()}
    reach = standpoint.reach or UNIT.get(standpoint.kind)
    points = np.concatenate([path.coordinates for path in seen.values()])
    return View(plane, paths, seen, [(-reach, reach)] * 2 if reach else window(points, problem.margin))


def kept_lookaheads(problem: Problem, view: View, files: Mapping[str, Path]) -> dict[str, np.ndarray]:
    """(T, 2) look-ahead points beside the rows that are seen; of the paths that keep them and look ahead.

    Args:
        problem: which the paths are of.
        view: of them.
        files: of the paths, by rival.

    Raises:
        Refusal: a path is missing or damaged.
    """
    if not problem.lookahead:
        return {}
    if problem.projection is not None:
        recorded = {name: load_projected(files[name], problem.start).points for name in view.seen}
        pairs = {name: [points[point].coordinates for point in _BOTH] for name, points in recorded.items()}
        return {name: y for name, (x, y) in pairs.items() if not np.array_equal(x, y)}
    kept = {name: [load(files[name], problem.start, point=point)[0] for point in _BOTH] for name in view.seen}
    moved = {name: y for name, (x, y) in kept.items() if not jax.tree.all(jax.tree.map(np.array_equal, x, y))}
    seen = {name: np.isin(y.steps, view.seen[name].steps) for name, y in moved.items()}
    return {name: landscape.project(view.plane, y).coordinates[seen[name]] for name, y in moved.items()}


_BOTH = ("params", AHEAD)


def _end(path: landscape.Trajectory):
    return jax.tree.map(lambda leaf: np.asarray(leaf[len(path.steps) - 1]), path.params)
