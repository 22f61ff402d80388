"""The stability limit against the textbook's two-point recursion: what lies below decays, what lies above grows."""

import numpy as np
import pytest

import nagviz as nv

METHODS = {
    "gradient descent": (0.0, 0.0, 1.0),
    "NAG": (0.9, 0.0, 1.0),
    "heavy ball": (0.9, 1.0, 0.0),
    "triple momentum": (0.81 / 1.1, 0.9, 1.0),
    "noise-robust": (0.95, -0.6, 1.0),
    "QHM": (0.95, -0.15, 0.2),
}


def distance(coefficients, q, steps=4000):
    """|x| after so many steps on f = x^2/2 with learning rate q."""
    mu, gamma, alpha = coefficients
    y, s = 1.0, 0.0
    for _ in range(steps):
        d = -q * y
        s = mu * s + (mu * alpha + gamma) * d
        y += alpha * d + s
        if abs(y) > 1e100:
            break
    return abs(y)


@pytest.mark.parametrize("name", METHODS)
def test_below_the_limit_it_converges_and_above_it_diverges(name):
    limit = nv.stability_limit(*METHODS[name])
    assert distance(METHODS[name], 0.99 * limit) < 1e-3
    assert distance(METHODS[name], 1.01 * limit) > 1e3
    assert distance(METHODS[name], 1e-1 * limit) < 1e-3


def test_the_limits_of_the_named_methods():
    mu = np.linspace(0, 1, 11)
    assert [nv.stability_limit(m) for m in mu] == pytest.approx((2 + 2 * mu) / (1 + 2 * mu))
    assert [nv.stability_limit(m, 1.0, 0.0) for m in mu] == pytest.approx(2 + 2 * mu)
    assert [nv.stability_limit(m, -m) for m in mu[:-1]] == pytest.approx([2.0] * 10)  # gradient descent


def test_a_step_that_leads_uphill_in_the_end_is_never_stable():
    assert nv.stability_limit(0.5, -1.0) == 0
    assert distance((0.5, -1.2, 1.0), 1e-2) > 1


@pytest.mark.parametrize(
    ("arguments", "answer"),
    [((1.1,), "momentum"), ((-0.1,), "momentum"), ((0.5, np.inf), "correction"), ((0.5, 0.0, -1.0), "step_weight")],
)
def test_what_is_no_method_is_refused(arguments, answer):
    with pytest.raises(ValueError, match=answer):
        nv.stability_limit(*arguments)
