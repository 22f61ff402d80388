"""What is seen of a method where its path is kept, besides the point: of its state, the gradient and its schedules.

With x_t the iterate, y_t the look-ahead point, s_t = y_t - x_t, g_t the gradient of the probed loss at y_t, and d_t the
step that the method makes of it there, such as -lr g_t:

    loss at y, gradient norm    L(y_t) and |g_t|
    angle                       between s_t and d_t, in degrees: above 90 the step takes back what looked ahead
    momentum, learning rate     mu and the scheduled rate of the step that is to come

The first three are worked out on the device and kept beside the rows of a path; the loss is that of a few samples,
since at every row it costs as much as a step does. The rest follows from the config and the age of the velocity.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from nagviz import optim
from nagviz.experiment.anatomy import at_rest
from nagviz.experiment.choices import MEMBERS, RATES
from nagviz.experiment.family_map import BARE, Method, coefficients
from nagviz.experiment.measures import Measure
from nagviz.experiment.rivals import Rival, make_rival

DEGREES = "angle of look-ahead and step, degrees"
LABELS = {  # of what a config asks for: its name in tables and figures
    "loss at y": "loss at y",
    "gradient norm": "gradient norm at y",
    "angle": DEGREES,
    "momentum": "momentum",
    "learning rate": "scheduled learning rate",
}
ON_DEVICE = ("loss at y", "gradient norm", "angle")
_AGE = "age"


def observer(names: Sequence[str], probe: Measure, rival: Rival) -> Callable[[Any, Any], dict[str, jax.Array]]:
    """What to keep beside a row: of an optimizer's state and its parameters y, scalars by name.

    Args:
        names: keys of `LABELS`.
        probe: the loss, over few samples.
        rival: whose states they are.
    """
    wanted = [name for name in names if name in ON_DEVICE and (name != "angle" or looks_ahead(rival))]
    optimizer = optax.with_extra_args_support(rival.optimizer(rival.learning_rates[0]))
    aged = "momentum" in names and looks_ahead(rival) and rival.table.restart is not None

    def step(state, params, value, gradient):
        # Without a velocity all that an update has is a multiple of d; at which learning rate does not turn it.
        return optimizer.update(gradient, at_rest(state), params, value=value)[0]

    def observe(state, params):
        seen = {_AGE: optax.tree.get(state, _AGE)} if aged else {}
        if not wanted:
            return seen
        value, gradient = jax.value_and_grad(probe.of)(params, probe.samples)
        found = {"loss at y": lambda: value, "gradient norm": lambda: _norm(gradient)}
        found["angle"] = lambda: _angle(optim.velocity(state, params), step(state, params, value, gradient))
        return seen | {_kept(name): found[name]() for name in wanted}

    return observe


def observed(
    names: Sequence[str], rival: Rival, learning_rate: float, steps: np.ndarray, kept: Callable[[str], np.ndarray]
) -> dict[str, np.ndarray]:
    """By label, what a trial's path tells: (rows,) each. What a method has not is left out.

    Args:
        names: keys of `LABELS`.
        rival: of the trial.
        learning_rate: of the trial.
        steps: (rows,) at which.
        kept: of a name, what the path keeps beside its rows: (rows,).
    """
    found = {}
    for name in names:
        if name in ON_DEVICE and (name != "angle" or looks_ahead(rival)):
            found[LABELS[name]] = kept(_kept(name)).astype(float)
        elif name == "learning rate":
            found[LABELS[name]] = learning_rate * _factor(rival)(steps)
        elif name == "momentum" and looks_ahead(rival):
            ages = steps if rival.table.restart is None else kept(_AGE)
            found[LABELS[name]] = _momentum(rival, learning_rate, int(ages.max()) + 1)[ages]
    return found


def looks_ahead(rival: Rival) -> bool:
    """Whether a method has a look-ahead of its own, which is not that around many steps."""
    table = rival.table
    return (table.kind in MEMBERS or getattr(table, "lookahead", None) is not None) and not getattr(
        table, "outer", None
    )


def _kept(name: str) -> str:
    return name.replace(" ", "_")


def _norm(tree: Any) -> jax.Array:
    return jnp.sqrt(sum(jnp.vdot(leaf, leaf).real for leaf in jax.tree.leaves(tree)))


def _angle(ahead: Any, step: Any) -> jax.Array:
    """Degrees, NaN where either is zero: of unit vectors tan(a/2) = |u - v| / |u + v|, exact near 0 and 180."""
    one, other = _norm(ahead), _norm(step)
    u, v = jax.tree.map(lambda s: s / one, ahead), jax.tree.map(lambda d: d / other, step)
    apart, together = jax.tree.map(jnp.subtract, u, v), jax.tree.map(jnp.add, u, v)
    return jnp.degrees(2 * jnp.arctan2(_norm(apart), _norm(together)))


def _factor(rival: Rival) -> Callable[[np.ndarray], np.ndarray]:
    schedule = rival.table.learning_rate_schedule
    if schedule is None:
        return lambda steps: np.ones(len(steps))
    return jax.vmap(RATES[schedule.kind](schedule, rival.known.steps))


def _momentum(rival: Rival, learning_rate: float, ages: int) -> np.ndarray:
    """(ages,) the momentum at each age of the velocity."""
    table = rival.table
    if table.kind not in MEMBERS:
        return np.full(ages, table.lookahead)
    bare = make_rival(table.model_copy(update=BARE), (learning_rate,), rival.known)
    return np.asarray(coefficients(Method(bare.optimizer(learning_rate), learning_rate), ages)[:, 1], float)
