"""The exact worst cases and the spectrum of the family, hit through the real Optax chain.

A bound is not only kept but attained: by the Huber function that is worst for the method, to 1e-12 of the closed form
and to the last printed digit of the values that semidefinite programs (PEPit) give. L = |x_0 - x*| = 1.
"""

import math
from functools import cache, partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import nagviz as nv

pytestmark = pytest.mark.usefixtures("x64_module")

N = (1, 2, 3, 4, 5, 10)


@cache
def thetas(steps, horizon=None):
    """th_0 ... th_steps of Nesterov (1983), with OGM's last one at the horizon."""
    theta = [1.0]
    for t in range(1, steps + 1):
        theta.append((1 + math.sqrt(1 + (8 if t == horizon else 4) * theta[-1] ** 2)) / 2)
    return theta


@partial(jax.jit, static_argnums=(0, 1))
def after(make, gradient, steps, delta=0.0, start=1.0):
    """y, the iterate and the evaluation point of `make(steps)` after some steps from the start."""
    optimizer = make(steps)

    def step(_, carry):
        params, state = carry
        updates, state = optimizer.update(gradient(params, delta), state, params)
        return optax.apply_updates(params, updates), state

    params = jnp.asarray(start, float)
    params, state = jax.lax.fori_loop(0, steps, step, (params, optimizer.init(params)))
    return params, nv.iterate(state, params), nv.evaluation_point(state, params)


def clipped(w, delta):
    """The Huber function's gradient."""
    return jnp.clip(w, -delta, delta)


def unit(w, delta):
    """Every step is 1."""
    return -jnp.ones_like(w)


def proportional(w, delta):
    """Of delta w^2 / 2."""
    return delta * w


def huber(w, delta):
    return w * w / 2 if abs(w) <= delta else delta * abs(w) - delta**2 / 2


# What is evaluated: 0 is y, 1 the iterate. Values as the design prints them, from PEPit.
TABLE = {
    "gradient descent": (
        lambda n: nv.nag(1.0, 0.0),
        1,
        "0.16666667 0.10000000 0.07142857 0.05555556 0.04545455 0.02380952",
    ),
    "FISTA, x": (
        lambda n: nv.nag(1.0, nv.fista_momentum()),
        1,
        "0.16666667 0.10000000 0.06610690 0.04683324 0.03489377 0.01233511",
    ),
    "FISTA, y": (
        lambda n: nv.nag(1.0, nv.fista_momentum()),
        0,
        "0.16666667 0.08987137 0.05762906 0.04055411 0.03027265 0.01102683",
    ),
    "t/(t+3), x": (
        lambda n: nv.nag(1.0, nv.friction(3)),
        1,
        "0.16666667 0.10000000 0.06666667 0.04761905 0.03571429 0.01282051",
    ),
    "OGM, y": (lambda n: nv.ogm(1.0, n), 0, "0.12500000 0.06189418 0.03769240 0.02558394 0.01858814 0.00628648"),
}


def nesterov_displacement(mu):
    """Of x and of y after every step when each d_t = 1, from the two sequences."""
    x = y = 0.0
    found = []
    for t in range(10):
        x, last = y + 1, x
        y = x + mu(t) * (x - last)
        found.append((y, x))
    return found


def displacement(row, n):
    """c_N, from the literature's closed forms where there is one."""
    theta = thetas(11)
    mu = {"FISTA, x": lambda t: (theta[t] - 1) / theta[t + 1], "t/(t+3), x": lambda t: t / (t + 3)}
    if row == "gradient descent":
        return n
    if row == "OGM, y":
        return (thetas(n, n)[n] ** 2 - 1) / 2
    if row == "FISTA, y":
        return nesterov_displacement(mu["FISTA, x"])[n - 1][0]
    return nesterov_displacement(mu[row])[n - 1][1]


@pytest.mark.parametrize("row", TABLE)
def test_the_huber_function_attains_the_printed_worst_case(row):
    make, point, printed = TABLE[row]
    for n, value in zip(N, printed.split(), strict=True):
        c = displacement(row, n)
        delta = 1 / (2 * c + 1)
        w = float(after(make, clipped, n, delta)[point])
        assert huber(w, delta) == pytest.approx(1 / (2 * (2 * c + 1)), rel=1e-12), n
        assert huber(w, delta) == pytest.approx(float(value), abs=1e-8), n


@pytest.mark.parametrize("n", N)
def test_closed_forms_of_the_worst_cases(n):
    """t/(t+3): 2/((N+2)(N+3)). OGM: 1/(2 th_N^2). Gradient descent: 1/(4N+2)."""
    assert 1 / (2 * (2 * displacement("t/(t+3), x", n) + 1)) == pytest.approx(2 / ((n + 2) * (n + 3)), rel=1e-12)
    assert 1 / (2 * (2 * displacement("OGM, y", n) + 1)) == pytest.approx(1 / (2 * thetas(n, n)[n] ** 2), rel=1e-12)
    assert float(TABLE["gradient descent"][2].split()[N.index(n)]) == pytest.approx(1 / (4 * n + 2), abs=5e-9)


def ogm_coefficients(age, horizon=None):
    """(alpha, mu, gamma) of Kim and Fessler's OGM1."""
    theta = thetas(age + 1, horizon)
    return 1.0, (theta[age] - 1) / theta[age + 1], theta[age] / theta[age + 1]


SHARES = {  # by row: the coefficients of an N-step run
    "gradient descent": lambda n: lambda age: (1.0, 0.0, 0.0),
    "FISTA, y": lambda n: lambda age: (1.0, nv.fista_momentum()(age), 0.0),
    "OGM, y": lambda n: lambda age: ogm_coefficients(age, n),
}


@pytest.mark.parametrize("row", SHARES)
def test_the_row_sums_of_the_step_shares_are_the_displacement(row):
    """y_N = y_0 + sum_t H[N-1, t] d_t with every d_t = 1. For OGM the sum is (th_N^2 - 1)/2, exactly."""
    for n in N:
        shares = nv.step_shares(SHARES[row](n), n)
        assert np.array_equal(shares, np.tril(shares))
        assert shares.sum(1)[-1] == pytest.approx(displacement(row, n), rel=1e-13)
        w = after(TABLE[row][0], unit, n, start=0.0)[0]
        assert w == pytest.approx(shares.sum(1)[-1], rel=1e-13)


def test_the_step_shares_of_the_iterate_leave_out_the_last_look_ahead():
    """With mu and gamma 0 at the last call, y_N is x_N: c_N of the rows 'x'."""
    for row, momentum in (("FISTA, x", nv.fista_momentum()), ("t/(t+3), x", nv.friction(3))):
        for n in N:
            shares = nv.step_shares(lambda age, m=momentum, n=n: (1.0, m(age) if age < n - 1 else 0.0, 0.0), n)
            assert shares[-1].sum() == pytest.approx(displacement(row, n), rel=1e-13)


def test_step_shares_say_where_any_steps_lead():
    """With steps d_t of any kind and coefficients that all vary, against the real transformation."""
    rng = np.random.default_rng(0)
    table = rng.uniform(0.1, 1.0, (30, 3))
    steps = rng.normal(size=30)
    alpha, mu, gamma = jnp.asarray(table.T)
    optimizer = nv.nesterov_lookahead(lambda t: mu[t], correction=lambda t: gamma[t], step_weight=lambda t: alpha[t])

    def step(carry, d):
        y, state = carry
        u, state = optimizer.update(d, state)
        return (y + u, state), y + u

    _, points = jax.lax.scan(step, (jnp.zeros(()), optimizer.init(jnp.zeros(()))), jnp.asarray(steps))
    np.testing.assert_allclose(nv.step_shares(lambda age: table[age], 30) @ steps, points, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("k", [4.0, 10.0, 100.0])
def test_triple_momentum_attains_its_bound(k):
    """f(x_N) - f* = rho^{2N} L k / 2 on L w^2 / 2."""
    rho = 1 - 1 / math.sqrt(k)
    member = given(nv.triple_momentum(1.0, k))
    for n in (1, 2, 5, 20):
        x = after(member, proportional, n, 1.0)[2]
        assert x**2 / 2 == pytest.approx(rho ** (2 * n) * k / 2, rel=1e-12)


@pytest.mark.parametrize("k", [4.0, 10.0, 100.0])
def test_item_attains_its_bound_at_both_ends_of_the_spectrum(k):
    """|z_N - x*|^2 = 1/(1 + q A_N), on L w^2 / 2 and on m w^2 / 2."""
    q, A = 1 / k, 0.0
    member = given(nv.item(1.0, k))
    for n in range(1, 21):
        A = ((1 + q) * A + 2 * (1 + math.sqrt((1 + A) * (1 + q * A)))) / (1 - q) ** 2
        for curvature in (1.0, q):
            z = after(member, proportional, n, curvature)[2]
            assert z**2 == pytest.approx(1 / (1 + q * A), rel=1e-12)


def given(optimizer):
    """An optimizer that does not depend on the number of steps."""
    return lambda steps: optimizer


def one_sided(q):
    """f and f' of curvature 1 above -delta and q below."""

    def value(w, delta):
        if w >= -delta:
            return w * w / 2
        return q * w * w / 2 - (1 - q) * delta * w - (1 - q) * delta**2 / 2

    return value, lambda w, delta: jnp.where(w >= -delta, w, q * w - (1 - q) * delta)


def two_sided(q):
    """f and f' of curvature 1 within delta of 0 and q outside."""

    def value(w, delta):
        w = abs(w)
        return w * w / 2 if w <= delta else q * w * w / 2 + (1 - q) * delta * w - (1 - q) * delta**2 / 2

    return value, lambda w, delta: jnp.where(jnp.abs(w) <= delta, w, q * w + jnp.sign(w) * (1 - q) * delta)


NAG_TABLE = [
    (10, 1, "0.14944649", two_sided, 0.29889298),
    (10, 2, "0.06122880", two_sided, 0.12245760),
    (10, 3, "0.04296907", one_sided, 0.10258546),
    (10, 5, "0.02293258", one_sided, 0.03798067),
    (100, 1, "0.16499444", two_sided, 0.32998889),
    (100, 3, "0.16437038", one_sided, 0.21916050),
    (100, 5, "0.16934212", one_sided, 0.13171054),
]


@pytest.mark.parametrize(("k", "n", "printed", "family", "delta"), NAG_TABLE)
def test_nag_attains_its_printed_worst_case(k, n, printed, family, delta):
    value, gradient = family(1 / k)
    member = given(nv.nag(1.0, nv.from_condition_number(k)))
    # The middle is the worst of its family.
    lower, worst, upper = (value(after(member, gradient, n, d)[1], d) for d in (0.98 * delta, delta, 1.02 * delta))
    assert worst == pytest.approx(float(printed), abs=1e-8)
    assert max(lower, upper) < worst


# The spectrum.

COEFFICIENTS = {  # alpha, mu, gamma
    "nag": (1.0, 0.9, 0.0),
    "heavy ball": (0.0, 0.9, 1.0),
    "triple momentum": (1.0, 0.81 / 1.1, 0.9),
    "qhm": (0.3, 0.95, -0.25),
    "primal averaging": (0.2, 0.97, -0.17),
    "ema": (1.0, 0.96, -0.9),
    "gradient descent by the dial": (1.0, 0.6, -0.6),
}


def constant_member(alpha, mu, gamma):
    return optax.chain(optax.sgd(1.0), nv.nesterov_lookahead(mu, correction=gamma, step_weight=alpha))


def roots(row, curvatures):
    """Of the matrix of one real step, (y, s) to (y, s), on modes of some curvatures."""
    optimizer = constant_member(*COEFFICIENTS[row])

    @jax.jit
    @jax.vmap
    def transfer(curvature):
        def step(y_and_s):
            y, s = y_and_s
            before, state = optimizer.init(y)
            u, (_, state) = optimizer.update(curvature * y, (before, state._replace(displacement=s)), y)
            return jnp.stack((y + u, state.displacement))

        return jax.jacobian(step)(jnp.zeros(2))

    return np.linalg.eigvals(transfer(jnp.asarray(curvatures)))


@pytest.mark.parametrize("row", COEFFICIENTS)
def test_the_characteristic_roots_of_a_quadratic_mode(row):
    """z^2 - (1 + mu - (alpha (1 + mu) + gamma) h) z + mu (1 - alpha h) = 0."""
    alpha, mu, gamma = COEFFICIENTS[row]
    curvatures = (0.0, 0.013, 0.7, 1.3, 3.1)
    for h, found in zip(curvatures, roots(row, curvatures), strict=True):
        quadratic = [mu * (1 - alpha * h), -(1 + mu - (alpha * (1 + mu) + gamma) * h), 1.0]
        np.testing.assert_allclose(np.poly(found)[::-1], quadratic, rtol=0, atol=1e-13)


@pytest.mark.parametrize("row", COEFFICIENTS)
def test_the_stability_limit(row):
    """Stable for h lambda < 2 (1 + mu)/(alpha (1 + 2 mu) + gamma), where a root passes -1, and not above."""
    alpha, mu, gamma = COEFFICIENTS[row]
    limit = 2 * (1 + mu) / (alpha * (1 + 2 * mu) + gamma)
    below = np.abs(roots(row, limit * np.linspace(1e-3, 1 - 1e-6, 50)))
    at, above = roots(row, [limit, limit * (1 + 1e-6)])
    assert np.max(below) < 1 < np.max(np.abs(above))
    assert min(at.real) == pytest.approx(-1.0, abs=1e-9)
    assert np.max(np.abs(at)) == pytest.approx(1.0, abs=1e-12)


def test_the_limit_is_4_3_for_nesterov_and_4_for_heavy_ball():
    """As mu goes to 1; and the iterates of a long run tell the two sides apart."""
    for (alpha, gamma), limit in {(1.0, 0.0): 4 / 3, (0.0, 1.0): 4.0}.items():
        optimizer = constant_member(alpha, 1 - 1e-4, gamma)
        below, above = (abs(after(given(optimizer), proportional, 2000, h * limit)[0]) for h in (0.98, 1.02))
        assert below < 10 < 1e10 < above


@pytest.mark.parametrize("row", COEFFICIENTS)
def test_constant_coefficients_are_an_arma_filter(row):
    """u_t = mu u_{t-1} + (alpha (1 + mu) + gamma) d_t - mu alpha d_{t-1}."""
    alpha, mu, gamma = COEFFICIENTS[row]
    steps = np.random.default_rng(1).normal(size=200)
    optimizer = nv.nesterov_lookahead(mu, correction=gamma, step_weight=alpha)
    _, emitted = jax.lax.scan(
        lambda state, d: optimizer.update(d, state)[::-1], optimizer.init(jnp.zeros(())), jnp.asarray(steps)
    )
    u, last, expected = 0.0, 0.0, []
    for d in steps:
        u = mu * u + (alpha * (1 + mu) + gamma) * d - mu * alpha * last
        last = d
        expected.append(u)
    np.testing.assert_allclose(emitted, expected, rtol=0, atol=1e-12)


DIALS = {  # gamma at alpha = 1: by its docstring
    "-mu is gradient descent": (
        lambda: nv.nesterov_lookahead(0.9, correction=-0.9),
        lambda: nv.nesterov_lookahead(0.0),
    ),
    "GPA is QHM": (lambda: nv.primal_averaging(0.3, 0.8, 0.95), lambda: nv.qhm(0.3, 0.8, 0.95)),
    "robust momentum at its fastest is triple momentum": (
        lambda: nv.robust_momentum(0.3, 25.0, 0.8),
        lambda: nv.triple_momentum(0.3, 25.0),
    ),
    "robust momentum at its slowest is gradient descent": (
        lambda: nv.robust_momentum(0.3, 25.0, 0.96),
        lambda: nv.nag(0.3, 0.0),
    ),
    "QHM with nu = beta is NAG with a rate (1 - beta) lr times as large": (
        lambda: nv.qhm(0.3, 0.9, 0.9),
        lambda: nv.nag(0.03, 0.9),
    ),
    "QHM with nu = 1 is heavy ball": (lambda: nv.qhm(0.3, 1.0, 0.9), lambda: nv.heavy_ball(0.03, 0.9)),
    "EMA with decay 0 is NAG": (lambda: nv.ema_nesterov(0.3, 0.0, 0.7), lambda: nv.nag(0.3, 0.7)),
    "MaSS without compensation is NAG": (lambda: nv.mass(0.3, 0.0, 0.7), lambda: nv.nag(0.3, 0.7)),
    "AGNES with alpha = eta is NAG": (lambda: nv.agnes(0.3, 0.3, 0.7), lambda: nv.nag(0.3, 0.7)),
    "schedule-free with beta 1 averages at the average": (
        lambda: nv.schedule_free(0.3, 1.0),
        lambda: optax.chain(
            optax.sgd(0.3),
            nv.nesterov_lookahead(
                lambda t: jnp.maximum(t - 1, 0) / (t + 1), correction=lambda t: 1 / (t + 1), step_weight=0.0
            ),
        ),
    ),
    "outer Nesterov with K = 1 and lr = 1 is NAG": (
        lambda: nv.outer_nesterov(optax.sgd(0.3), 1, 1.0, 0.7),
        lambda: nv.nag(0.3, 0.7),
    ),
}


@pytest.mark.parametrize("claim", DIALS)
def test_members_that_are_one_another(claim):
    """The look-ahead points of the two, on steps of any kind."""
    trajectories = []
    for optimizer in (make() for make in DIALS[claim]):

        def step(carry, g, optimizer=optimizer):
            y, state = carry
            u, state = optimizer.update(g + jnp.tanh(y), state, y)
            return (y + u, state), y + u

        start = jnp.asarray(1.0), optimizer.init(jnp.asarray(1.0))
        trajectories.append(jax.lax.scan(step, start, jnp.asarray(np.random.default_rng(2).normal(size=100)))[1])
    np.testing.assert_allclose(*trajectories, rtol=0, atol=1e-12)
