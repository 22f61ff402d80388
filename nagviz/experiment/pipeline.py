"""From a config to a run: data and model to loss, optimizers to paths, paths to a plane, a plane to figures.

Where the other rooms meet. What the names in a config stand for is in `choices`.
"""

from __future__ import annotations

import shutil
import sys
from functools import partial
from pathlib import Path
from typing import Any

import jax

from nagviz import landscape
from nagviz.experiment import drawing, report, results
from nagviz.experiment.config import dump
from nagviz.experiment.family_map import coefficients, make_methods
from nagviz.experiment.helping import crew_of, cut_together, prepared
from nagviz.experiment.measures import measurer
from nagviz.experiment.noise import law
from nagviz.experiment.outcomes import Shown, Standing, read_standings, shown_of
from nagviz.experiment.pivot import Layout, make_layout, pivot_rows
from nagviz.experiment.planes import View, kept_lookaheads, stand
from nagviz.experiment.problems import Problem, facts
from nagviz.experiment.sharpness import sharpness_rows
from nagviz.experiment.sinks import require_sinks, send
from nagviz.experiment.tables.runs import Config
from nagviz.experiment.trials import is_done, run_trials, side_by_side
from nagviz.landscape.recorder import bytes_in_words


def run(
    config: Config,
    folder: Path,
    *,
    resume: bool = False,
    overwrite: bool = False,
    trust: bool = False,
    mesh: jax.sharding.Mesh | None = None,
) -> None:
    """Carry out a run: train, choose, cut, draw, and write it all under a folder; print the results table.

    Args:
        config: a checked config.
        folder: where to write.
        resume: go on with a run of the same config; paths that are complete are not trained again.
        overwrite: delete an earlier run there first.
        trust: import the code of the user's own that the config names.
        mesh: devices that share each batch, and the points of slices; by default one. A run may be resumed on others.

    Raises:
        Refusal: the config names code that is not trusted, does not fit the data, or a method what is known of a
            problem, or the folder is not free, or the devices cannot share a batch; nothing was written.
    """
    problems, methods = prepared(config, trust, mesh), make_methods(config)
    require_sinks(config)
    layout = make_layout(config, problems)
    with report.alone(folder):
        report.start_folder(folder, dump(config), _facts(config, problems, mesh), resume=resume, overwrite=overwrite)
        _warn_of_size(problems, folder)
        _carry_out(config, folder, problems, methods, layout, mesh)


def _facts(config: Config, problems: list[Problem], mesh) -> dict[str, Any]:
    return facts(config, problems) | {"devices used": mesh.size if mesh else 1, "processes": jax.process_count()}


_LARGE = 4 * 10**9  # bytes, from which on a run tells beforehand what it will write, as it does where the disk is full


def _warn_of_size(problems: list[Problem], folder: Path) -> None:
    undone = [
        (
            problem,
            sum(not is_done(trial.file) for rival in problem.rivals for trial in problem.trials(folder, i, rival)),
        )
        for i, problem in enumerate(problems)
    ]
    size, free = sum(count * _of_a_path(problem) for problem, count in undone), shutil.disk_usage(folder).free
    if size > min(_LARGE, free):
        whole = [problem for problem in problems if problem.projection is None]
        less = "fewer snapshots (every, snapshots), " if whole else "fewer "
        least = ", and least takes [projection]" if any(problem.batches for problem in whole) else ""
        print(
            f"warning: the paths of this run may take {bytes_in_words(size)}, and {'only ' * (size > free)}"
            f"{bytes_in_words(free)} are free; {less}seeds, learning rates or optimizers take less{least}",
            file=sys.stderr,
        )


def _of_a_path(problem: Problem) -> int:
    """Bytes."""
    if problem.projection is not None:
        return landscape.expected_bytes(problem.start, 1)  # the last point; the rows are a few numbers each
    return landscape.expected_bytes(problem.start, len(problem.snapshots) + 1, points=1 + problem.lookahead)


def _carry_out(config: Config, folder: Path, problems, methods, layout: Layout | None, mesh) -> None:
    """All that a run does in its folder."""
    work = sum(
        problem.steps * len(problem.seeds) * len(rival.learning_rates)
        for problem in problems
        for rival in problem.rivals
    )
    asked = getattr(config, "sharpness", None)
    if asked is not None:
        work += sum((p.steps // asked.every + 1) * len(p.rivals) for p in problems if p.batches)
    with report.progress(work + len(problems) * config.slice.grid) as advance:
        standings = []
        for number, problem in enumerate(problems):
            with problem.precision():
                standings.append(_race(problem, folder, number, advance, mesh))
        _cut(problems, standings, config.slice.grid, folder / "slices", advance, mesh)
        if asked is not None:
            _sharpness(config, problems, standings, folder / "sharpness.csv", advance)
    if config.family is not None:
        places = {name: coefficients(method) for name, method in methods.items()}
        drawing.keep_family(folder, places, config.family.condition_number)
    _write(config, folder, problems, standings, layout)


def _race(problem: Problem, folder: Path, number: int, advance, mesh) -> list[Standing]:
    """Train what is not trained yet, and read what came of it all."""
    for i, (rival, course) in enumerate(zip(problem.rivals, problem.courses(), strict=True)):
        for j, group in enumerate(side_by_side(problem.trials(folder, number, rival))):
            kept = " (kept)" if all(is_done(trial.file) for trial in group) else ""
            task = f"{problem.name}: {rival.name}{kept}"
            advance(task, 0)
            run_trials(course, group, partial(advance, task), crew_of(mesh, problem, number, i, j))
    standings = read_standings(problem, folder, number)
    for standing in standings:
        for outcome in (outcome for outcomes in standing.grid.values() for outcome in outcomes):
            if outcome.diverged is not None:
                rate = f" at {outcome.learning_rate:g}" if len(standing.grid) > 1 else ""
                which = rate + (f" (seed {outcome.seed})" if len(problem.seeds) > 1 else "")
                print(f"{problem.name}: {standing.rival}{which} diverged at step {outcome.diverged}", file=sys.stderr)
    return standings


def _cut(problems, standings, grid: int, folder: Path, advance, mesh) -> None:
    """Slice and projected paths of every problem; only paths that stayed finite are cut through."""
    for number, (problem, race) in enumerate(zip(problems, standings, strict=True)):
        shown = shown_of(problem, race)
        if not shown.paths:
            print(f"{problem.name}: every optimizer diverged, there is no path to draw", file=sys.stderr)
            continue
        with problem.precision():
            view = _view(problem, shown)
            if view is None:
                continue
            rows = report.each_row(advance, f"{problem.name}: slice")
            made = cut_together(problem, number, view.plane, view.ranges, grid, report=rows, mesh=mesh)
            ends = _ends(problem, view)
            ahead = kept_lookaheads(problem, view, shown.files)
        picture = drawing.Picture(problem.name, made, view.seen, ends, view.walk, ahead)
        drawing.keep_picture(folder / f"{number}.zarr", picture)


def _ends(problem: Problem, view: View) -> dict[str, float]:
    """The true loss, over the samples that are cut, at the ends of the paths."""
    measured = measurer({"loss": problem.sliced})
    ends = {name: jax.tree.map(lambda leaf: leaf[-1:], path.params) for name, path in view.paths.items()}
    return {name: float(measured(end)["loss"][0]) for name, end in ends.items()}


def _sharpness(config: Config, problems, standings, file: Path, advance) -> None:
    """The largest curvatures along the paths on data."""
    rows = [
        {**results.named(problems, problem), **row}
        for problem, race in zip(problems, standings, strict=True)
        if problem.batches
        for row in sharpness_rows(problem, race, config.optimizers, config.sharpness, advance)
    ]
    report.write(file, report.comma_separated(rows))


def _view(problem: Problem, shown: Shown) -> View | None:
    paths = shown.paths
    if problem.space:
        plane, ranges = problem.space
        return View(plane, paths, {name: landscape.project(plane, path) for name, path in paths.items()}, ranges)
    if problem.standpoint.around not in (None, *paths):
        print(f"{problem.name}: {problem.standpoint.around} diverged, there is no landscape around it", file=sys.stderr)
        return None
    try:
        return stand(problem, shown, problem.standpoint)
    except ValueError as error:  # one snapshot, or all on a line
        print(f"{problem.name}: the paths do not span a plane, there is no landscape: {error}", file=sys.stderr)
        return None


def _write(config: Config, folder: Path, problems, standings, layout: Layout | None) -> None:
    """Metrics, tables and figures; the table is printed too."""
    metrics = list(results.metric_rows(problems, standings))
    report.write(folder / "metrics.jsonl", report.jsonl(metrics))
    rows = results.result_rows(problems, standings)
    tables = {
        "results": rows,
        "grid": results.grid_rows(problems, standings),
        "targets": results.target_rows(problems, standings),
    }
    if layout is not None:
        tables["table"] = pivot_rows(layout, problems, standings)
    if config.noise is not None:
        tables["noise"] = law(config.noise.condition_number, config.noise.sigmas)
    for name, table in tables.items():
        if table:
            report.write_table(folder, name, table)
    drawing.draw(folder, list(drawing.own(folder)))
    report.show(rows)
    if layout is not None:
        print(f"\n{layout.measure}, by {layout.rows} and {layout.columns}", flush=True)
        report.show(tables["table"])
    print(f"\n{folder}", flush=True)
    send(config, folder, metrics)
