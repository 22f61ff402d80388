"""Functions to descend, and where they are lowest."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np


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
