"""What the names in a config stand for: the one place where a name becomes a function."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from optax import contrib

from nagviz import optim
from nagviz.experiment import data, functions, models, networks, own
from nagviz.experiment.report import Refusal
from nagviz.experiment.tables.models import Model, OwnLoss, OwnModel


class Known(NamedTuple):
    """What a problem tells its optimizers."""

    condition_number: float | None = None  # where the problem knows one
    steps: int = 1  # how many it gives them


def _at_params(state, params):
    del state
    return params


POINTS = {"own": optim.evaluation_point, "iterate": optim.iterate, "lookahead": _at_params}


def _condition_number(table: Any, known: Known) -> float | None:
    return known.condition_number if table.condition_number is None else table.condition_number


def _sutskever(table: Any, known: Known) -> Callable[[Any], Any]:
    """Raised, and at most 0.9 in the last updates; what is made at an age is the momentum of the update after it."""
    rising = optim.sutskever(table.maximum, table.period)
    if table.final_steps is None:
        return rising
    first = known.steps - table.final_steps
    return lambda age: jnp.where(age + 1 < first, rising(age), jnp.minimum(rising(age), 0.9))


SCHEDULES = {
    "condition_number": lambda c, known: optim.from_condition_number(_condition_number(c, known)),
    "nesterov_2004": lambda c, known: optim.nesterov_2004(_condition_number(c, known), c.a0),
    "fista": lambda c, known: optim.fista_momentum(),
    "friction": lambda c, known: optim.friction(c.r),
    "rational": lambda c, known: optim.rational(c.k, c.n),
    "sutskever": _sutskever,
}
RESTARTS = {
    "gradient": lambda c: optim.gradient_restart(c.reject),
    "function": lambda c: optim.function_restart(c.reject),
    "speed": lambda c: optim.speed_restart(c.min_age, reject=c.reject),
    "periodic": lambda c: optim.periodic_restart(c.period, reject=c.reject),
}


def _momentum(table: Any, known: Known) -> Any:
    if table.restart is not None and getattr(table.schedule, "final_steps", None) is not None:
        raise ValueError("schedule.final_steps: must be left out with a restart, after which the ages begin anew")
    return table.momentum if table.schedule is None else SCHEDULES[table.schedule.kind](table.schedule, known)


def _number(rate: Any) -> Any:
    """The rate of a trial that runs beside others, which comes as a constant schedule, as a number again."""
    return rate(0) if callable(rate) else rate


RATES = {  # factors of the learning rate: of the config, and of the steps that the optimizer takes
    "cosine": lambda c, steps: optax.cosine_decay_schedule(1.0, c.steps or steps, c.end),
    "linear": lambda c, steps: optax.linear_schedule(1.0, c.end, c.steps or steps),
    "warmup_cosine": lambda c, steps: optax.warmup_cosine_decay_schedule(
        c.start, 1.0, c.warmup, c.steps or steps, c.end
    ),
    "exponential": lambda c, steps: optax.exponential_decay(1.0, c.steps, c.factor),
    "step": lambda c, steps: optax.piecewise_constant_schedule(1.0, dict.fromkeys(c.at, c.factor)),
}
MEMBERS = {  # of the config, a learning rate, what is known, and the keywords that all members take
    "nag": lambda c, rate, known, **more: optim.nag(rate, _momentum(c, known), **more),
    "heavy_ball": lambda c, rate, known, **more: optim.heavy_ball(rate, _momentum(c, known), **more),
    "qhm": lambda c, rate, known, **more: optim.qhm(rate, c.nu, c.beta, **more),
    "ogm": lambda c, rate, known, **more: optim.ogm(rate, c.horizon, **more),
    "triple_momentum": lambda c, rate, known, **more: optim.triple_momentum(rate, _condition_number(c, known), **more),
    "robust_momentum": lambda c, rate, known, **more: optim.robust_momentum(
        rate, _condition_number(c, known), c.rate, **more
    ),
    "item": lambda c, rate, known, **more: optim.item(rate, _condition_number(c, known), **more),
    "mass": lambda c, rate, known, **more: optim.mass(_number(rate), c.compensation, _momentum(c, known), **more),
    "agnes": lambda c, rate, known, **more: optim.agnes(_number(rate), c.alpha, c.rho, **more),
    "schedule_free": lambda c, rate, known, **more: optim.schedule_free(rate, c.beta, **more),
    "primal_averaging": lambda c, rate, known, **more: optim.primal_averaging(rate, c.mu_y, c.mu_x, **more),
    "ema_nesterov": lambda c, rate, known, **more: optim.ema_nesterov(rate, c.decay, c.lookahead, **more),
}
OTHERS = {  # of the config and a learning rate, which may be a schedule
    "sgd": lambda c, rate: optax.sgd(rate),
    "optax_nag": lambda c, rate: optax.sgd(rate, c.momentum, nesterov=True),
    "adam": lambda c, rate: optax.adam(rate, c.b1, c.b2, c.eps),
    "adamw": lambda c, rate: optax.adamw(rate, c.b1, c.b2, c.eps, weight_decay=c.weight_decay),
    "nadam": lambda c, rate: optax.nadam(rate, c.b1, c.b2, c.eps),
    "adagrad": lambda c, rate: optax.adagrad(rate, c.initial_accumulator_value, c.eps),
    "rmsprop": lambda c, rate: optax.rmsprop(rate, c.decay, c.eps, momentum=c.momentum),
    "muon": lambda c, rate: contrib.muon(
        rate, beta=c.beta, weight_decay=c.weight_decay or 0.0, adam_weight_decay=c.weight_decay or 0.0
    ),
    "lion": lambda c, rate: optax.lion(rate, c.b1, c.b2, weight_decay=c.weight_decay),
    "schedule_free_sgd": lambda c, rate: contrib.schedule_free_sgd(rate, b1=c.b1),
    "schedule_free_adamw": lambda c, rate: contrib.schedule_free_adamw(
        rate, b1=c.b1, b2=c.b2, eps=c.eps, weight_decay=c.weight_decay or 0.0
    ),
    "outer_nesterov": lambda c, rate: optim.outer_nesterov(optax.sgd(rate), c.steps, c.outer_learning_rate, c.momentum),
}
DECOUPLED = ("adamw", "muon", "lion", "schedule_free_adamw")  # what takes its weight decay itself
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
