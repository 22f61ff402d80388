"""Slices of a finished run on planes of one's choice, and whether they may be believed."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from nagviz import figures, landscape
from nagviz.experiment import report
from nagviz.experiment.config import load
from nagviz.experiment.measures import measurer
from nagviz.experiment.outcomes import read_shown
from nagviz.experiment.planes import Paths, View, stand
from nagviz.experiment.problems import Problem, Standpoint, cut, make_problems
from nagviz.experiment.report import Refusal


class Request(NamedTuple):
    """What to cut."""

    standpoint: Standpoint = Standpoint()
    grid: int = 51  # points on each side
    problem: str | None = None  # by name; the last of the run if left out, which is the one on data


def cut_run(folder: Path, request: Request, *, overwrite: bool = False, trust: bool = False) -> None:
    """Cut a run's loss by a plane, write slice and figure into its folder, and print what they hide.

    Tiles of the slice are kept as they are finished: a cut that was killed goes on from them.

    Args:
        folder: of the run.
        request: what to cut.
        overwrite: begin anew where tiles of another cut stand.
        trust: import the code of the user's own that the run's config names.

    Raises:
        ConfigError: the folder's config is none.
        Refusal: the folder holds no finished run, or has not what is asked for, or its config names code that is
            not trusted.
    """
    config = load(_config(folder))
    problems = make_problems(config, trust=trust)
    number = _chosen([problem.name for problem in problems], request.problem, "problem", len(problems) - 1)
    problem, asked = problems[number], request.standpoint
    name = f"{number}-{asked.kind}"
    tiles = folder / "slices" / f"{name}.tiles"
    with problem.precision():
        paths = _paths(folder, number, problem)
        _chosen(list(paths), asked.around, "around", 0)
        try:
            view = stand(problem, paths, asked)
        except ValueError as error:
            raise Refusal(f"--plane {asked.kind}: {error}") from None
        if overwrite and tiles.exists():
            shutil.rmtree(tiles)
        try:
            made = _evaluated(problem, request, view, tiles)
        except ValueError as error:
            raise Refusal(f"{error} (--overwrite begins a cut anew)") from None
        landscape.save_slice(folder / "slices" / f"{name}.zarr", made)
        _tell(problem, made, view)
    _draw(folder, asked.kind if len(problems) == 1 else f"{asked.kind}-{number}", made, view.seen)


def _config(folder: Path) -> Path:
    if not (folder / "environment.json").is_file():
        raise Refusal(f"{folder} holds no run; name the folder that nagviz run printed")
    return folder / "config.toml"


def _chosen(names: Sequence[str], asked: str | None, option: str, default: int) -> int:
    if asked is None:
        return default
    if asked not in names:
        raise Refusal(f"--{option}: {asked!r} is none of this run's; it has {', '.join(names)}")
    return names.index(asked)


def _paths(folder: Path, number: int, problem: Problem) -> Paths:
    try:
        paths = read_shown(problem, folder, number)
    except Refusal as error:
        raise Refusal(f"{error} (nagviz run makes the paths that are missing)") from None
    if not paths:
        raise Refusal(f"{folder}: every optimizer diverged, there is no path to cut by")
    return paths


def _evaluated(problem: Problem, request: Request, view: View, tiles: Path) -> landscape.Slice:
    with report.progress(request.grid) as advance:
        rows = report.each_row(advance, f"{problem.name}: {request.standpoint.kind} slice")
        return cut(problem, view.plane, view.ranges, request.grid, store=tiles, report=rows)


def _tell(problem: Problem, made: landscape.Slice, view: View) -> None:
    """Whether the picture is all right, path by path."""
    measured = measurer({problem.sliced: problem.measures[problem.sliced]})
    clip = float(figures.loss_levels(made.values)[-1]) if np.isfinite(made.values).any() else None
    for name, path in view.seen.items():
        losses = measured(view.paths[name].params)[problem.sliced].astype(np.float64)
        print(f"{name}\n{landscape.diagnose(made, path, losses=losses, clip=clip)}\n")


def _draw(folder: Path, name: str, made: landscape.Slice, seen) -> None:
    figure = figures.landscape(made, seen)
    for suffix in ("png", "pdf"):
        figure.savefig(folder / f"slice-{name}.{suffix}")
    print(folder / f"slice-{name}.png", flush=True)
