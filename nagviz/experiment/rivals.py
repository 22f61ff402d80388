"""An optimizer of a race, from its table: the method, and what goes before, behind and around it.

chain(clip, decay, method, look-ahead), with the outer look-ahead around it all
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from optax import contrib

from nagviz import optim
from nagviz.experiment.choices import DECOUPLED, MEMBERS, OTHERS, POINTS, RATES, RESTARTS, Known
from nagviz.experiment.tables.optimizers import Optimizer

Rate = float | optax.Schedule


class Rival(NamedTuple):
    """An optimizer of a race."""

    name: str
    learning_rates: tuple[float, ...]  # one, or a grid of which validation data choose
    optimizer: Callable[[Rate], optax.GradientTransformation]  # at a learning rate
    deployed: Callable[[optax.OptState, Any], Any]  # state, params -> the point that is measured
    restarts: Callable[[optax.OptState], jax.Array]  # how often it has restarted
    table: Optimizer  # of the config, and
    known: Known  # what was known of the problem: what it is made from


def make_rival(table: Optimizer, learning_rates: Sequence[float], known: Known = Known()) -> Rival:  # noqa: B008
    """The optimizer that a table of the config describes.

    Args:
        table: of the config.
        learning_rates: its own, the problem's for it, or 1/L.
        known: what the problem tells it.

    Raises:
        ValueError: a number that the problem's own rules out, such as a rate that its condition number has not.
    """

    def optimizer(rate):
        return _surrounded(table, _decayed(table, *_method(table, rate, known)))

    for rate in learning_rates:
        optimizer(rate)  # refuses what does not go together
    return Rival(table.name, tuple(learning_rates), optimizer, *_readers(table), table, known)


def _method(table, rate: Rate, known: Known) -> list[optax.GradientTransformation]:
    """The method and its look-ahead; for a member, to scale the gradient is to schedule the learning rate."""
    schedule = table.learning_rate_schedule
    factor = None if schedule is None else _widely_counted(RATES[schedule.kind](schedule, known.steps))
    if table.kind in MEMBERS:
        member = MEMBERS[table.kind](table, rate, known, restart=_restart(table))
        return [member] if factor is None else [optax.scale_by_schedule(factor), member]
    links = [OTHERS[table.kind](table, rate if factor is None else _scheduled(rate, factor))]
    mu = getattr(table, "lookahead", None)
    return links if mu is None else [*links, optim.nesterov_lookahead(mu, restart=_restart(table))]


def _widely_counted(factor: optax.Schedule) -> optax.Schedule:
    # An integer of 32 bits over a number is a float32 even under x64.
    return lambda count: factor(jnp.asarray(count, float))


def _scheduled(rate: Rate, factor: optax.Schedule) -> optax.Schedule:
    return lambda count: (rate(count) if callable(rate) else rate) * factor(count)


def _restart(table):
    return None if table.restart is None else RESTARTS[table.restart.kind](table.restart)


def _decayed(table, *links: optax.GradientTransformation) -> optax.GradientTransformation:
    """The links behind their weight decay, at y, which are the params, or at x."""
    if table.weight_decay and table.kind not in DECOUPLED:
        links = (optax.add_decayed_weights(table.weight_decay), *links)
    chained = optax.chain(*links)
    return _at_iterate(chained) if getattr(table, "decay_at", None) == "iterate" else chained


def _at_iterate(optimizer: optax.GradientTransformation) -> optax.GradientTransformationExtraArgs:
    """Tells the iterate for the params: all that an optimizer takes of them is the weight decay."""

    def update(updates, state, params=None, **extra):
        return optimizer.update(updates, state, optim.iterate(state, params), **extra)

    return optax.GradientTransformationExtraArgs(optimizer.init, update)


def _surrounded(table, optimizer: optax.GradientTransformation) -> optax.GradientTransformation:
    """The optimizer with its clipping before and its outer look-ahead around it."""
    if table.clip is not None:
        optimizer = optax.chain(optax.clip_by_global_norm(table.clip), optimizer)
    outer = getattr(table, "outer", None)
    return optimizer if outer is None else optim.outer_nesterov(optimizer, **outer.model_dump())


def _readers(table) -> tuple[Callable, Callable]:
    """What reads the point to be measured, and the restarts."""
    if table.kind in MEMBERS or getattr(table, "lookahead", None) is not None:
        return POINTS[table.evaluate or "own"], optim.restarts
    average = table.kind in ("schedule_free_sgd", "schedule_free_adamw")
    return (_average if average else POINTS["lookahead"]), _no_restarts


def _no_restarts(state) -> jax.Array:
    del state
    return jnp.zeros((), jnp.int32)


def _average(state, params):
    """The average x of Optax's schedule-free methods, whose own reading does not look into a chain."""

    def is_average(node):
        return isinstance(node, contrib.ScheduleFreeState)

    (found,) = (node for node in jax.tree.leaves(state, is_leaf=is_average) if is_average(node))
    return contrib.schedule_free_eval_params(found, params)
