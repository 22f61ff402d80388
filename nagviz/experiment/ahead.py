"""Where a method looked ahead to, from the iterates that a run keeps.

Where the correction is 0, as of Nesterov's methods, the displacement is the momentum times the last step:

    y_t = x_t + mu_t (x_t - x_{t-1})

So iterates that follow on one another tell it, and their projections tell its projection.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from nagviz.experiment.choices import MEMBERS, Known
from nagviz.experiment.family_map import Method, coefficients
from nagviz.experiment.rivals import make_rival
from nagviz.experiment.tables.optimizers import Optimizer
from nagviz.experiment.tables.runs import Run
from nagviz.landscape import Projection

_ROUNDING = 1e-6  # of a coefficient that is read off steps in float32
_SURROUNDED = ("restart", "outer")  # what changes the displacement between two steps


def lookaheads(run: Run, seen: Mapping[str, Projection]) -> dict[str, np.ndarray]:
    """(T, 2) look-ahead points of the paths of which they are known, to rounding.

    Args:
        run: the config, whose optimizers the paths are of.
        seen: paths on a plane, by the optimizer's name.
    """
    tables = {table.name: table for table in getattr(run, "optimizers", ())}
    found = {name: _ahead(tables[name], path) for name, path in seen.items() if name in tables}
    return {name: points for name, points in found.items() if points is not None}


def _ahead(table: Optimizer, path: Projection) -> np.ndarray | None:
    x = np.asarray(path.coordinates, np.float64)
    consecutive = path.steps is not None and np.array_equal(path.steps, np.arange(len(x)))
    if not consecutive or len(x) < 2 or (momentum := _momenta(table, len(x) - 1)) is None:
        return None
    return x + np.append(0.0, momentum)[:, None] * np.diff(x, axis=0, prepend=x[:1])


def _momenta(table: Optimizer, steps: int) -> np.ndarray | None:
    """mu_1 to mu_steps, of a method whose points are its iterates; None where they do not tell the displacement."""
    if table.kind not in MEMBERS or any(getattr(table, key, None) for key in _SURROUNDED):
        return None
    if table.evaluate == "lookahead" or (table.evaluate != "iterate" and table.kind != "nag"):
        return None
    rates = table.learning_rate
    rate = rates[0] if isinstance(rates, tuple) else rates or 1.0
    try:
        rival = make_rival(table, (rate,), Known(steps=steps))
    except ValueError:  # of a momentum that the problem tells
        return None
    _, mu, gamma = np.asarray(coefficients(Method(rival.optimizer(rate), rate), steps), np.float64).T
    return mu if np.all(np.abs(gamma) < _ROUNDING) else None
