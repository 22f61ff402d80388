"""From a config to a run: data and model to loss, optimizers to paths, paths to a plane, a plane to figures.

Where the other rooms meet. What the names in a config stand for is in `choices`.
"""

from __future__ import annotations

import math
import sys
from functools import partial
from pathlib import Path

import numpy as np
from scipy.interpolate import RegularGridInterpolator

from nagviz import figures, landscape
from nagviz.experiment import report, results
from nagviz.experiment.config import dump
from nagviz.experiment.family_map import make_methods, write_map
from nagviz.experiment.outcomes import Standing, read_path, read_standings
from nagviz.experiment.planes import View, stand
from nagviz.experiment.problems import Problem, cut, make_problems
from nagviz.experiment.tables.runs import Config
from nagviz.experiment.trials import is_done, run_trials, side_by_side


def run(config: Config, folder: Path, *, resume: bool = False, overwrite: bool = False, trust: bool = False) -> None:
    """Carry out a run: train, choose, cut, draw, and write it all under a folder; print the results table.

    Args:
        config: a checked config.
        folder: where to write.
        resume: go on with a run of the same config; paths that are complete are not trained again.
        overwrite: delete an earlier run there first.
        trust: import the code of the user's own that the config names.

    Raises:
        Refusal: the config names code that is not trusted, does not fit the data, or a method what is known of a
            problem, or the folder is not free; nothing was written.
    """
    problems, methods = make_problems(config, trust=trust), make_methods(config)
    facts = {"seeds": problems[-1].seeds, "data": {p.name: p.digest for p in problems if p.digest}}
    report.start_folder(folder, dump(config), facts, resume=resume, overwrite=overwrite)
    work = sum(
        problem.steps * len(problem.seeds) * len(rival.learning_rates)
        for problem in problems
        for rival in problem.rivals
    )
    with report.progress(work + len(problems) * config.slice.grid) as advance:
        standings = []
        for number, problem in enumerate(problems):
            with problem.precision():
                standings.append(_race(problem, folder, number, advance))
        panels = _panels(problems, standings, config.slice.grid, folder / "slices", advance)
    _write(folder, problems, standings, panels)
    if config.family is not None:
        write_map(folder, methods, config.family.condition_number)


def _race(problem: Problem, folder: Path, number: int, advance) -> list[Standing]:
    """Train what is not trained yet, and read what came of it all."""
    for rival, course in zip(problem.rivals, problem.courses(), strict=True):
        for group in side_by_side(problem.trials(folder, number, rival)):
            kept = " (kept)" if all(is_done(trial.file) for trial in group) else ""
            task = f"{problem.name}: {rival.name}{kept}"
            advance(task, 0)
            run_trials(course, group, partial(advance, task))
    standings = read_standings(problem, folder, number)
    for standing in standings:
        for outcome in standing.chosen:
            if outcome.diverged is not None:
                seed = f" (seed {outcome.seed})" if len(problem.seeds) > 1 else ""
                print(f"{problem.name}: {standing.rival}{seed} diverged at step {outcome.diverged}", file=sys.stderr)
    return standings


def _panels(problems, standings, grid: int, folder: Path, advance) -> dict[str, tuple]:
    """Slice and projected paths of every problem; only paths that stayed finite are cut through."""
    panels = {}
    for number, (problem, race) in enumerate(zip(problems, standings, strict=True)):
        shown = (standing.shown for standing in race)
        paths = {o.rival: read_path(problem, o.file)[0] for o in shown if o.diverged is None}
        if not paths:
            print(f"{problem.name}: every optimizer diverged, there is no path to draw", file=sys.stderr)
            continue
        with problem.precision():
            view = _view(problem, paths)
            if view is None:
                continue
            rows = report.each_row(advance, f"{problem.name}: slice")
            made = cut(problem, view.plane, view.ranges, grid, report=rows)
        landscape.save_slice(folder / f"{number}.zarr", made)
        panels[problem.name] = (made, view.seen)
    return panels


def _view(problem: Problem, paths) -> View | None:
    if problem.space:
        plane, ranges = problem.space
        return View(plane, paths, {name: landscape.project(plane, path) for name, path in paths.items()}, ranges)
    if problem.standpoint.around not in (None, *paths):
        print(f"{problem.name}: {problem.standpoint.around} diverged, there is no landscape around it", file=sys.stderr)
        return None
    try:
        return stand(problem, paths, problem.standpoint)
    except ValueError as error:  # one snapshot, or all on a line
        print(f"{problem.name}: the paths do not span a plane, there is no landscape: {error}", file=sys.stderr)
        return None


def _write(folder: Path, problems, standings, panels) -> None:
    """Metrics, tables and figures; the table is printed too."""
    report.write(folder / "metrics.jsonl", report.jsonl(results.metric_rows(problems, standings)))
    rows = results.result_rows(problems, standings)
    tables = {"results": rows, "grid": results.grid_rows(problems, standings)}
    for name, table in tables.items():
        if table:
            report.write(folder / f"{name}.csv", report.comma_separated(table))
            report.write(folder / f"{name}.md", report.markdown(table) + "\n")
    _figures(folder, problems, [[standing.shown for standing in race] for race in standings], panels)
    report.show(rows)
    print(f"\n{folder}", flush=True)


def _figures(folder: Path, problems, races, panels) -> None:
    several = len(problems) > 1
    curves = {}
    for problem, race in zip(problems, races, strict=True):
        for name in list(problem.measures)[: 1 if several else None]:
            label = f"{problem.name}: {name}" if several else name
            curves[label] = {o.rival: (o.steps, o.measures[name], o.marks) for o in race}
    lost = _lost(problems, races)
    drawn = {"curves.png": figures.curves(curves, note=lost)}
    if panels:
        drawn_ones = ((p, race) for p, race in zip(problems, races, strict=True) if p.name in panels)
        hidden = [_hidden(problem, race, *panels[problem.name]) for problem, race in drawn_ones]
        note = "\n".join(line for line in (lost, *hidden) if line) or None
        if several:
            landscape_figure = figures.landscapes(panels, note=note)
        else:
            landscape_figure = figures.landscape(*next(iter(panels.values())), note=note)
        drawn |= {"landscape.png": landscape_figure, "landscape.pdf": landscape_figure}
    for name, figure in drawn.items():
        figure.savefig(folder / name)


def _lost(problems, races) -> str | None:
    """Who is not drawn, for the figure to say."""
    lost = [
        f"{outcome.rival} diverged at step {outcome.diverged}" + (f" of {problem.name}" if len(problems) > 1 else "")
        for problem, race in zip(problems, races, strict=True)
        for outcome in race
        if outcome.diverged is not None
    ]
    return "; ".join(lost) or None


def _hidden(problem: Problem, race, made: landscape.Slice, seen) -> str | None:
    """By what factors the slice is off under the ends of the paths, where the plane hides over a twentieth."""
    read = RegularGridInterpolator((made.y, made.x), made.values, bounds_error=False)
    factors = {}
    for outcome in race:
        path = seen.get(outcome.rival)
        true = float(outcome.measures[problem.sliced][-1])
        if true and path is not None and path.residual[-1] > 1e-6 * np.ptp(made.x):
            factors[outcome.rival] = read(path.coordinates[-1][::-1]).item() / true
    off = {name: f for name, f in factors.items() if f > 0 and abs(math.log(f)) > math.log(1.05)}
    worst = sorted(off, key=lambda name: -abs(math.log(off[name])))[:5]
    listed = [f"{name} \u00d7{off[name]:{'.0f' if off[name] >= 10 else '.2g'}}" for name in worst]
    more = [f"{len(off) - len(worst)} more by less"] if len(off) > len(worst) else []
    return f"At the ends of the paths the slice misreads the loss: {', '.join([*listed, *more])}." if off else None
