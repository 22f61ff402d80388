"""What became of the trials of a rival, and which learning rate of its grid is chosen."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np

from nagviz import landscape
from nagviz.experiment.measures import measurer
from nagviz.experiment.observing import observed
from nagviz.experiment.problems import Problem
from nagviz.experiment.report import Refusal
from nagviz.experiment.rivals import Rival
from nagviz.experiment.trials import Trial, load


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


def read_shown(problem: Problem, folder: Path, number: int) -> dict[str, landscape.Trajectory]:
    """The path that figures show of every rival, where it stayed finite.

    Raises:
        Refusal: a path is missing or damaged.
    """
    shown = [standing.shown for standing in read_standings(_at_ends(problem), folder, number)]
    return {outcome.rival: read_path(problem, outcome.file)[0] for outcome in shown if outcome.diverged is None}


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


def read_path(problem: Problem, file: Path) -> tuple[landscape.Trajectory, dict]:
    """The path of a trial and its facts.

    Raises:
        Refusal: it is missing, damaged or not finished.
    """
    path, facts = load(file, problem.start)
    if facts is None:
        raise Refusal(f"{file} is a path that is not finished; nagviz run --resume goes on with it")
    return path, facts


def _standing(problem: Problem, rival: Rival, trials: Sequence[Trial], measured: Callable) -> Standing:
    seeds = [seed for _ in rival.learning_rates for seed in problem.seeds]
    outcomes = [_outcome(problem, rival, t, seed, measured) for t, seed in zip(trials, seeds, strict=True)]
    by_rate = groupby(outcomes, key=lambda outcome: outcome.learning_rate)
    grid = {rate: tuple(group) for rate, group in by_rate}
    return Standing(rival.name, grid, choose(grid, problem.validated))


def _outcome(problem: Problem, rival: Rival, trial: Trial, seed: int, measured: Callable) -> Outcome:
    path, facts = read_path(problem, trial.file)
    rows = np.unique([*range(0, len(path.steps), problem.measure_every), len(path.steps) - 1])
    steps = np.asarray(path.steps)[rows]
    kept = observed(problem.observed, rival, trial.learning_rate, steps, lambda name: _beside(trial.file, name)[rows])
    marks = steps[np.searchsorted(steps, np.asarray(facts["marks"], int))]
    return Outcome(
        rival.name,
        trial.learning_rate,
        seed,
        trial.file,
        steps,
        _measures(problem, trial.file, path, rows, measured) | kept,
        facts["seconds"],
        facts["diverged"],
        facts["restarts"],
        np.unique(marks),
    )


def _measures(problem: Problem, file: Path, path: landscape.Trajectory, rows: np.ndarray, measured: Callable):
    """What is measured at some rows of a path, and the first of it at the look-ahead points where these are kept."""
    seen = measured(jax.tree.map(lambda leaf: leaf[rows], path.params))
    if not problem.lookahead:
        return seen
    ahead, _ = load(file, problem.start, point="lookahead")
    first, *others = seen
    at_y = measured(jax.tree.map(lambda leaf: leaf[rows], ahead.params))[first]
    return {first: seen[first], f"{first} at look-ahead": at_y, **{name: seen[name] for name in others}}


def _beside(file: Path, name: str) -> np.ndarray:
    return np.asarray(load(file, point=name)[0].params)


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
