"""What the names in a config stand for: the one place where a name becomes a function."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

from nagviz import optim
from nagviz.experiment import data, functions, models, networks, own
from nagviz.experiment.report import Refusal
from nagviz.experiment.tables.models import Model, OwnLoss, OwnModel
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
DATA = {"digits": lambda c, seed: data.digits(c.test_fraction, seed)}
ACTIVATIONS = {"relu": nnx.relu, "tanh": jnp.tanh, "sigmoid": nnx.sigmoid}
SHORTCUTS = {"A": networks.Padded, "B": networks.Projected}
MODELS = {  # of the config, the shape of a sample, the number of classes or of numbers predicted, and a seed
    "mlp": lambda c, shape, outputs, seed: models.mlp(
        (math.prod(shape), *c.hidden, outputs), seed, ACTIVATIONS[c.activation]
    ),
    "article": lambda c, shape, outputs, seed: models.article(shape, outputs, seed),
    "autoencoder": lambda c, shape, outputs, seed: models.autoencoder(
        (math.prod(shape), *c.hidden, c.code), seed, fan_in=c.fan_in
    ),
    "cnn": lambda c, shape, outputs, seed: models.cnn(shape, c.channels, outputs, seed),
    "resnet": lambda c, shape, outputs, seed: models.resnet(
        shape, outputs, seed, depth=c.depth, width=c.width, shortcut=SHORTCUTS[c.shortcut or "A"] if c.skip else None
    ),
    "transformer": lambda c, shape, outputs, seed: models.transformer(
        shape, outputs, models.Sizes(c.width, c.heads, c.layers, c.length, c.tied), seed
    ),
    "own": lambda c, shape, outputs, seed: own.make_model(c.function, shape, outputs, seed),
}
_PREDICTING = ("classification", "regression")
TASKS = {  # that a model can be trained for; one of the user's own may be for any
    "mlp": (*_PREDICTING, "reconstruction"),
    "article": _PREDICTING,
    "autoencoder": ("reconstruction",),
    "cnn": _PREDICTING,
    "resnet": _PREDICTING,
    "transformer": ("characters",),
    "own": tuple(models.LOSSES),
}
FUNCTIONS = {
    "rosenbrock": lambda c: functions.rosenbrock(),
    "beale": lambda c: functions.beale(),
    "quadratic": lambda c: functions.quadratic(c.condition_number),
    "rastrigin": lambda c: functions.rastrigin(),
    "logistic": lambda c: functions.logistic(*data.breast_cancer(), c.ridge),
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


def make_model(table: Model, task: str, inputs: np.ndarray, outputs: int, seed: int) -> models.Model:
    """The model that a table of the config describes, if it fits the data; one of the user's own is imported.

    Args:
        table: of the config.
        task: a key of `models.LOSSES`.
        inputs: samples, of which the shape and dtype are asked for.
        outputs: the number of classes, or of numbers predicted.
        seed: of the start.

    Raises:
        Refusal: it is for another task, or for samples of another shape.
    """
    shape = inputs.shape[1:]
    if task not in TASKS[table.kind]:
        fitting = ", ".join(kind for kind, tasks in TASKS.items() if task in tasks)
        wanted = " or ".join(TASKS[table.kind])
        raise Refusal(f"model.kind: {table.kind!r} is for {wanted}, and the data are for {task}: take {fitting}")
    if isinstance(table, OwnModel):
        model = MODELS["own"](table, shape, outputs, seed)
        wanted = (2, *shape, outputs) if task == "characters" else (2, outputs)
        own.require_outputs(table.function, model, _two(inputs), wanted, exact=task in ("classification", "characters"))
        return model
    try:
        return MODELS[table.kind](table, shape, outputs, seed)
    except ValueError as error:
        raise Refusal(f"model: {error}") from None


def make_loss(
    table: OwnLoss | None, task: str, model: models.Model, samples: data.Samples
) -> Callable[[jax.Array, jax.Array], jax.Array]:
    """The loss of a task, (outputs, targets) -> scalar; one of the user's own is imported.

    Raises:
        Refusal: what the table names cannot be imported or called, or is no scalar of the model's outputs.
    """
    if table is None:
        return models.LOSSES[task]
    loss = own.make_loss(table.function)
    inputs, targets = samples
    outputs = jax.eval_shape(model.apply, model.params, _two(inputs))
    own.require_scalar(table.function, loss, outputs, _two(targets))
    return loss


def _two(samples: np.ndarray) -> jax.ShapeDtypeStruct:
    """Shape and dtype of two samples, for what is tried without being computed."""
    return jax.ShapeDtypeStruct((2, *samples.shape[1:]), samples.dtype)
