"""The exact noise law: how fast a method converges in mean square when the noise is as large as the gradient.

On a quadratic mode of curvature lambda let the gradient be (1 + sigma xi) lambda y, xi of mean 0 and variance 1, drawn
anew at every step. With q = lr lambda, c = mu + gamma and step weight 1, the look-ahead is the random linear map

    (y, s) -> (A + sigma xi B) (y, s),    A = [[1 - (1 + c) q, mu], [-c q, mu]],    B = [[-(1 + c) q, 0], [-c q, 0]]

so the second moments m = (E y^2, E ys, E s^2) obey m -> T m, T = sym(A) + sigma^2 sym(B), exactly: the terms in xi
alone have mean 0. The method converges in mean square where the spectral radius of T is below 1.

>>> [round(growth(nesterov(100), sigma, 100), 4) for sigma in (0.0, 0.6)]  # without noise: (1 - 1/sqrt k)^2
[0.81, 1.3664]
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy.optimize import brentq, minimize

CURVATURES = 17  # of which the worst counts


class Method(NamedTuple):
    """A look-ahead with constant coefficients and step weight 1."""

    learning_rate: float  # times the largest curvature
    momentum: float
    correction: float


def growth(method: Method, sigma: float, condition_number: float) -> float:
    """The factor of the second moments a step, at worst over the curvatures; from 1 on the mean square diverges.

    Args:
        method: its coefficients.
        sigma: standard deviation of the noise, as a share of the gradient.
        condition_number: k; curvatures go from 1/k to 1.
    """
    h, mu, gamma = method
    q = h * np.geomspace(1 / condition_number, 1.0, CURVATURES)
    still, c = np.full_like(q, mu), mu + gamma
    mean = np.array([[1 - (1 + c) * q, still], [-c * q, still]])
    noise = np.array([[-(1 + c) * q, 0 * q], [-c * q, 0 * q]])
    moments = _of_squares(mean) + sigma**2 * _of_squares(noise)
    return float(np.abs(np.linalg.eigvals(moments)).max())


def _of_squares(matrix: np.ndarray) -> np.ndarray:
    """(modes, 3, 3): what a map of (y, s) makes of (y^2, ys, s^2)."""
    (a, b), (c, d) = matrix
    rows = [[a * a, 2 * a * b, b * b], [a * c, a * d + b * c, b * d], [c * c, 2 * c * d, d * d]]
    return np.moveaxis(np.array(rows), -1, 0)


def steps_to_a_digit(method: Method, sigma: float, condition_number: float) -> float:
    """Steps in which the root mean square distance falls tenfold; infinite where it does not fall."""
    factor = growth(method, sigma, condition_number)
    return -2 * math.log(10) / math.log(factor) if factor < 1 else math.inf


def largest_noise(method: Method, condition_number: float) -> float:
    """The noise above which a method that converges without noise diverges in mean square.

    Example:
        >>> print(f"{largest_noise(nesterov(100), 100):.4f}")
        0.5016
    """

    def excess(sigma):
        return growth(method, sigma, condition_number) - 1

    above = 1.0
    while excess(above) < 0:
        above *= 2
    return brentq(excess, 0.0, above)


def nesterov(condition_number: float) -> Method:
    """The method that is made for no noise: learning rate 1/L, momentum (sqrt k - 1)/(sqrt k + 1)."""
    root = math.sqrt(condition_number)
    return Method(1.0, (root - 1) / (root + 1), 0.0)


def gradient_descent(sigma: float, condition_number: float) -> Method:
    """At its best rate, where (1 - q)^2 + sigma^2 q^2 is the same at both ends of the spectrum."""
    return Method(2 / ((1 + sigma**2) * (1 + 1 / condition_number)), 0.0, 0.0)


def mass(sigma: float, condition_number: float) -> Method:
    """MaSS of Liu and Belkin (2020) for this noise, which multiplies L and k by 1 + sigma^2."""
    inflation = 1 + sigma**2
    root = inflation * math.sqrt(condition_number)
    return Method(1 / inflation, (root - 1) / (root + 1), -(root / (root + 1)) * (1 - 1 / inflation))


def best(sigma: float, condition_number: float, *, correction: float | None = None) -> Method:
    """The method that converges fastest, searched for from two starts (Nelder and Mead).

    Args:
        sigma: of the noise, above 0: without noise the best correction is infinite, which is the heavy ball.
        condition_number: k, above 1.
        correction: gamma, where it is given; else it is searched for, too.

    Example:
        >>> [round(best(sigma, 100).correction, 2) for sigma in (1, 2)]
        [-0.2, -0.76]
    """

    def method(point):
        h, velocity, *gamma = map(float, point)
        return Method(math.exp(h), 1 / (1 + math.exp(-velocity)), *(gamma or (correction,)))

    def height(point):
        return math.log(growth(method(point), sigma, condition_number))

    h, mu, gamma = mass(sigma, condition_number)
    starts = ((h, mu, gamma), (h / 2, mu, 1.0))
    ends = [_descended(height, _place(*start)[: 3 if correction is None else 2]) for start in starts]
    return method(min(ends, key=height))


def _place(h: float, mu: float, gamma: float) -> list[float]:
    """Without bounds: learning rates are positive, momenta between 0 and 1."""
    return [math.log(h), math.log(mu / (1 - mu)), gamma]


def _descended(height, point):
    """Twice, since the simplex may have collapsed at a crease between two curvatures."""
    options = {"xatol": 1e-6, "fatol": 1e-12, "maxiter": 1000}
    for _ in range(2):
        point = minimize(height, point, method="Nelder-Mead", options=options).x
    return point


METHODS = ("NAG at 1/L", "NAG, tuned", "gradient descent, tuned", "MaSS", "best correction")  # that are compared


def law(condition_number: float, sigmas: Sequence[float]) -> list[dict[str, float]]:
    """A row for every noise: what each method needs for a digit, and what the best one is.

    Args:
        condition_number: k.
        sigmas: of the noise.
    """
    return [_row(sigma, condition_number) for sigma in sigmas]


def _row(sigma: float, k: float) -> dict[str, float]:
    fastest = best(sigma, k)
    rivals = (nesterov(k), best(sigma, k, correction=0.0), gradient_descent(sigma, k), mass(sigma, k), fastest)
    needs = {name: steps_to_a_digit(rival, sigma, k) for name, rival in zip(METHODS, rivals, strict=True)}
    h, mu, gamma = fastest
    return {
        "condition number": k,
        "sigma": float(sigma),
        **needs,
        "learning rate L": h,
        "momentum": mu,
        "correction": gamma,
    }
