"""Slices of a finished run on planes of one's choice, and whether they may be believed."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np

from nagviz import figures, landscape
from nagviz.experiment import drawing, report
from nagviz.experiment.config import load
from nagviz.experiment.helping import cut_together, prepared
from nagviz.experiment.measures import measurer
from nagviz.experiment.outcomes import Shown, read_shown
from nagviz.experiment.planes import KEPT, PLANES, UNIT, View, stand
from nagviz.experiment.problems import Problem, Standpoint, facts
from nagviz.experiment.report import Refusal


class Request(NamedTuple):
    """What to cut."""

    standpoint: Standpoint = Standpoint(None)  # which plane: pca, or the only one that the run's paths are kept in
    grid: int = 51  # points on each side
    problem: str | None = None  # by name; the last of the run if left out, which is the one on data


_OWN = "the plane in which a run keeps its paths draws nothing anew"
_IDLE = {  # options that a plane has no use for, and why
    KEPT: {"seed": _OWN, "around": _OWN},
    "pca": {
        "seed": "the principal components of the paths draw nothing at random",
        "around": "the principal components are those of all paths together",
    },
    "points": {"seed": "the plane through the ends of three paths draws nothing at random"},
}


def cut_run(
    folder: Path,
    request: Request,
    *,
    overwrite: bool = False,
    trust: bool = False,
    mesh: jax.sharding.Mesh | None = None,
) -> None:
    """Cut a run's loss by a plane, write slice and figure into its folder, and print what they hide.

    Every distinct cut has a place of its own. Tiles of the slice are kept as they are finished: a cut that was
    killed goes on from them.

    Args:
        folder: of the run.
        request: what to cut.
        overwrite: begin the cut anew where tiles of it stand.
        trust: import the code of the user's own that the run's config names.
        mesh: devices that share the points; by default one.

    Raises:
        ConfigError: the folder's config is none.
        Refusal: the folder holds no finished run, or has not what is asked for; an option that the plane has no
            use for; or its config names code that is not trusted.
    """
    report.require_run(folder)
    with report.alone(folder, "copy it and cut the copy"):
        _cut_run(folder, request, overwrite, trust, mesh)


def _cut_run(folder: Path, request: Request, overwrite: bool, trust: bool, mesh) -> None:
    config = load(report.require_run(folder))
    problems = prepared(config, trust)
    report.require_same_inputs(folder / "environment.json", facts(config, problems))
    number = report.chosen([problem.name for problem in problems], request.problem, "problem", len(problems) - 1)
    problem = problems[number]
    request = request._replace(standpoint=_settled(problem, request.standpoint))
    asked = request.standpoint
    with problem.precision():
        shown = _shown(folder, number, problem)
        rival = report.chosen(list(shown.paths), asked.around, "around", 0)
        name = _name(request, number, rival, list(shown.paths)[rival])
        tiles = folder / "slices" / f"{name}.tiles"
        try:
            view = stand(problem, shown, asked)
        except ValueError as error:
            raise Refusal(f"--plane {asked.kind}: {error}") from None
        if overwrite and tiles.exists():
            shutil.rmtree(tiles)
        try:
            made = _evaluated(problem, number, request, view, tiles, mesh)
        except ValueError as error:
            raise Refusal(f"{error} (--overwrite begins a cut anew)") from None
        picture = drawing.Picture(problem.name, made, view.seen, walk=view.walk)
        drawing.keep_picture(folder / "slices" / f"{name}.zarr", picture)
        _tell(problem, made, view)
    print(drawing.draw(folder, [drawing.cut_name(name)])[0])


def _settled(problem: Problem, asked: Standpoint) -> Standpoint:
    """With the kind of plane that is meant, if the run's paths allow it and it has a use for all that is asked."""
    kept = problem.projection is not None
    asked = asked._replace(kind=asked.kind or (KEPT if kept else "pca"))
    if kept and asked.kind != KEPT:
        raise Refusal(
            f"--plane {asked.kind}: goes through points of the paths, and this run keeps only where they lie in the "
            f"plane of its [projection]; take --plane {KEPT}, or run it without [projection]"
        )
    if asked.kind == KEPT and not kept:
        raise Refusal(f"--plane {KEPT}: the run's config has no [{KEPT}]; take {', '.join(PLANES)}")
    for option, reason in _IDLE.get(asked.kind, {}).items():
        if getattr(asked, option) is not None:
            raise Refusal(f"--{option} does nothing to --plane {asked.kind}: {reason}; leave it out")
    return asked


def _name(request: Request, number: int, rival: int, around: str) -> str:
    """What a cut's files are called: what differs from the defaults, so that no two cuts share a name.

    It is for a reader: what a slice is stands in its file, and nothing is found by taking a name apart.

    Example:
        >>> _name(Request(Standpoint("random", reach=2.0, seed=3), 101), 0, 1, "heavy ball")
        '0-random-seed3-around1-heavy-ball-r2-101'
        >>> _name(Request(Standpoint("random", reach=1.0, seed=0)), 0, 0, "NAG")
        '0-random'
    """
    asked = request.standpoint
    reach = None if asked.reach == UNIT.get(asked.kind) else asked.reach
    word = re.sub(r"[^A-Za-z0-9]+", "-", f"{rival} {around}").strip("-").lower()
    parts = (
        asked.kind,
        f"seed{asked.seed}" if asked.seed else "",
        f"around{word}" if rival else "",  # by its number too: two names may differ in their signs alone
        f"r{reach!r}".removesuffix(".0") if reach else "",
        f"{request.grid}" if request.grid != Request().grid else "",
    )
    return "-".join((str(number), *filter(None, parts)))


def _shown(folder: Path, number: int, problem: Problem) -> Shown:
    try:
        shown = read_shown(problem, folder, number)
    except Refusal as error:
        raise Refusal(f"{error} (nagviz run makes the paths that are missing)") from None
    if not shown.paths:
        raise Refusal(f"{folder}: every optimizer diverged, there is no path to cut by")
    return shown


def _evaluated(problem: Problem, number: int, request: Request, view: View, tiles: Path, mesh) -> landscape.Slice:
    with report.progress(request.grid) as advance:
        rows = report.each_row(advance, f"{problem.name}: {request.standpoint.kind} slice")
        options = {"store": tiles, "report": rows, "mesh": mesh}
        return cut_together(problem, number, view.plane, view.ranges, request.grid, **options)


def _tell(problem: Problem, made: landscape.Slice, view: View) -> None:
    """Whether the picture is all right, path by path."""
    measured = measurer({"loss": problem.sliced})
    clip = float(figures.loss_levels(made.values)[-1]) if np.isfinite(made.values).any() else None
    words = {"clip": clip, "principal": bool(view.plane.explained)}
    for name, path in view.seen.items():
        losses = measured(view.paths[name].params)["loss"].astype(np.float64)
        if problem.projection is None:
            print(f"{name}\n{landscape.diagnose(made, path, losses=losses, **words)}\n")
            continue
        end = path._replace(coordinates=path.coordinates[-1:])
        found = landscape.diagnose(made, path, **words)
        off = found.off_plane._replace(advice=found.off_plane.advice and "read lengths and angles with care")
        found = found._replace(off_plane=off, mismatch=landscape.diagnose(made, end, losses=losses).mismatch)
        print(f"{name} (of its points the last alone is kept, where the mismatch is)\n{found}\n")
