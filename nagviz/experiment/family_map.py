"""The map of the look-ahead family, with a run's methods where their coefficients put them."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from nagviz.experiment.choices import MEMBERS, Known
from nagviz.experiment.report import Refusal
from nagviz.experiment.rivals import make_rival
from nagviz.experiment.tables.runs import Config

BARE = dict.fromkeys(("restart", "learning_rate_schedule", "clip", "weight_decay", "decay_at"))  # the method alone


class Method(NamedTuple):
    """A linear method with a look-ahead."""

    optimizer: optax.GradientTransformation
    learning_rate: float


def make_methods(config: Config) -> dict[str, Method]:
    """The members to be put on the map, without what is not linear or not theirs.

    Raises:
        Refusal: a method does not fit the map's condition number.
    """
    if config.family is None:
        return {}
    made = {}
    for i, table in enumerate(config.optimizers):
        if table.kind in MEMBERS:
            rate, known = table.learning_rate or 1.0, Known(config.family.condition_number, config.steps)
            try:
                rival = make_rival(table.model_copy(update=BARE), (rate,), known)
            except ValueError as error:
                raise Refusal(f"optimizers.{i}: {error}, for the map of [family]") from None
            made[table.name] = Method(rival.optimizer(rate), rate)
    return made


def coefficients(method: Method, steps: int = 60) -> np.ndarray:
    """(steps, 3): step weight, momentum and correction, as a unit step and a unit displacement show them."""
    optimizer = method.optimizer
    unit = jnp.array([1.0, 0.0])  # the first number shows what becomes of a step, the second of a displacement

    def step(state, _):
        state = optax.tree.set(state, displacement=1 - unit)
        emitted, state = optimizer.update(-unit / method.learning_rate, state, unit, value=0.0)
        kept = optax.tree.get(state, "displacement")
        alpha, mu = emitted[0] - kept[0], kept[1]
        return state, jnp.stack([alpha, mu, kept[0] - mu * alpha])

    return np.asarray(jax.lax.scan(step, optimizer.init(unit), length=steps)[1])
