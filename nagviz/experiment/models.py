"""Models in Flax nnx, taken apart into parameters and a pure function; and functions to descend."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx


class Model(NamedTuple):
    """A pure function of its parameters."""

    params: Any  # the start, a tree of arrays
    apply: Callable[[Any, jax.Array], jax.Array]  # params, inputs (samples, ...) -> outputs
    statistics: Callable[[Any, jax.Array], Any] | None = None  # params, training inputs -> what `apply_with` needs
    apply_with: Callable[[Any, Any, jax.Array], jax.Array] | None = None  # params, statistics, inputs -> outputs


def cross_entropy(logits: jax.Array, labels: jax.Array) -> jax.Array:
    """The mean cross entropy of logits (samples, classes) and labels (samples,)."""
    return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()


def accuracy(logits: jax.Array, labels: jax.Array) -> jax.Array:
    """The share of labels that have the largest logit."""
    return (logits.argmax(-1) == labels).mean()


LOSSES = {"classification": cross_entropy}
QUANTITIES = {"classification": "cross entropy"}
SCORES = {"classification": ("test accuracy", accuracy)}


class MLP(nnx.Module):
    """Dense layers with ReLU between them."""

    def __init__(self, sizes: tuple[int, ...], *, rngs: nnx.Rngs):
        pairs = pairwise(sizes)
        self.layers = nnx.List([nnx.Linear(a, b, rngs=rngs) for a, b in pairs])

    def __call__(self, x: jax.Array) -> jax.Array:
        """Logits of a batch, (samples, sizes[-1])."""
        for layer in self.layers[:-1]:
            x = nnx.relu(layer(x))
        return self.layers[-1](x)


def mlp(sizes: tuple[int, ...], seed: int) -> Model:
    """A multilayer perceptron with layers of the given sizes, first the inputs, last the outputs."""
    return take_apart(MLP(sizes, rngs=nnx.Rngs(seed)))


def take_apart(model: nnx.Module) -> Model:
    """An nnx module, all of whose state is parameters, as a tree of arrays and a pure function of it."""
    graph, params = nnx.split(model, nnx.Param)
    return Model(params, lambda params, inputs: nnx.merge(graph, params)(inputs))


class Landscape(NamedTuple):
    """A function to descend."""

    function: Callable[[jax.Array], jax.Array]  # (parameters,) -> ()
    minima: tuple[tuple[float, ...], ...]  # where it is lowest
    curvature: float | None = None  # the largest, where there is one
    condition_number: float | None = None  # the largest over the smallest curvature


def rosenbrock() -> Landscape:
    """(1 - x)^2 + 100 (y - x^2)^2: a curved valley. Source: Rosenbrock (1960)."""
    return Landscape(lambda w: (1 - w[0]) ** 2 + 100 * (w[1] - w[0] ** 2) ** 2, ((1.0, 1.0),))


def beale() -> Landscape:
    """sum_i (c_i - x (1 - y^i))^2, c = 1.5, 2.25, 2.625: plateaus and ridges. Source: Beale (1958)."""

    def function(w):
        powers = w[1] ** jnp.arange(1, 4)
        return jnp.sum((jnp.array([1.5, 2.25, 2.625]) - w[0] * (1 - powers)) ** 2)

    return Landscape(function, ((3.0, 0.5),))


def quadratic(condition_number: float) -> Landscape:
    """(x^2 + k y^2) / 2, k the condition number."""
    k = condition_number
    return Landscape(lambda w: (w[0] ** 2 + k * w[1] ** 2) / 2, ((0.0, 0.0),), curvature=k, condition_number=k)


def rastrigin() -> Landscape:
    """20 + sum_i (w_i^2 - 10 cos 2 pi w_i): a bowl full of local minima. Source: Rastrigin (1974)."""
    return Landscape(lambda w: 20 + jnp.sum(w**2 - 10 * jnp.cos(2 * jnp.pi * w)), ((0.0, 0.0),))


def logistic(inputs: np.ndarray, labels: np.ndarray, ridge: float) -> Landscape:
    """mean_i log(1 + exp(-b_i a_i'w)) + (ridge/2) |w|^2, with labels b_i = -1 or 1 for 0 and 1.

    The largest curvature is at most L = |A|^2/(4n) + ridge, and k = L/ridge. The minimum is found by Newton's
    method, to rounding: call it under x64.
    """
    signed = inputs * (2.0 * labels - 1)[:, None]

    def function(w):
        return jnp.mean(jnp.logaddexp(0.0, -signed @ w)) + ridge / 2 * w @ w

    step = jax.jit(lambda w: w - jnp.linalg.solve(jax.hessian(function)(w), jax.grad(function)(w)))
    lowest = jnp.zeros(inputs.shape[1])
    for _ in range(20):
        lowest = step(lowest)
    largest = float(np.linalg.norm(inputs, 2) ** 2) / (4 * len(inputs)) + ridge
    return Landscape(function, (tuple(lowest.tolist()),), curvature=largest, condition_number=largest / ridge)
