"""Rows of the tables: what was measured at every step, what came of every optimizer, and what a grid was chosen by."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np

from nagviz.experiment.outcomes import Outcome, Standing, ended_finite
from nagviz.experiment.problems import Problem
from nagviz.experiment.report import Row

Standings = Sequence[Sequence[Standing]]  # of the rivals of every problem


def metric_rows(problems: Sequence[Problem], standings: Standings) -> Iterator[Row]:
    """A row for every snapshot that was measured, of all trials."""
    for problem, standing in _each(problems, standings):
        for outcomes in standing.grid.values():
            for outcome in outcomes:
                of = {"learning_rate": outcome.learning_rate, "seed": outcome.seed}
                for i, step in enumerate(outcome.steps.tolist()):
                    values = {name: float(series[i]) for name, series in outcome.measures.items()}
                    about = {**named(problems, problem), "optimizer": standing.rival, **of, "step": step}
                    yield {**about, **values, **_events(outcome, i)}


def _events(outcome: Outcome, row: int) -> Row:
    restarted = {"restarted": True} if outcome.steps[row] in outcome.marks else {}
    ended = outcome.diverged is not None and row == len(outcome.steps) - 1
    return restarted | ({"diverged": outcome.diverged} if ended else {})


def result_rows(problems: Sequence[Problem], standings: Standings) -> list[Row]:
    """A row for every optimizer: mean and spread over the seeds, at the chosen learning rate."""
    rows = [
        {**named(problems, problem), "optimizer": standing.rival, **_result(problem, standing)}
        for problem, standing in _each(problems, standings)
    ]
    if not any(len(standing.grid) > 1 for _, standing in _each(problems, standings)):
        rows = [{column: value for column, value in row.items() if column != "learning rate"} for row in rows]
    columns = dict.fromkeys(column for row in rows for column in row if column not in ("seconds", "note"))
    return [{column: row.get(column) for column in (*columns, "seconds", "note")} for row in rows]


def grid_rows(problems: Sequence[Problem], standings: Standings) -> list[Row]:
    """A row for every learning rate of a grid, with what it is chosen by, in the mean over the seeds.

    That is the last validation loss, and before it the steps to the target, where there is one. None is chosen where
    no trial ended with a finite one, at any rate.
    """
    return [
        {
            **named(problems, problem),
            "optimizer": standing.rival,
            "learning rate": rate,
            **means(outcomes, [problem.validated]),
            **_steps_column(problem, outcomes),
            "chosen": "yes" if rate == _chosen_rate(problem, standing) else "",
            "note": _lost(outcomes, [problem.validated]),
        }
        for problem, standing in _each(problems, standings)
        if len(standing.grid) > 1
        for rate, outcomes in standing.grid.items()
    ]


def _each(problems, standings) -> Iterator[tuple[Problem, Standing]]:
    for problem, of_problem in zip(problems, standings, strict=True):
        for standing in of_problem:
            yield problem, standing


def named(problems, problem) -> dict[str, str]:
    """The problem's name, where a run has several."""
    return {"problem": problem.name} if len(problems) > 1 else {}


def _result(problem: Problem, standing: Standing) -> Row:
    outcomes = standing.chosen
    rate = _chosen_rate(problem, standing)
    row = {"learning rate": rate, **means(outcomes, list(problem.measures))}
    notes = [_lost(outcomes, list(problem.measures)), _of_the_grid(standing, rate)]
    if problem.tolerance is not None:
        row |= _way(problem, outcomes)
        notes.append(_short(problem, outcomes))
    seconds = float(np.mean([outcome.seconds for outcome in outcomes]))
    return {**row, "seconds": round(seconds, 3), "note": "; ".join(note for note in notes if note)}


def _way(problem: Problem, outcomes: Sequence[Outcome]) -> Row:
    """How long the way to the tolerance was: mean and spread over seeds, nothing unless all got there."""
    restarts = [outcome.restarts for outcome in outcomes]
    return {**_steps_column(problem, outcomes), "restarts": restarts[0] if len(restarts) == 1 else _mean(restarts)}


def _steps_column(problem: Problem, outcomes: Sequence[Outcome]) -> Row:
    if problem.tolerance is None:
        return {}
    counts, label = [_steps_needed(problem, outcome) for outcome in outcomes], f"steps to {problem.tolerance:g}"
    if len(counts) == 1:
        return {label: counts[0]}
    known = None not in counts
    return {label: _mean(counts) if known else None, f"{label} \u00b1": _spread(counts) if known else None}


def _steps_needed(problem: Problem, outcome: Outcome) -> int | None:
    """The steps after which a trial was where it ends."""
    last = int(outcome.steps[-1])
    near = next(iter(outcome.measures.values()))[-1] <= problem.tolerance
    return last if outcome.diverged is None and (near or last < problem.steps) else None


def _short(problem: Problem, outcomes: Sequence[Outcome]) -> str:
    """Which trials did not get to the tolerance, of those that did not diverge."""
    short = [o for o in outcomes if o.diverged is None and _steps_needed(problem, o) is None]
    seeds = f"seed {', '.join(str(o.seed) for o in short)} " if len(outcomes) > 1 else ""
    return f"{seeds}not in {problem.steps} steps" if short else ""


def target_rows(problems: Sequence[Problem], standings: Standings) -> list[Row]:
    """The steps that each optimizer needed to the target of the training, where batch sizes are compared."""
    sized = [(problem, standing) for problem, standing in _each(problems, standings) if _has_target(problem)]
    if sum(map(_has_target, problems)) < 2:
        return []
    return [
        {
            "optimizer": standing.rival,
            "batch size": problem.batches.size,
            "target": problem.tolerance,
            "steps": _mean_steps(problem, standing.chosen),
        }
        for problem, standing in sized
    ]


def _has_target(problem: Problem) -> bool:
    return problem.batches is not None and problem.tolerance is not None


def _mean_steps(problem: Problem, outcomes: Sequence[Outcome]) -> float | None:
    counts = [_steps_needed(problem, outcome) for outcome in outcomes]
    return None if None in counts else _mean(counts)


def means(outcomes: Sequence[Outcome], names: Sequence[str]) -> dict[str, float]:
    """The last value of each measure: its mean, and from several seeds its sample standard deviation.

    What diverged has no value, and then there is no mean.
    """
    row = {}
    for name in names:
        values = [math.nan if o.diverged is not None else float(o.measures[name][-1]) for o in outcomes]
        row[name] = _mean(values)
        if len(values) > 1:
            row[f"{name} \u00b1"] = _spread(values)
    return row


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values) if np.isfinite(values).all() else sum(values)


def _spread(values: Sequence[float]) -> float:
    return float(np.std(values, ddof=1)) if np.isfinite(values).all() else math.nan


def _lost(outcomes: Sequence[Outcome], names: Sequence[str]) -> str:
    """Which trials diverged, and when; and which of the others end with a measure of these names that is not finite."""
    said = [(outcome.seed, _end(outcome, names)) for outcome in outcomes]
    return "; ".join(f"{f'seed {seed} ' if len(said) > 1 else ''}{what}" for seed, what in said if what)


def _end(outcome: Outcome, names: Sequence[str]) -> str:
    if outcome.diverged is not None:
        return f"diverged at step {outcome.diverged}"
    ends = {name: float(outcome.measures[name][-1]) for name in names}
    return " and ".join(f"ends with {name} {end}" for name, end in ends.items() if not math.isfinite(end))


def _chosen_rate(problem: Problem, standing: Standing) -> float | None:
    """The rate that was given or chosen; None where there was nothing to choose by."""
    given = len(standing.grid) == 1
    return standing.learning_rate if given or ended_finite(standing.chosen, problem.validated) else None


def _of_the_grid(standing: Standing, chosen: float | None) -> str:
    """Whether a better rate may lie beyond the grid, or none of it is any good."""
    rates = sorted(standing.grid)
    ends = {None: "no", rates[0]: "the least", rates[-1]: "the largest"} if len(rates) > 1 else {}
    return f"chose {ends[chosen]} rate of its grid" if chosen in ends else ""
