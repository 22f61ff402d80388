"""From a config to a run: data and model to loss, optimizers to paths, paths to a plane, a plane to figures.

Where the other rooms meet. What the names in a config stand for is in `choices`.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from nagviz import landscape
from nagviz.experiment import drawing, report
from nagviz.experiment.choices import MEMBERS, Known, Rival, make_rival
from nagviz.experiment.config import dump
from nagviz.experiment.problems import Problem, cut, make_problems, window
from nagviz.experiment.report import Refusal
from nagviz.experiment.sinks import require_sinks, send
from nagviz.experiment.tables.runs import Config
from nagviz.experiment.training import train


class Outcome(NamedTuple):
    """What an optimizer did."""

    rival: str
    path: landscape.Trajectory  # finite snapshots of the deployed point, the start first
    measures: dict[str, np.ndarray]  # (snapshots,) each
    seconds: float  # of training, without compilation
    diverged: int | None  # the step at which the loss was no longer finite
    restarts: int
    marks: np.ndarray  # steps of the snapshots at which there were more restarts than before


def run(config: Config, folder: Path, *, resume: bool = False, overwrite: bool = False) -> None:
    """Carry out a run: train, cut, draw, and write it all under a folder; print the results table.

    Args:
        config: a checked config.
        folder: where to write.
        resume: go on with a run of the same config; paths that are complete are not trained again.
        overwrite: delete an earlier run there first.

    Raises:
        Refusal: the config does not fit the data, a method what is known of a problem, or the folder is not free;
            nothing was written.
    """
    require_sinks(config)
    problems, methods = make_problems(config), _methods(config)
    report.start_folder(folder, dump(config), resume=resume, overwrite=overwrite)
    work = sum(p.steps * len(p.rivals) for p in problems)
    with report.progress(work + len(problems) * config.slice.grid) as advance:
        races = []
        for number, problem in enumerate(problems):
            files = problem.files(folder, number)
            with problem.precision():
                races.append(_race(problem, config.every, files, advance))
        _cut(problems, races, config.slice.grid, folder / "slices", advance)
    if config.family is not None:
        places = {name: _coefficients(rival, rate) for name, (rival, rate) in methods.items()}
        drawing.keep_family(folder, places, config.family.condition_number)
    _write(config, folder, problems, races)


def _race(problem: Problem, every: int, files: Sequence[Path], advance) -> list[Outcome]:
    measure = jax.jit(partial(jax.lax.map, lambda p: [of(p) for of in problem.measures.values()]))
    outcomes = []
    for rival, file in zip(problem.rivals, files, strict=True):
        task = f"{problem.name}: {rival.name}"
        if file.exists():
            advance(f"{task} (kept)", problem.steps)
        else:
            _train(problem, rival, every, file, measure, partial(advance, task))
        path, facts = _kept(file, problem.start)
        measured = dict(zip(problem.measures, jax.device_get(measure(path.params)), strict=True))
        marks = np.asarray(facts["marks"], int)
        outcomes.append(
            Outcome(rival.name, path, measured, facts["seconds"], facts["diverged"], facts["restarts"], marks)
        )
    return outcomes


def _kept(file: Path, like: Any) -> tuple[landscape.Trajectory, dict[str, Any]]:
    try:
        return landscape.load_trajectory(file, like)
    except (ValueError, OSError) as error:
        raise Refusal(f"{error}; delete {file} and --resume, to train that path again") from None


def _train(problem: Problem, rival: Rival, every: int, file: Path, measure, advance) -> None:
    """Train one rival and keep its path, as far as it is finite and the tolerance is not reached."""
    advance(0)
    path = landscape.Trajectory(np.zeros(1, int), jax.tree.map(lambda leaf: np.asarray(leaf)[None], problem.start))
    kept, counts, seconds, diverged = [path], [np.zeros(1, int)], 0.0, None
    for chunk in _chunks(problem, rival, every):
        point, count = chunk.params
        kept.append(landscape.Trajectory(chunk.steps, point))
        counts.append(count)
        seconds += chunk.seconds
        advance(len(chunk.losses))
        diverged = _divergence(chunk, measure)
        if diverged is not None or _is_complete(problem, measure, point):
            advance(problem.steps - int(chunk.steps[-1]))
            break
    if diverged is not None:
        print(f"{problem.name}: {rival.name} diverged at step {diverged}", file=sys.stderr)
    path = jax.tree.map(lambda *parts: np.concatenate(parts), *kept)
    steps, count = path.steps, np.concatenate(counts)
    path = _completed(problem, measure, jax.tree.map(lambda leaf: leaf[_finite(path)], path))
    seen = steps <= path.steps[-1]
    marks = steps[1:][(np.diff(count) > 0) & seen[1:]].tolist()
    landscape.save_trajectory(
        file, path, seconds=seconds, diverged=diverged, restarts=int(count[seen][-1]), marks=marks
    )


def _chunks(problem: Problem, rival: Rival, every: int):
    return train(
        problem.loss,
        problem.start,
        rival.optimizer,
        steps=problem.steps,
        every=every,
        batches=problem.batches,
        observe=lambda state, params: (rival.deployed(state, params), rival.restarts(state)),
    )


def _divergence(chunk, measure) -> int | None:
    """The step at which the loss was first seen not to be finite: before it, or at a snapshot after it."""
    point, _ = chunk.params
    before = chunk.steps[-1] - len(chunk.losses) + np.arange(len(chunk.losses))
    after = np.isfinite(np.asarray(measure(point)[0])) & _finite(landscape.Trajectory(chunk.steps, point))
    seen = [*before[~np.isfinite(chunk.losses)], *chunk.steps[~after]]
    return int(min(seen)) if seen else None


def _is_complete(problem: Problem, measure, points) -> bool:
    return problem.tolerance is not None and bool((measure(points)[0] <= problem.tolerance).any())


def _completed(problem: Problem, measure, path: landscape.Trajectory) -> landscape.Trajectory:
    """The path up to the snapshot that reaches the tolerance."""
    if not _is_complete(problem, measure, path.params):
        return path
    end = int(np.argmax(np.asarray(measure(path.params)[0]) <= problem.tolerance)) + 1
    return jax.tree.map(lambda leaf: leaf[:end], path)


def _finite(path: landscape.Trajectory) -> np.ndarray:
    """Which snapshots hold finite numbers alone."""
    leaves = (np.asarray(leaf) for leaf in jax.tree.leaves(path.params))
    rows = [np.isfinite(leaf.reshape(len(leaf), -1)).all(axis=1) for leaf in leaves]
    return np.all(rows, axis=0)


def _cut(problems, races, grid: int, folder: Path, advance) -> None:
    """Slice and projected paths of every problem; only paths that stayed finite are cut through."""
    for number, (problem, race) in enumerate(zip(problems, races, strict=True)):
        paths = {o.rival: o.path for o in race if o.diverged is None}
        if not paths:
            print(f"{problem.name}: every optimizer diverged, there is no path to draw", file=sys.stderr)
            continue
        with problem.precision():
            plane = _plane(problem, list(paths.values()))
            if plane is None:
                print(f"{problem.name}: the paths do not span a plane, there is no landscape", file=sys.stderr)
                continue
            seen = {name: landscape.project(plane, path) for name, path in paths.items()}
            ranges = problem.space[1] if problem.space else window(_points(seen), problem.margin)
            made = cut(problem, plane, ranges, grid, report=report.each_row(advance, f"{problem.name}: slice"))
        ends = {o.rival: float(o.measures[problem.sliced][-1]) for o in race if o.rival in seen}
        drawing.keep_picture(folder / f"{number}.zarr", drawing.Picture(problem.name, made, seen, ends))


def _plane(problem: Problem, paths: Sequence[landscape.Trajectory]) -> landscape.Plane | None:
    if problem.space:
        return problem.space[0]
    try:
        return landscape.pca_plane(*paths)
    except ValueError:  # one snapshot, or all on a line
        return None


def _points(seen) -> np.ndarray:
    return np.concatenate([path.coordinates for path in seen.values()])


def _write(config: Config, folder: Path, problems, races) -> None:
    """Metrics, tables and figures; the table is printed too."""
    metrics = list(_metric_rows(problems, races))
    report.write(folder / "metrics.jsonl", report.jsonl(metrics))
    rows = _result_rows(problems, races)
    report.write(folder / "results.csv", report.comma_separated(rows))
    report.write(folder / "results.md", report.markdown(rows) + "\n")
    drawing.draw(folder, list(drawing.own(folder)))
    report.show(rows)
    print(f"\n{folder}", flush=True)
    send(config, folder, metrics)


def _named(problems, problem) -> dict[str, str]:
    """The problem's name, where a run has several."""
    return {"problem": problem.name} if len(problems) > 1 else {}


def _metric_rows(problems, races):
    for problem, race in zip(problems, races, strict=True):
        for outcome in race:
            for i, step in enumerate(outcome.path.steps.tolist()):
                values = {name: float(series[i]) for name, series in outcome.measures.items()}
                notes = {"restarted": True} if step in outcome.marks else {}
                if outcome.diverged is not None and i == len(outcome.path.steps) - 1:
                    notes["diverged"] = outcome.diverged
                yield {**_named(problems, problem), "optimizer": outcome.rival, "step": step, **values, **notes}


def _result_rows(problems, races) -> list[report.Row]:
    rows = [
        {**_named(problems, problem), "optimizer": outcome.rival, **_result(problem, outcome)}
        for problem, race in zip(problems, races, strict=True)
        for outcome in race
    ]
    columns = dict.fromkeys(column for row in rows for column in row if column not in ("seconds", "note"))
    return [{column: row.get(column) for column in (*columns, "seconds", "note")} for row in rows]


def _result(problem: Problem, outcome: Outcome) -> report.Row:
    lost = outcome.diverged is not None
    row = {name: math.nan if lost else float(series[-1]) for name, series in outcome.measures.items()}
    note = f"diverged at step {outcome.diverged}" if lost else ""
    if problem.tolerance is not None:
        reached = not lost and next(iter(outcome.measures.values()))[-1] <= problem.tolerance
        row[f"steps to {problem.tolerance:g}"] = int(outcome.path.steps[-1]) if reached else None
        row["restarts"] = outcome.restarts
        note = note or ("" if reached else f"not in {problem.steps} steps")
    return {**row, "seconds": round(outcome.seconds, 3), "note": note}


def _methods(config: Config) -> dict[str, tuple[Rival, float]]:
    """The members to be put on the map, without their restarts, and their learning rates."""
    if config.family is None:
        return {}
    made = {}
    for i, table in enumerate(config.optimizers):
        if table.kind in MEMBERS:
            rate = table.learning_rate or 1.0
            steady = table.model_copy(update={"restart": None})
            try:
                made[table.name] = make_rival(steady, Known(rate, config.family.condition_number)), rate
            except ValueError as error:
                raise Refusal(f"optimizers.{i}: {error}, for the map of [family]") from None
    return made


def _coefficients(rival: Rival, learning_rate: float, steps: int = 60) -> np.ndarray:
    """(steps, 3): step weight, momentum and correction, as a unit step and a unit displacement show them."""
    optimizer = rival.optimizer
    unit = jnp.array([1.0, 0.0])  # the first number shows what becomes of a step, the second of a displacement

    def step(state, _):
        state = optax.tree.set(state, displacement=1 - unit)
        emitted, state = optimizer.update(-unit / learning_rate, state, unit, value=0.0)
        kept = optax.tree.get(state, "displacement")
        alpha, mu = emitted[0] - kept[0], kept[1]
        return state, jnp.stack([alpha, mu, kept[0] - mu * alpha])

    return np.asarray(jax.lax.scan(step, optimizer.init(unit), length=steps)[1])
