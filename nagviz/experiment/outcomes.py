"""What became of the trials of a rival, and which learning rate of its grid is chosen."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from nagviz import landscape
from nagviz.experiment.measures import at_both, at_lookahead, measurer
from nagviz.experiment.observing import observed
from nagviz.experiment.problems import Problem
from nagviz.experiment.report import Refusal
from nagviz.experiment.rivals import Rival
from nagviz.experiment.trials import AHEAD, MEASURES, Trial, load, load_beside, load_projected


class Outcome(NamedTuple):
    """What a trial did."""

    rival: str
    learning_rate: float
    seed: int
    file: Path  # of its path: finite snapshots of the deployed point, the start first
    steps: np.ndarray  # (measured,): those of the snapshots that were measured, the first and the last among them
    measures: dict[str, np.ndarray]  # (measured,) each
    seconds: float  # of training, without compilation
    diverged: int | None  # the step at which the loss was no longer finite
    restarts: int
    marks: np.ndarray  # those of `steps` at which there were more restarts than before


class Standing(NamedTuple):
    """What a rival did, at every learning rate and from every seed."""

    rival: str
    grid: dict[float, tuple[Outcome, ...]]  # by learning rate, one for each seed
    learning_rate: float  # the chosen one

    @property
    def chosen(self) -> tuple[Outcome, ...]:
        """The trials at the chosen learning rate."""
        return self.grid[self.learning_rate]

    @property
    def shown(self) -> Outcome:
        """The trial that figures show: the chosen learning rate's, from the first seed."""
        return self.chosen[0]


def read_standings(problem: Problem, folder: Path, number: int) -> list[Standing]:
    """What became of every rival, read from the paths that a run keeps, measured and chosen.

    Raises:
        Refusal: a path is missing or damaged.
    """
    measured = measurer(problem.measures)
    return [_standing(problem, rival, problem.trials(folder, number, rival), measured) for rival in problem.rivals]


class Shown(NamedTuple):
    """The paths that figures show, by rival."""

    files: dict[str, Path]
    paths: dict[str, landscape.Trajectory]  # of their points the last alone, where the others are not kept
    recorded: dict[str, landscape.Projection] | None = None  # where they lie in the one plane, then


def read_shown(problem: Problem, folder: Path, number: int) -> Shown:
    """The path that figures show of every rival, where it stayed finite.

    Raises:
        Refusal: a path is missing or damaged.
    """
    return shown_of(problem, read_standings(_at_ends(problem), folder, number))


def shown_of(problem: Problem, standings: Sequence[Standing]) -> Shown:
    """As `read_shown` does, of what is read already."""
    files = {s.rival: s.shown.file for s in standings if s.shown.diverged is None}
    if problem.projection is None:
        return Shown(files, {rival: read_path(problem, file) for rival, file in files.items()})
    kept = {rival: load_projected(file, problem.start) for rival, file in files.items()}
    seen = {rival: path.points["params"] for rival, path in kept.items()}
    ends = {r: landscape.stack_snapshots([path.last], seen[r].steps[-1:]) for r, path in kept.items()}
    return Shown(files, ends, seen)


def read_chosen(problem: Problem, folder: Path, number: int, rival: Rival) -> Outcome:
    """The trial that figures show of one rival; of its measures the one that decides.

    Raises:
        Refusal: a path is missing, damaged or not finished.
    """
    ends = _at_ends(problem)
    return _standing(ends, rival, problem.trials(folder, number, rival), measurer(ends.measures)).shown


def _at_ends(problem: Problem) -> Problem:
    """With no more measured than what decides."""
    deciding = {name: measure for name, measure in problem.measures.items() if name == problem.validated}
    return problem._replace(measures=deciding, measure_every=problem.steps, lookahead=False, observed=())


def read_path(problem: Problem, file: Path) -> landscape.Trajectory:
    """The path of a trial.

    Raises:
        Refusal: it is missing or damaged.
    """
    return load(file, problem.start)[0]


def _standing(problem: Problem, rival: Rival, trials: Sequence[Trial], measured: Callable) -> Standing:
    seeds = [seed for _ in rival.learning_rates for seed in problem.seeds]
    outcomes = [_outcome(problem, rival, t, seed, measured) for t, seed in zip(trials, seeds, strict=True)]
    by_rate = groupby(outcomes, key=lambda outcome: outcome.learning_rate)
    grid = {rate: tuple(group) for rate, group in by_rate}
    return Standing(rival.name, grid, choose(grid, problem.validated))


def _outcome(problem: Problem, rival: Rival, trial: Trial, seed: int, measured: Callable) -> Outcome:
    all_steps, _, facts = load_beside(trial.file, "restarts")
    if facts is None:
        raise Refusal(f"{trial.file} is a path that is not finished; nagviz run --resume goes on with it")
    rows = np.unique([*range(0, len(all_steps), problem.measure_every), len(all_steps) - 1])
    steps = all_steps[rows]
    kept = observed(problem.observed, rival, trial.learning_rate, steps, lambda name: _beside(trial.file, name)[rows])
    marks = steps[np.searchsorted(steps, np.asarray(facts["marks"], int))]
    return Outcome(
        rival.name,
        trial.learning_rate,
        seed,
        trial.file,
        steps,
        _measures(problem, trial.file, rows, measured) | kept,
        facts["seconds"],
        facts["diverged"],
        facts["restarts"],
        np.unique(marks),
    )


def _measures(problem: Problem, file: Path, rows: np.ndarray, measured: Callable) -> dict[str, np.ndarray]:
    """What is measured at some rows of a path, or was when they were kept."""
    if problem.projection is not None:
        kept, names = _beside(file, MEASURES), list(problem.measures)
        names[1:1] = [at_lookahead(names[0])] if problem.lookahead else []
        return {name: kept[name][rows] for name in names}
    points, ahead = read_path(problem, file).params, None
    if problem.lookahead:
        ahead = load(file, problem.start, point=AHEAD)[0].params
    return at_both(measured, *jax.tree.map(lambda leaf: leaf[rows], (points, ahead)))


def _beside(file: Path, name: str) -> Any:
    return load_beside(file, name)[1]


def choose(grid: dict[float, tuple[Outcome, ...]], validated: str | None) -> float:
    """The learning rate whose last validation loss is least in the mean over the seeds; of equals, the first.

    Where paths end at a target the fewest steps go first. A trial that diverged, or whose last validation loss is not
    finite, puts its rate behind those with fewer such.

    Args:
        grid: what came of each.
        validated: the measure that decides; None where there is one rate.
    """
    if len(grid) == 1:
        return next(iter(grid))
    return min(grid, key=lambda rate: _rank(grid[rate], validated))


def ended_finite(outcomes: Sequence[Outcome], validated: str) -> list[Outcome]:
    """Those whose word counts when a rate is chosen; where no rate has any, the first rate stands, and none is chosen.

    Args:
        outcomes: at one rate.
        validated: the measure that decides.
    """
    return [o for o in outcomes if o.diverged is None and math.isfinite(o.measures[validated][-1])]


def _rank(outcomes: Sequence[Outcome], validated: str) -> tuple[float, ...]:
    ends = [  # as many steps as there are, but where a target is reached
        (int(o.steps[-1]), float(o.measures[validated][-1])) for o in ended_finite(outcomes, validated)
    ]
    return len(outcomes) - len(ends), *(np.mean(ends, axis=0).tolist() if ends else (math.inf, math.inf))
