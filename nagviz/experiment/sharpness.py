"""How sharply the loss bends where training goes, and how sharply it may bend before the method is unstable.

A linear method with constant coefficients is unstable on a mode of curvature above its stability limit over its
learning rate. Full-batch training drives the largest curvature up to there, and stays (Cohen et al. 2021).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import jax
import numpy as np

from nagviz import landscape, optim
from nagviz.experiment.choices import MEMBERS, Known
from nagviz.experiment.family_map import Method, coefficients
from nagviz.experiment.outcomes import Standing, read_path
from nagviz.experiment.problems import Problem
from nagviz.experiment.report import Row
from nagviz.experiment.rivals import make_rival
from nagviz.experiment.tables.optimizers import Optimizer
from nagviz.experiment.tables.runs import Sharpness

_ROUNDING = 1e-6  # of a momentum that is read off steps in float32
_NOT_LINEAR = ("restart", "clip", "weight_decay", "outer")  # what the limit does not speak of, where it is set


def sharpness_rows(
    problem: Problem,
    standings: Sequence[Standing],
    tables: Sequence[Optimizer],
    asked: Sharpness,
    advance: Callable[..., None],
) -> Iterator[Row]:
    """A row for every point of the path that figures show of each optimizer, where it stayed finite.

    Args:
        problem: on data.
        standings: of its rivals.
        tables: of the same optimizers, in the config.
        asked: how often, and how many. The loss is that of all training samples, also where a slice has fewer.
        advance: is told of every point that is done.
    """
    for standing, table in zip(standings, tables, strict=True):
        task = f"{problem.name}: sharpness of {standing.rival}"
        path = read_path(problem, standing.shown.file)
        rows = np.flatnonzero(np.asarray(path.steps) % asked.every == 0)
        steps = np.asarray(path.steps)[rows]
        seen = landscape.curvatures(
            problem.judged or problem.loss,
            _rows(path.params, rows),
            batches=[problem.batches.samples],
            count=asked.count,
            report=lambda task=task: advance(task, 1),
        )
        advance(task, problem.steps // asked.every + 1 - len(rows), spared=True)
        limit = stability(table, standing.learning_rate, problem.steps)
        for step, values in zip(steps.tolist(), seen.values.tolist(), strict=True):
            yield {
                "optimizer": standing.rival,
                "step": step,
                **{f"eigenvalue {i + 1}": value for i, value in enumerate(values)},
                "limit": None if limit is None else float(limit[step]),
            }


def _rows(points, rows):
    return jax.tree.map(lambda leaf: np.asarray(leaf[:])[rows], points)


def stability(table: Optimizer, learning_rate: float, steps: int) -> np.ndarray | None:
    """(steps + 1,) the curvature above which an optimizer is unstable at each step, as if it stood still there.

    Args:
        table: of the config.
        learning_rate: the chosen one.
        steps: of the run.

    Returns:
        None where the theory does not reach: no linear method, or one with something around it.
    """
    if any(getattr(table, key, None) for key in _NOT_LINEAR):
        return None
    if table.kind == "sgd" and table.lookahead is None and table.learning_rate_schedule is None:
        return np.full(steps + 1, optim.stability_limit(0.0) / learning_rate)
    if table.kind not in MEMBERS:
        return None
    rival = make_rival(table, (learning_rate,), Known(steps=steps))
    by_age = coefficients(Method(rival.optimizer(learning_rate), learning_rate), steps + 1)
    alpha, mu, gamma = np.asarray(by_age, np.float64).T
    if np.any((mu < -_ROUNDING) | (mu > 1 + _ROUNDING)):
        return None
    limits = [optim.stability_limit(m, g, a) for a, m, g in zip(alpha, np.clip(mu, 0, 1), gamma, strict=True)]
    return np.array(limits) / learning_rate
