"""What the names in a config stand for: the one place where a name becomes a function."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from nagviz import optim
from nagviz.experiment import data, models
from nagviz.experiment.tables.optimizers import Optimizer


class Known(NamedTuple):
    """What a problem tells its optimizers."""

    learning_rate: float  # the optimizer's own, the problem's for it, or 1/L
    condition_number: float | None  # where the problem knows one


class Rival(NamedTuple):
    """An optimizer of a race."""

    name: str
    optimizer: optax.GradientTransformation
    deployed: Callable[[optax.OptState, Any], Any]  # state, params -> the point that is measured
    restarts: Callable[[optax.OptState], jax.Array]  # how often it has restarted


def _at_params(state, params):
    del state
    return params


POINTS = {"own": optim.evaluation_point, "iterate": optim.iterate, "lookahead": _at_params}


def _condition_number(table: Any, known: Known) -> float | None:
    return known.condition_number if table.condition_number is None else table.condition_number


SCHEDULES = {
    "condition_number": lambda c, known: optim.from_condition_number(_condition_number(c, known)),
    "nesterov_2004": lambda c, known: optim.nesterov_2004(_condition_number(c, known), c.a0),
    "fista": lambda c, known: optim.fista_momentum(),
    "friction": lambda c, known: optim.friction(c.r),
    "rational": lambda c, known: optim.rational(c.k, c.n),
    "sutskever": lambda c, known: optim.sutskever(c.maximum, c.period),
}
RESTARTS = {
    "gradient": lambda c: optim.gradient_restart(c.reject),
    "function": lambda c: optim.function_restart(c.reject),
    "speed": lambda c: optim.speed_restart(c.min_age, reject=c.reject),
    "periodic": lambda c: optim.periodic_restart(c.period, reject=c.reject),
}


def _momentum(table: Any, known: Known) -> Any:
    return table.momentum if table.schedule is None else SCHEDULES[table.schedule.kind](table.schedule, known)


MEMBERS = {  # of the config, what is known, and the keywords that all members take
    "nag": lambda c, known, **more: optim.nag(known.learning_rate, _momentum(c, known), **more),
    "heavy_ball": lambda c, known, **more: optim.heavy_ball(known.learning_rate, _momentum(c, known), **more),
    "qhm": lambda c, known, **more: optim.qhm(known.learning_rate, c.nu, c.beta, **more),
    "ogm": lambda c, known, **more: optim.ogm(known.learning_rate, c.horizon, **more),
    "triple_momentum": lambda c, known, **more: optim.triple_momentum(
        known.learning_rate, _condition_number(c, known), **more
    ),
    "robust_momentum": lambda c, known, **more: optim.robust_momentum(
        known.learning_rate, _condition_number(c, known), c.rate, **more
    ),
    "item": lambda c, known, **more: optim.item(known.learning_rate, _condition_number(c, known), **more),
    "mass": lambda c, known, **more: optim.mass(known.learning_rate, c.compensation, _momentum(c, known), **more),
    "agnes": lambda c, known, **more: optim.agnes(known.learning_rate, c.alpha, c.rho, **more),
    "schedule_free": lambda c, known, **more: optim.schedule_free(known.learning_rate, c.beta, **more),
    "primal_averaging": lambda c, known, **more: optim.primal_averaging(known.learning_rate, c.mu_y, c.mu_x, **more),
    "ema_nesterov": lambda c, known, **more: optim.ema_nesterov(known.learning_rate, c.decay, c.lookahead, **more),
}
OTHERS = {
    "sgd": lambda c, known: optax.sgd(known.learning_rate),
    "adam": lambda c, known: optax.adam(known.learning_rate, c.b1, c.b2, c.eps),
    "adagrad": lambda c, known: optax.adagrad(known.learning_rate, c.initial_accumulator_value, c.eps),
    "outer_nesterov": lambda c, known: optim.outer_nesterov(
        optax.sgd(known.learning_rate), c.steps, c.outer_learning_rate, c.momentum
    ),
}
WHOLES = {
    "digits": lambda c: data.digits(),
    "breast_cancer": lambda c: data.table("breast_cancer"),
    "wine": lambda c: data.table("wine"),
    "diabetes": lambda c: data.table("diabetes"),
    "mnist_subset": lambda c: data.mnist_subset(c.path, c.average),
    "mnist1d": lambda c: data.mnist1d(c.samples, c.seed),
    "mnist": lambda c: data.mnist(c.path),
    "fashion_mnist": lambda c: data.fashion_mnist(c.path),
    "cifar10": lambda c: data.cifar10(c.path),
    "npz": lambda c: data.npz_file(c.path, c.source),
    "characters": lambda c: data.python_manual(c.length),
    "text": lambda c: data.text_file(c.path, c.length, c.source),
    "tfds": lambda c: data.tensorflow_datasets(c.name, c.path),
    "hf": lambda c: data.hugging_face(c.name, c.inputs, c.targets, c.path),
}


def _cut(table: Any) -> data.Cut:
    """Of a table, which has the keys that make sense for its kind."""
    reconstruct = getattr(table, "task", None) == "reconstruction"
    return data.Cut(getattr(table, "test_fraction", None), table.validation_fraction, table.limit, reconstruct)


DATA = {  # of the config and the seed of the cut
    kind: lambda c, seed, gather=gather: data.made(partial(gather, c), _cut(c), seed) for kind, gather in WHOLES.items()
}
MODELS = {"mlp": lambda c, ends, seed: models.mlp((ends[0], *c.hidden, ends[1]), seed)}
FUNCTIONS = {
    "rosenbrock": lambda c: models.rosenbrock(),
    "beale": lambda c: models.beale(),
    "quadratic": lambda c: models.quadratic(c.condition_number),
    "rastrigin": lambda c: models.rastrigin(),
    "logistic": lambda c: models.logistic(*data.breast_cancer(), c.ridge),
}


def make_rival(table: Optimizer, known: Known) -> Rival:
    """The optimizer that a table of the config describes.

    Raises:
        ValueError: a number that the problem's own rules out, such as a rate that its condition number has not.
    """
    if table.kind in OTHERS:
        return Rival(table.name, OTHERS[table.kind](table, known), _at_params, lambda state: jnp.zeros((), jnp.int32))
    restart = None if table.restart is None else RESTARTS[table.restart.kind](table.restart)
    optimizer = MEMBERS[table.kind](table, known, restart=restart)
    return Rival(table.name, optimizer, POINTS[table.evaluate], optim.restarts)
