"""The noise law is the mathematics of one random linear map."""

import itertools

import numpy as np
import pytest

from nagviz.experiment.noise import (
    Method,
    best,
    gradient_descent,
    growth,
    largest_noise,
    mass,
    nesterov,
    steps_to_a_digit,
)
from nagviz.figures.map import rate

K = 100.0


@pytest.mark.parametrize(("sigma", "correction"), [(0.5, 1.24), (1, -0.20), (2, -0.76), (4, -0.94)])
def test_the_best_correction_falls_from_above_nesterov_to_nearly_gradient_descent(sigma, correction):
    assert best(sigma, K).correction == pytest.approx(correction, abs=0.005)


def test_nesterov_at_the_inverse_curvature_diverges_in_mean_square_above_its_noise():
    assert largest_noise(nesterov(K), K) == pytest.approx(0.501557, abs=1e-6)
    assert growth(nesterov(K), 0.5015, K) < 1 < growth(nesterov(K), 0.5017, K)
    assert steps_to_a_digit(nesterov(K), 0.6, K) == np.inf


def test_second_moments_are_the_mean_over_all_courses_of_the_noise():
    """Signs have mean 0 and variance 1: over five steps the 32 courses are all there are."""
    h, mu, gamma, sigma, steps = 0.7, 0.6, -0.3, 0.8, 5
    squares = []
    for signs in itertools.product((-1, 1), repeat=steps):
        y, s = 1.0, 0.0
        for sign in signs:
            d = -h * (1 + sigma * sign) * y
            s = mu * s + (mu + gamma) * d
            y += d + s
        squares.append(y * y)
    c = mu + gamma
    mean, noise = np.array([[1 - (1 + c) * h, mu], [-c * h, mu]]), np.array([[-(1 + c) * h, 0], [-c * h, 0]])
    both = np.kron(mean, mean) + sigma**2 * np.kron(noise, noise)
    second = np.linalg.matrix_power(both, steps) @ [1, 0, 0, 0]
    assert np.mean(squares) == pytest.approx(second[0], rel=1e-12)
    # With k = 1 + 1e-12 there is one mode; the spectrum of the 4 x 4 is that of the 3 x 3 and the antisymmetric part.
    assert growth(Method(h, mu, gamma), sigma, 1 + 1e-12) == pytest.approx(np.abs(np.linalg.eigvals(both)).max())


@pytest.mark.parametrize("method", [nesterov(K), Method(0.9, 0.5, 0.4), Method(1.0, 0.0, 0.0)])
def test_without_noise_it_is_the_square_of_the_rate_of_the_map(method):
    if method.learning_rate == 1:
        # Nesterov's is a triple eigenvalue, which is known to the cube root of the rounding: 6e-6.
        assert growth(method, 0.0, K) == pytest.approx(rate(*map(np.array, method[1:]), K) ** 2, abs=6e-6)
    assert growth(method, 0.0, K) < growth(method, 0.3, K)


def test_gradient_descent_is_at_its_best_and_mass_between_it_and_the_best():
    at = gradient_descent(1.0, K)
    for factor in (0.99, 1.01):
        assert growth(at._replace(learning_rate=factor * at.learning_rate), 1.0, K) > growth(at, 1.0, K)
    growths = [growth(m, 1.0, K) for m in (best(1.0, K), best(1.0, K, correction=0.0), mass(1.0, K), at)]
    assert growths == sorted(growths)
