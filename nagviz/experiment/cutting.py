"""Slices of a finished run on planes of one's choice, and whether they may be believed."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np

from nagviz import figures, landscape
from nagviz.experiment import drawing, report
from nagviz.experiment.config import load
from nagviz.experiment.problems import Problem, cut, make_problems, window
from nagviz.experiment.report import Refusal


class Request(NamedTuple):
    """What to cut."""

    plane: str = "pca"  # a key of `PLANES`
    grid: int = 51  # points on each side
    problem: str | None = None  # by name; the last of the run if left out, which is the one on data
    around: str | None = None  # the optimizer at whose end the plane stands; the first if left out
    reach: float | None = None  # from the origin to each side; as far as the paths go if left out
    seed: int = 0  # of random directions


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
    plane = landscape.hessian_plane(problem.loss, _end(paths[around]), batches=problem.data, key=seed)
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
_UNIT = {"random": 1.0}  # how far to go where the paths do not say: a filter's own length


def _end(path: landscape.Trajectory):
    return jax.tree.map(lambda leaf: leaf[-1], path.params)


def cut_run(folder: Path, request: Request, *, overwrite: bool = False) -> None:
    """Cut a run's loss by a plane, write slice and figure into its folder, and print what they hide.

    Tiles of the slice are kept as they are finished: a cut that was killed goes on from them.

    Args:
        folder: of the run.
        request: what to cut.
        overwrite: begin anew where tiles of another cut stand.

    Raises:
        ConfigError: the folder's config is none.
        Refusal: the folder holds no finished run, or has not what is asked for.
    """
    config = load(report.require_run(folder))
    problems = make_problems(config)
    number = _chosen([problem.name for problem in problems], request.problem, "problem", len(problems) - 1)
    problem, name = problems[number], f"{number}-{request.plane}"
    tiles = folder / "slices" / f"{name}.tiles"
    with problem.precision():
        paths = _paths(folder, number, problem)
        around = list(paths)[_chosen(list(paths), request.around, "around", 0)]
        try:
            plane, shown = PLANES[request.plane](problem, paths, around, request.seed)
            seen = {name: landscape.project(plane, path) for name, path in shown.items()}
        except ValueError as error:
            raise Refusal(f"--plane {request.plane}: {error}") from None
        if overwrite and tiles.exists():
            shutil.rmtree(tiles)
        try:
            made = _evaluated(problem, request, plane, seen, tiles)
        except ValueError as error:
            raise Refusal(f"{error} (--overwrite begins a cut anew)") from None
        drawing.keep_picture(folder / "slices" / f"{name}.zarr", drawing.Picture(problem.name, made, seen))
        _tell(problem, made, shown, seen)
    figure = drawing.cut_name(number, request.plane, several=len(problems) > 1)
    print(drawing.draw(folder, [figure])[0])


def _chosen(names: Sequence[str], asked: str | None, option: str, default: int) -> int:
    if asked is None:
        return default
    if asked not in names:
        raise Refusal(f"--{option}: {asked!r} is none of this run's; it has {', '.join(names)}")
    return names.index(asked)


def _paths(folder: Path, number: int, problem: Problem) -> Paths:
    paths = {}
    for rival, file in zip(problem.rivals, problem.files(folder, number), strict=True):
        try:
            path, facts = landscape.load_trajectory(file, problem.start)
        except (ValueError, OSError) as error:
            raise Refusal(f"{error}; nagviz run --resume makes the paths that are missing") from None
        if facts["diverged"] is None:
            paths[rival.name] = path
    if not paths:
        raise Refusal(f"{folder}: every optimizer diverged, there is no path to cut by")
    return paths


def _evaluated(problem: Problem, request: Request, plane, seen, tiles: Path) -> landscape.Slice:
    reach = request.reach or _UNIT.get(request.plane)
    points = np.concatenate([path.coordinates for path in seen.values()])
    ranges = [(-reach, reach)] * 2 if reach else window(points, problem.margin)
    with report.progress(request.grid) as advance:
        rows = report.each_row(advance, f"{problem.name}: {request.plane} slice")
        return cut(problem, plane, ranges, request.grid, store=tiles, report=rows)


def _tell(problem: Problem, made: landscape.Slice, shown: Paths, seen) -> None:
    """Whether the picture is all right, path by path."""
    measure = jax.jit(partial(jax.lax.map, problem.measures[problem.sliced]))
    clip = float(figures.loss_levels(made.values)[-1]) if np.isfinite(made.values).any() else None
    for name, path in seen.items():
        losses = np.asarray(measure(shown[name].params), np.float64)
        print(f"{name}\n{landscape.diagnose(made, path, losses=losses, clip=clip)}\n")
