"""A step of a finished run, or of one under way, taken once more to be looked at.

Nothing of a step but its end is kept. Training is repeated up to it, from the checkpoint before it or from the start,
on the same batches and in the same programs: so it is the run's own step, and where it is not (another machine, another
version of JAX) the rows that the run keeps tell by how much.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from nagviz import landscape, optim
from nagviz.experiment import report
from nagviz.experiment.anatomy import GRID, dissect
from nagviz.experiment.config import load
from nagviz.experiment.outcomes import read_chosen
from nagviz.experiment.problems import EFFORT, Problem, facts, make_problems
from nagviz.experiment.report import Refusal
from nagviz.experiment.rivals import Rival
from nagviz.experiment.trials import Replayed, Trial, is_done, load_beside, load_projected, replay, side_by_side
from nagviz.experiment.trials import load as load_path
from nagviz.figures import Anatomy

USUAL = 10  # the step that is looked at unless another is asked for: a velocity has built up, the slope is steep still

WORK = 1e11  # operations, that the plane of a step may take: seconds, on a laptop
KNOTS = 11  # points on each side where it would take more, with slopes
_EXACT = 1e-12  # of a length; it is as much where a path is kept in a plane, by sums in float64
SLOPES = 3  # times the work of a loss alone
FEWEST = 256  # samples, all the same


class Moment(NamedTuple):
    """Which step of a run."""

    at: int | None = None  # from 2, since the first one has no velocity; `USUAL` if left out, or the last of less
    optimizer: str | None = None  # by name; the first that looks ahead if left out
    problem: str | None = None  # by name; the last if left out


class Found(NamedTuple):
    """A step of a run, and whose it is."""

    at: int
    problem: Problem
    rival: Rival
    replayed: Replayed  # before the step
    drift: float  # relative distance of the replay from the run's last row before the step; 0 if there was none
    batch: Any


def anatomy_at(folder: Path, asked: Moment = Moment(), *, trust: bool = False) -> tuple[Anatomy, str | None]:  # noqa: B008
    """What a look-ahead method did in a step of a run, in the plane of that step.

    Args:
        folder: of the run.
        asked: which step.
        trust: import the code of the user's own that the run's config names.

    Returns:
        What `nagviz.figures.step` draws, and what has to be said of the replay, if anything.

    Raises:
        ConfigError: the folder's config is none.
        Refusal: the folder holds no run; the optimizer does not look ahead; there is no such step, or it has no plane;
            the config names code that is not trusted.
    """
    config = load(report.require_run(folder))
    problems = make_problems(config, trust=trust)
    report.require_same_inputs(folder / "environment.json", facts(config, problems))
    number = report.chosen([problem.name for problem in problems], asked.problem, "problem", len(problems) - 1)
    problem = problems[number]
    with problem.precision():
        found = find(problem, folder, number, asked)
        anatomy = _dissected(found)
    if len(problems) > 1:
        named = f"{problem.name}: {anatomy.cut.quantity}"
        anatomy = anatomy._replace(cut=anatomy.cut._replace(quantity=named))
    return anatomy, _said(found)


def find(problem: Problem, folder: Path, number: int, asked: Moment) -> Found:
    """Replay a run up to a step.

    Args:
        problem: of the run.
        folder: of the run.
        number: of the problem in the run.
        asked: which step.

    Raises:
        Refusal: the optimizer does not look ahead, or there is no such step.
    """
    rival = _chosen_rival(problem, asked.optimizer)
    trial = _shown(problem, folder, number, rival)
    steps, _, facts = load_beside(trial.file, "restarts") if trial.file.exists() else (None, None, None)
    last = problem.steps if facts is None or facts["diverged"] is not None else int(steps[-1])
    at = min(USUAL, last) if asked.at is None else asked.at
    if not 2 <= at <= last:
        raise Refusal(f"--at: {rival.name} has taken steps 1 to {last} of which the first has no velocity, got {at}")
    course = problem.courses()[problem.rivals.index(rival)]
    (group,) = (g for g in side_by_side(problem.trials(folder, number, rival)) if trial.file in [t.file for t in g])
    replayed = replay(course, group, [t.file for t in group].index(trial.file), at - 1)
    if not all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(replayed.params)):
        raise Refusal(f"--at: {rival.name} had diverged before step {at}; ask for an earlier one")
    batch = None
    if trial.batches is not None:
        (drawn,) = trial.batches.indices(at - 1, at)
        batch = jax.tree.map(lambda leaf: leaf[drawn], trial.batches.samples)
    drift = 0.0 if steps is None or replayed.row is None else _drift(problem, trial, replayed.row)
    return Found(at, problem, rival, replayed, drift, batch)


def _chosen_rival(problem: Problem, asked: str | None) -> Rival:
    able = [rival for rival in problem.rivals if _looks_ahead(rival, problem.start)]
    if not able:
        raise Refusal("no optimizer of this run looks ahead; a step has an anatomy where one does, as nag")
    names = [rival.name for rival in able]
    if asked in {rival.name for rival in problem.rivals} - {*names}:
        raise Refusal(
            f"--optimizer: {asked} has no look-ahead whose step could be taken apart; {', '.join(names)} have"
        )
    return able[report.chosen(names, asked, "optimizer", 0)]


def _looks_ahead(rival: Rival, params) -> bool:
    state = jax.eval_shape(lambda p: rival.optimizer(rival.learning_rates[0]).init(p), params)

    def holds(kind):
        return any(isinstance(n, kind) for n in jax.tree.leaves(state, is_leaf=lambda n: isinstance(n, kind)))

    return holds(optim.LookaheadState) and not holds(optim.OuterState)


def _shown(problem: Problem, folder: Path, number: int, rival: Rival) -> Trial:
    """The trial that figures show; where there is one learning rate it need not be finished."""
    trials = problem.trials(folder, number, rival)
    if len(rival.learning_rates) == 1:
        return trials[0]
    unfinished = [trial.file for trial in trials if not is_done(trial.file)]
    if unfinished:
        raise Refusal(f"{unfinished[0]} is not finished, and no learning rate of {rival.name} is chosen yet; --resume")
    chosen = read_chosen(problem, folder, number, rival)
    return next(trial for trial in trials if trial.file == chosen.file)


def _drift(problem: Problem, trial: Trial, row: tuple[int, Any]) -> float:
    """How far a replay is from what the run has kept, in units of its length; 0 where nothing was kept.

    Of a path whose points are not kept that is how far it is in the plane, and in the distance from it.
    """
    step, point = row
    if problem.projection is None:
        steps, kept = load_path(trial.file, problem.start)[0]
    else:
        seen = load_projected(trial.file, problem.start).points["params"]
        steps, kept, plane = seen.steps, _placed(seen), problem.plane_through(trial.start)
        point = _placed(landscape.project(plane, point))
    (rows,) = np.nonzero(np.asarray(steps) == step)
    if not rows.size:
        return 0.0
    kept = jax.tree.map(lambda leaf: np.asarray(leaf[int(rows[0])], np.float64), kept)
    off = jax.tree.map(lambda one, two: np.asarray(one, np.float64) - two, point, kept)
    return _length(off) / (_length(kept) or 1.0)


def _placed(seen: landscape.Projection) -> tuple[np.ndarray, np.ndarray]:
    return seen.coordinates, seen.residual


def _length(tree: Any) -> float:
    return float(np.sqrt(sum(np.vdot(leaf, leaf) for leaf in jax.tree.leaves(tree))))


def _dissected(found: Found) -> Anatomy:
    problem, replayed, view = found.problem, found.replayed, _view(found)
    try:
        return dissect(
            problem.loss,
            replayed.optimizer,
            replayed.state,
            replayed.params,
            batch=found.batch,
            batches=problem.data and [jax.tree.map(lambda leaf: leaf[: view.samples], *problem.data)],
            judged=problem.judged,
            step=found.at,
            method=found.rival.name,
            knots=view.knots,
            quantity=_quantity(problem, view),
            effort=EFFORT._replace(points=KNOTS),  # a few are tried first
        )
    except ValueError as error:
        raise Refusal(f"step {found.at} of {found.rival.name}: {error} (--at another)") from None


def _quantity(problem: Problem, view: _View) -> str:
    """With the samples that are looked at, where the loss is one of batches."""
    return (
        re.sub(r"[\d,]+ samples", f"{view.samples:,} samples", problem.quantity) if view.samples else problem.quantity
    )


class _View(NamedTuple):
    """How closely the plane of a step is looked at."""

    samples: int  # over which its loss is a mean
    knots: int | None  # points on each side that are evaluated, where these are few


def _view(found: Found) -> _View:
    """All samples at all points, where that is within `WORK`; else few points, and as many samples as it allows."""
    if found.batch is None:
        return _View(0, None)
    samples = len(jax.tree.leaves(found.problem.data)[0])
    counted = jax.jit(found.problem.loss).lower(found.replayed.params, found.batch).cost_analysis() or {}
    each = counted.get("flops", 0.0) / len(jax.tree.leaves(found.batch)[0])
    if samples * each * GRID**2 <= WORK:
        return _View(samples, None)
    return _View(int(np.clip(WORK / (SLOPES * each * KNOTS**2), min(FEWEST, samples), samples)), KNOTS)


def _said(found: Found) -> str | None:
    if found.drift < _EXACT:
        return None
    step, _ = found.replayed.row
    return f"Replayed elsewhere than it was run: at step {step} it is {found.drift:.1e} of its length off."
