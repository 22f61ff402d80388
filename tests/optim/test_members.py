"""Every member of the family is the method of its paper.

The references are the papers' own two- and three-sequence forms in NumPy, none of them the one-buffer form: each is a
function of the start and of a `pull`, which takes the gradient at the point that it is given and returns -lr_t times
it. They yield, after each call, the point at which the next gradient is taken, and what the read-outs must be:
the iterate, the evaluation point and the velocity, in the paper's own sequences.

The gradient is that of no quadratic, with a forcing that never dies away: every step counts as much as the first.
"""

import math
from contextlib import contextmanager
from decimal import Decimal, localcontext
from itertools import islice, pairwise

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import nagviz as nv

pytestmark = pytest.mark.usefixtures("x64_module")

STEPS = 400
START = np.array([1.0, -2.0, 0.5])
CURVATURE = np.array([1.0, 7.0, 40.0])
FORCING = np.array([-1.0, 5.0, 30.0]) + 3 * np.sin(np.outer(np.arange(1000), [0.7, 1.9, 2.6]))


def gradient(w, forcing, xp=np):
    """Of w'Dw/2 + sum log cosh w, with a noise on it that both sides are given."""
    return CURVATURE * w + xp.tanh(w) + forcing


def reference(form, learning_rate, steps=STEPS, start=START):
    """(steps, 4, n): y, iterate, evaluation point, velocity after each call, in NumPy's float64."""
    calls = iter(range(steps + 1))

    def pull(y):
        t = next(calls)
        return -learning_rate(t) * gradient(y, FORCING[t])

    return np.array(list(islice(form(np.array(start), pull), steps)))


def ours(optimizer, steps=STEPS, start=START):
    """The same through the real transformation, and the way back from the iterate."""

    @jax.jit
    def run(params):
        def step(carry, forcing):
            params, state = carry
            updates, state = optimizer.update(gradient(params, forcing, jnp), state, params)
            params = optax.apply_updates(params, updates)
            x = nv.iterate(state, params)
            seen = params, x, nv.evaluation_point(state, params), nv.velocity(state, params)
            return (params, state), (jnp.stack(seen), nv.from_iterate(state, x))

        return jax.lax.scan(step, (params, optimizer.init(params)), FORCING[:steps])[1]

    points, back = run(jnp.asarray(start))
    np.testing.assert_allclose(back, points[:, 0], rtol=0, atol=1e-14)  # y = x + s
    return np.array(points)


def assert_same(points, expected, rtol=1e-12):
    """Relative to the largest of each sequence, of which the points are alive to the last step."""
    for i, name in enumerate(("y", "iterate", "evaluation", "velocity")):
        a, b = points[:, i], expected[:, i]
        size = np.max(np.abs(b))
        assert np.max(np.abs(a - b)) <= rtol * size + 1e-14, name
        assert np.max(np.abs(b[-20:])) > 0.01 * size or name == "velocity", f"{name} died away"


# The papers' forms. Momenta are given by the number of the step that uses them.


def two_sequences(mu):
    """Nesterov (1983): mu(t) is the weight of x_{t+1} - x_t in y_{t+1}."""

    def form(y, pull):
        x, t = y, 0
        while True:
            x, last = y + pull(y), x
            y, t = x + mu(t) * (x - last), t + 1
            yield y, x, x, mu(t - 1) * (x - last)

    return form


def sutskever_form(mu):
    """Sutskever et al. (2013), equations 3 and 4: mu(t) is used in step t."""

    def form(theta, pull):
        v, t = np.zeros_like(theta), 0
        while True:
            v = mu(t) * v + pull(theta + mu(t) * v)
            theta, t = theta + v, t + 1
            yield theta + mu(t) * v, theta, theta, mu(t) * v

    return form


def thetas():
    theta = 1.0
    while True:
        yield theta
        theta = (1 + math.sqrt(1 + 4 * theta**2)) / 2


def accelerated(weights):
    """Three sequences (Tseng 2008, as Chambolle and Dossal 2015 write u_n): z collects th_t times the steps."""

    def form(y, pull):
        x = z = y
        weight = iter(weights())
        theta = next(weight)
        while True:
            d = pull(y)
            x, z, theta = y + d, z + theta * d, next(weight)
            y = (1 - 1 / theta) * x + z / theta
            yield y, x, x, y - x

    return form


def chambolle_dossal(a):
    def weights():
        n = 1
        while True:
            yield (n + a - 1) / a
            n += 1

    return accelerated(weights)


def estimate_sequence(q, a0):
    """Nesterov (2004), scheme (2.2.6) with L = 1: gamma_t, v_t and x_t; `pull` must be -grad f."""

    def form(x, pull):
        v = y = x
        gamma = a0 * (a0 - q) / (1 - a0)  # so that the first root below is a0
        while True:
            a = root_of(gamma, q)
            d = pull(y)
            after = (1 - a) * gamma + a * q
            v = ((1 - a) * gamma * v + a * q * y + a * d) / after
            x, gamma = y + d, after
            b = root_of(gamma, q)
            y = (b * gamma * v + ((1 - b) * gamma + b * q) * x) / (gamma + b * q)
            yield y, x, x, y - x

    def root_of(gamma, q):  # a^2 = (1 - a) gamma + a q
        return 2 * gamma / (gamma - q + math.sqrt((gamma - q) ** 2 + 4 * gamma))

    return form


def polyak(mu):
    def form(y, pull):
        last, t = y, 0
        while True:
            y, last, t = y + mu(t) * (y - last) + pull(y), y, t + 1
            yield y, last, y, y - last

    return form


def quasi_hyperbolic(nu, beta):
    """Ma and Yarats (2019), with the average of whole steps, lr_t g_t, in place of that of gradients."""

    def form(y, pull):
        average = np.zeros_like(y)
        while True:
            d = pull(y)
            average = beta * average + (1 - beta) * d
            y, last = y + (1 - nu) * d + nu * average, y
            yield y, last + (1 - nu) * d, y, nu * average

    return form


def kim_fessler(horizon=None):
    """OGM2 of Kim and Fessler (2016): z collects 2 th_t times the steps."""

    def form(x, pull):
        y = z = x
        theta, t = 1.0, 0
        while True:
            d, t = pull(x), t + 1
            y, z = x + d, z + 2 * theta * d
            theta = (1 + math.sqrt(1 + (8 if t == horizon else 4) * theta**2)) / 2
            x = (1 - 1 / theta) * y + z / theta
            yield x, y, x, x - y

    return form


def triple(rho):
    """Van Scoy, Freeman, Lynch (2018): xi with its last value, and two outputs."""
    beta, gamma = rho**2 / (2 - rho), rho**2 / ((1 + rho) * (2 - rho))
    delta = rho**2 / (1 - rho**2)

    def form(xi, pull):
        last = y = xi
        while True:
            d = pull(y)
            xi, last, gradient_step = (1 + beta) * xi - beta * last + (1 + rho) * d, xi, y + d
            y = (1 + gamma) * xi - gamma * last
            yield y, gradient_step, (1 + delta) * xi - delta * last, y - gradient_step

    return form


def robust(k, rho):
    """Cyrus, Hu, Van Scoy, Lessard (2018), algorithm 1."""
    alpha, beta = k * (1 - rho) ** 2 * (1 + rho), k * rho**3 / (k - 1)
    gamma = rho**3 / ((k - 1) * (1 - rho) ** 2 * (1 + rho))

    def form(x, pull):
        last = y = x
        while True:
            d = pull(y)
            x, last, gradient_step = x + beta * (x - last) + alpha * d, x, y + d
            y = x + gamma * (x - last)
            yield y, gradient_step, y, y - gradient_step

    return form


def taylor_drori(k, steps):
    """ITEM: b_t and D_t in 60 digits and without a largest number, then three sequences."""
    with localcontext(prec=60, Emax=10**9):
        q, A = 1 / Decimal(k), Decimal(0)
        exact = []
        for _ in range(steps + 1):
            after = ((1 + q) * A + 2 * (1 + ((1 + A) * (1 + q * A)).sqrt())) / (1 - q) ** 2
            delta = ((1 - q) ** 2 * after - (1 + q) * A) / (2 * (1 + q + q * A))
            exact.append((A / ((1 - q) * after), delta, A))
            A = after
        table = [(float(b), float(delta)) for b, delta, _ in exact]

    def form(y, pull):
        z, q = y, 1 / k
        for (_, delta), (b, _) in pairwise(table):
            d = pull(y)
            x, z = y + d, (1 - q * delta) * z + q * delta * y + delta * d
            y = (1 - b) * z + b * x
            yield y, x, z, y - x

    form.exact = exact
    return form


def liu_belkin(eta1, eta2, mu):
    """MaSS; pull is -eta1 times the gradient."""

    def form(u, pull):
        w, t = u, 0
        while True:
            d = pull(u)
            w, last = u + d, w
            u, t = (1 + mu(t)) * w - mu(t) * last - eta2 / eta1 * d, t + 1
            yield u, w, w, u - w

    return form


def gupta(eta, alpha, rho):
    """AGNES; pull is -eta times the gradient."""

    def form(x, pull):
        v = np.zeros_like(x)
        while True:
            d = pull(x + alpha * v)
            x, v = x + alpha * v + d, rho * (v + d / eta)
            yield x + alpha * v, x, x, alpha * v

    return form


def averaged(mu_y, mu_x):
    """Schedule-free and primal averaging: z takes the steps, x averages it, y lies between them."""

    def form(z, pull):
        x, y, t = z, z, 1
        while True:
            z, last = z + pull(y), x
            x = mu_x(t) * x + (1 - mu_x(t)) * z
            y, t = mu_y * x + (1 - mu_y) * z, t + 1
            yield y, mu_y * last + (1 - mu_y) * z, x, mu_y * (x - last)

    return form


def along_an_average(g, b):
    """EMA-Nesterov, as the design recalls it."""

    def form(y, pull):
        x, e = y, np.zeros_like(y)
        while True:
            x, last = y + pull(y), x
            e = g * e + (1 - g) * (x - last)
            y = x + b * e
            yield y, x, x, b * e

    return form


def constant(number):
    return lambda t: number


def ramp(t, xp=np):
    """A momentum without rhyme or reason."""
    return 0.6 + 0.35 * xp.sin(0.05 * t)


def sutskever_momentum(maximum, period):
    return lambda t: min(1 - 2 ** (-1 - math.log2(t // period + 1)), maximum)


RATES = {  # for ours, for theirs
    "constant": (0.02, constant(0.02)),
    "drop": (lambda t: jnp.where(t < 100, 0.02, 0.002), lambda t: 0.02 if t < 100 else 0.002),
    "ratio of integers": (lambda t: (t + 1) / (50 * (t + 3)), lambda t: (t + 1) / (50 * (t + 3))),
}
K, RHO = 50.0, 1 - 1 / math.sqrt(50)

SCHEDULES = {  # momentum of nag, form
    "constant": (0.9, two_sequences(constant(0.9))),
    "constant, by Sutskever": (0.9, sutskever_form(constant(0.9))),
    "zero is gradient descent": (0.0, two_sequences(constant(0.0))),
    "one": (1.0, two_sequences(constant(1.0))),
    "any function of the age": (lambda age: ramp(age, jnp), two_sequences(ramp)),
    "table": (lambda age: jnp.linspace(0.3, 0.95, STEPS)[age], two_sequences(np.linspace(0.3, 0.95, STEPS).item)),
    "from_condition_number": (
        nv.from_condition_number(K),
        two_sequences(constant((math.sqrt(K) - 1) / (math.sqrt(K) + 1))),
    ),
    "fista": (nv.fista_momentum(), accelerated(thetas)),
    "friction 3": (nv.friction(3), two_sequences(lambda t: t / (t + 3))),
    "friction 6.5": (nv.friction(6.5), two_sequences(lambda t: t / (t + 6.5))),
    "Chambolle-Dossal a = 2": (nv.friction(3), chambolle_dossal(2)),
    "Chambolle-Dossal a = 4.5": (nv.friction(5.5), chambolle_dossal(4.5)),
    "rational": (nv.rational(-1, 2), two_sequences(lambda t: (0, 0, *(n / (n + 3) for n in range(1, STEPS)))[t])),
    "rational 2, 7": (nv.rational(2, 7), two_sequences(lambda t: (t + 2) / (t + 7))),
    "sutskever": (nv.sutskever(0.99, 40), sutskever_form(sutskever_momentum(0.99, 40))),
    "sutskever, the paper's period": (nv.sutskever(0.6), sutskever_form(sutskever_momentum(0.6, 250))),
}


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("schedule", SCHEDULES)
def test_nag_with_every_momentum_and_learning_rate(schedule, rate):
    momentum, form = SCHEDULES[schedule]
    lr, theirs = RATES[rate]
    assert_same(ours(nv.nag(lr, momentum)), reference(form, theirs))


@pytest.mark.parametrize(("k", "a0"), [(50.0, 0.5), (50.0, 0.99), (50.0, 1 / math.sqrt(50)), (math.inf, 0.7)])
def test_nesterov_2004_is_the_estimate_sequence(k, a0):
    """The book's three sequences need L = 1 and a constant step; the curvature of ours is divided by L."""
    optimizer = nv.nag(0.02, nv.nesterov_2004(k, a0))
    assert_same(ours(optimizer), reference(estimate_sequence(1 / k, a0), constant(0.02)))


def test_nesterov_2004_leads_from_fista_to_the_condition_number():
    fista, general = nv.fista_momentum(), nv.nesterov_2004(math.inf, (math.sqrt(5) - 1) / 2)
    # a_t = 1/th_{t+1} solves a'^2 = (1 - a') a^2; (2.2.9) then starts at FISTA's second step.
    np.testing.assert_allclose([general(t) for t in range(50)], [fista(t + 1) for t in range(50)], rtol=1e-12)
    steady = nv.from_condition_number(K)
    np.testing.assert_allclose([nv.nesterov_2004(K, 1 / math.sqrt(K))(t) for t in (0, 9, 99)], steady, rtol=1e-12)
    np.testing.assert_allclose(nv.nesterov_2004(K, 0.9)(400), steady, rtol=1e-12)


METHODS = {  # of the learning rate, form
    "nag": (lambda lr: nv.nag(lr, 0.9), two_sequences(constant(0.9))),
    "heavy_ball": (lambda lr: nv.heavy_ball(lr, 0.8), polyak(constant(0.8))),
    "heavy_ball, any": (lambda lr: nv.heavy_ball(lr, lambda age: ramp(age, jnp)), polyak(ramp)),
    "qhm": (lambda lr: nv.qhm(lr, 0.7, 0.95), quasi_hyperbolic(0.7, 0.95)),
    "qhm, defaults": (nv.qhm, quasi_hyperbolic(0.7, 0.999)),
    "qhm is nag": (lambda lr: nv.qhm(lr, 0.9, 0.9), quasi_hyperbolic(0.9, 0.9)),
    "ogm": (nv.ogm, kim_fessler()),
    "ogm to its horizon": (lambda lr: nv.ogm(lr, STEPS), kim_fessler(STEPS)),
    "ogm past its horizon": (lambda lr: nv.ogm(lr, 7), kim_fessler(7)),
    "ogm, horizon 1": (lambda lr: nv.ogm(lr, 1), kim_fessler(1)),
    "triple_momentum": (lambda lr: nv.triple_momentum(lr, K), triple(RHO)),
    "robust_momentum": (lambda lr: nv.robust_momentum(lr, K, 0.9), robust(K, 0.9)),
    "robust_momentum, fastest": (lambda lr: nv.robust_momentum(lr, K, RHO), robust(K, RHO)),
    "robust_momentum, slowest": (lambda lr: nv.robust_momentum(lr, K, 1 - 1 / K), robust(K, 1 - 1 / K)),
    "item": (lambda lr: nv.item(lr, K), taylor_drori(K, STEPS)),
    "item, well conditioned": (lambda lr: nv.item(lr, 1.5), taylor_drori(1.5, STEPS)),
    "item, ill conditioned": (lambda lr: nv.item(lr, 1e6), taylor_drori(1e6, STEPS)),
    "schedule_free": (nv.schedule_free, averaged(0.9, lambda t: 1 - 1 / t)),
    "schedule_free, beta .5": (lambda lr: nv.schedule_free(lr, 0.5), averaged(0.5, lambda t: 1 - 1 / t)),
    "primal_averaging": (lambda lr: nv.primal_averaging(lr, 0.8, 0.95), averaged(0.8, constant(0.95))),
    "primal_averaging, defaults": (nv.primal_averaging, averaged(0.9, constant(0.99))),
    "ema_nesterov": (lambda lr: nv.ema_nesterov(lr, 0.7, 0.6), along_an_average(0.7, 0.6)),
    "ema_nesterov, defaults": (nv.ema_nesterov, along_an_average(0.9, 1.0)),
}


@pytest.mark.parametrize("rate", ["constant", "ratio of integers"])
@pytest.mark.parametrize("method", METHODS)
def test_every_method_is_its_papers(method, rate):
    make, form = METHODS[method]
    lr, theirs = RATES[rate]
    assert_same(ours(make(lr)), reference(form, theirs))


@pytest.mark.parametrize(
    ("optimizer", "form"),
    [
        (lambda: nv.mass(0.02, 0.005, 0.9), liu_belkin(0.02, 0.005, constant(0.9))),
        (lambda: nv.mass(0.02, 0.005, lambda age: ramp(age, jnp)), liu_belkin(0.02, 0.005, ramp)),
        (lambda: nv.agnes(0.02, 0.004, 0.95), gupta(0.02, 0.004, 0.95)),
        (lambda: nv.agnes(0.02, 0.02, 0.8), gupta(0.02, 0.02, 0.8)),
    ],
    ids=["mass", "mass, any", "agnes", "agnes is nag"],
)
def test_methods_with_two_rates(optimizer, form):
    assert_same(ours(optimizer()), reference(form, constant(0.02)))


def test_item_goes_on_where_its_scalar_overflows():
    """k = 4 multiplies A by 4 a step: past float64's largest number after 512 steps. Then it is triple momentum."""
    form = taylor_drori(4.0, 900)
    assert form.exact[512][2] > Decimal("1e308")
    points = ours(nv.item(0.02, 4.0), 900)
    assert_same(points, reference(form, constant(0.02), 900))
    # The coefficients themselves, at their limit: with unit steps from rest they can be read off.
    optimizer, limit = nv.item(1.0, 4.0), nv.triple_momentum(1.0, 4.0)
    late = jax.lax.fori_loop(0, 900, lambda _, s: optimizer.update(jnp.ones(()), s)[1], optimizer.init(jnp.zeros(())))
    c, fixed = late[-1].evaluation_coefficient, limit.init(jnp.zeros(()))
    np.testing.assert_allclose(c, fixed[-1].evaluation_coefficient, rtol=1e-12)
    for d in (0.0, 1.0):
        s = jnp.ones(())
        one, _ = optimizer.update(jnp.asarray(d), (late[0], late[1]._replace(displacement=s)))
        two, _ = limit.update(jnp.asarray(d), (fixed[0], fixed[1]._replace(displacement=s)))
        np.testing.assert_allclose(one, two, rtol=1e-12)


@pytest.mark.parametrize("k", [1.5, 4.0, 1e4])
def test_item_goes_on_in_single_precision(k):
    """Where A overflows float32 (after 17 steps at k = 1.5, 64 at 4): no infinity, no NaN, the same path to 1e-5."""
    with single_precision():
        points = ours_in_float32(nv.item(0.02, k), 300)
    expected = reference(taylor_drori(k, 300), constant(0.02), 300)
    assert np.max(np.abs(points[:, 0] - expected[:, 0])) < 2e-5 * np.max(np.abs(expected[:, 0]))
    assert np.max(np.abs(points[:, 1] - expected[:, 2])) < 2e-5 * np.max(np.abs(expected[:, 2]))


@contextmanager
def single_precision():
    jax.config.update("jax_enable_x64", False)
    try:
        yield
    finally:
        jax.config.update("jax_enable_x64", True)


@pytest.mark.parametrize("k", [1e2, 1e4, 1e6])
def test_item_keeps_its_friction_in_single_precision(k):
    """1 - mu goes as 1/sqrt k: right to what the rounding of mu leaves of it, at every age."""
    with localcontext(prec=60, Emax=10**9):
        q, friction = 1 / Decimal(k), []
        for (b, delta, _), (after, _, _) in pairwise(taylor_drori(k, 2000).exact):
            friction.append(float(1 - (1 - after) * (1 - q * delta) * b / (1 - b)))

    with single_precision():
        optimizer = nv.item(1.0, k)
        rest, unit = jnp.zeros(()), jnp.ones(())

        def step(state, _):
            """The next state, and what is left of a displacement of 1 without a gradient."""
            nudged = state[0], state[1]._replace(displacement=unit)
            return optimizer.update(rest, state)[1], optimizer.update(rest, nudged)[1][1].displacement

        mu = np.array(jax.jit(lambda: jax.lax.scan(step, optimizer.init(rest), length=2000)[1])(), np.float64)
    np.testing.assert_allclose(1 - mu, friction, rtol=3e-7 * math.sqrt(k))


def ours_in_float32(optimizer, steps):
    """y and the evaluation point; everything in float32."""
    forcing = jnp.asarray(FORCING[:steps], jnp.float32)

    @jax.jit
    def run(params):
        def step(carry, forcing):
            params, state = carry
            updates, state = optimizer.update(gradient(params, forcing, jnp), state, params)
            params = optax.apply_updates(params, updates)
            return (params, state), jnp.stack((params, nv.evaluation_point(state, params)))

        return jax.lax.scan(step, (params, optimizer.init(params)), forcing)[1]

    return np.array(run(jnp.asarray(START, jnp.float32)), np.float64)


# The outer look-ahead.


def diloco(steps, lr, mu):
    """Douillard et al. (2023): the outer gradient is slow - fast, and PyTorch's SGD(nesterov=True) takes it."""

    def form(slow, pull):
        buffer = np.zeros_like(slow)
        while True:
            fast = slow
            for j in range(steps):
                fast = fast + pull(fast)
                if j < steps - 1:
                    yield fast, None
            outer_gradient = slow - fast
            buffer = mu * buffer + outer_gradient
            slow, x = slow - lr * (outer_gradient + mu * buffer), slow - lr * outer_gradient
            yield slow, x

    return form


@pytest.mark.parametrize(("steps", "lr", "mu"), [(1, 1.0, 0.9), (5, 0.7, 0.9), (4, 1.0, 0.5)])
def test_outer_nesterov_is_diloco(steps, lr, mu):
    points = ours(nv.outer_nesterov(optax.sgd(0.02), steps, lr, mu), 120)
    calls = iter(range(121))
    form = diloco(steps, lr, mu)
    expected = list(islice(form(START, lambda y: -0.02 * gradient(y, FORCING[next(calls)])), 120))
    np.testing.assert_allclose(points[:, 0], [y for y, _ in expected], rtol=0, atol=2e-12)
    outer = slice(steps - 1, None, steps)
    np.testing.assert_allclose(points[outer, 1], [x for _, x in expected[outer]], rtol=0, atol=2e-12)


def test_outer_nesterov_around_an_optimizer_with_a_memory_and_a_scheduled_momentum():
    """The inner heavy ball keeps its velocity over outer steps; the outer momentum counts outer steps."""
    optimizer = nv.outer_nesterov(optax.sgd(0.02, momentum=0.6), 3, 0.8, nv.friction(3))
    points = ours(optimizer, 120)[2::3]
    y = x = START
    b, t = np.zeros(3), 0
    for n, point in enumerate(points):
        fast = y
        for _ in range(3):
            b, t = 0.6 * b + gradient(fast, FORCING[t]), t + 1
            fast = fast - 0.02 * b
        x, last = y + 0.8 * (fast - y), x
        y = x + n / (n + 3) * (x - last)
        np.testing.assert_allclose(point, (y, x, x, y - x), rtol=0, atol=2e-12)


# What other libraries document.


def pytorch(lr, mu):
    """torch.optim.SGD, nesterov=True: b <- mu b + g, p <- p - lr (g + mu b). Yields p."""

    def form(p, gradient_at):
        b, t = np.zeros_like(p), 0
        while True:
            g = gradient_at(p)
            b = mu * b + g
            p, t = p - lr(t) * (g + mu * b), t + 1
            yield p

    return form


def keras(lr, mu):
    """keras.optimizers.SGD, nesterov=True: v <- mu v - lr g, w <- w + mu v - lr g. Yields w."""

    def form(w, gradient_at):
        v, t = np.zeros_like(w), 0
        while True:
            g = gradient_at(w)
            v = mu * v - lr(t) * g
            w, t = w + mu * v - lr(t) * g, t + 1
            yield w

    return form


def points_of(form, steps=STEPS):
    calls = iter(range(steps + 1))
    return np.array(list(islice(form(START, lambda y: gradient(y, FORCING[next(calls)])), steps)))


def as_pytorch_does(lr, mu):
    """The family's row: r_t = lr_t / lr_{t-1}, r_0 = 0, momentum r_t m, correction m (1 - r_t)."""

    def ratio(t):
        return jnp.where(t == 0, 0.0, lr(t) / lr(jnp.maximum(t - 1, 0)))

    lookahead = nv.nesterov_lookahead(lambda t: ratio(t) * mu, correction=lambda t: mu * (1 - ratio(t)))
    return optax.chain(optax.scale_by_learning_rate(lambda t: lr(jnp.asarray(t, int))), lookahead)


@pytest.mark.parametrize("rate", RATES)
def test_keras_is_nag_under_any_learning_rate(rate):
    lr, theirs = RATES[rate]
    points, expected = ours(nv.nag(lr, 0.9))[:, 0], points_of(keras(theirs, 0.9))
    assert np.max(np.abs(points - expected)) <= 1e-12 * np.max(np.abs(expected))


def test_pytorch_and_optax_are_nag_at_a_constant_learning_rate():
    expected = points_of(pytorch(constant(0.02), 0.9))
    for optimizer in (nv.nag(0.02, 0.9), plain_only(optax.sgd(0.02, 0.9, nesterov=True))):
        points = ours(optimizer)[:, 0]
        assert np.max(np.abs(points - expected)) <= 1e-12 * np.max(np.abs(expected))


@pytest.mark.parametrize("rate", ["drop", "ratio of integers"])
def test_pytorch_and_optax_under_a_schedule_are_another_row_of_the_family(rate):
    lr, theirs = RATES[rate]
    expected = points_of(pytorch(theirs, 0.9))
    scale = np.max(np.abs(expected))
    assert np.max(np.abs(ours(as_pytorch_does(lr, 0.9))[:, 0] - expected)) <= 1e-12 * scale
    assert np.max(np.abs(ours(nv.nag(lr, 0.9))[:, 0] - expected)) > 1e-4 * scale, "nag is not that row"
    wide = optax.sgd(lambda t: lr(jnp.asarray(t, int)), 0.9, nesterov=True)
    assert np.max(np.abs(ours(plain_only(wide))[:, 0] - expected)) <= 1e-12 * scale


def plain_only(optimizer):
    """An optimizer without a look-ahead, with one of no effect beside it for the read-outs to find."""
    return optax.chain(optimizer, nv.nesterov_lookahead(0.0))


@pytest.mark.parametrize("beta", [0.9, 0.5])
def test_schedule_free_is_that_of_optax(beta):
    """`weight_lr_power=0` gives every step the same weight, c_t = 1/t."""
    theirs = optax.contrib.schedule_free_sgd(0.02, b1=beta, weight_lr_power=0.0)

    @jax.jit
    def run(params):
        def step(carry, forcing):
            params, state = carry
            updates, state = theirs.update(gradient(params, forcing, jnp), state, params)
            params = optax.apply_updates(params, updates)
            average = optax.contrib.schedule_free_eval_params(state, params)
            return (params, state), jnp.stack((params, average))

        return jax.lax.scan(step, (params, theirs.init(params)), FORCING[:STEPS])[1]

    expected = run(jnp.asarray(START))
    points = ours(nv.schedule_free(0.02, beta))[:, [0, 2]]
    # Optax recomputes x from y and z at every step, which multiplies the rounding by 1/(1 - beta).
    np.testing.assert_allclose(points, expected, rtol=0, atol=1e-11)


# Coefficients as numbers.


def test_recurrences_agree_with_themselves_read_at_an_age():
    """A `Recurrence` called with an age is the coefficient that the state carries there."""
    fista = nv.fista_momentum()
    weights = list(islice(thetas(), 12))
    expected = [(weights[t] - 1) / weights[t + 1] for t in range(11)]
    np.testing.assert_allclose([fista(t) for t in range(11)], expected, rtol=1e-15)
    np.testing.assert_allclose([fista(jnp.asarray(t)) for t in range(11)], expected, rtol=1e-15)


def test_the_article_s_two_clocks_are_one_family():
    """tau = age: Nesterov's (t-1)/(t+2), which is t/(t+3) a call later; tau = sqrt k: (sqrt k - 1)/(sqrt k + 1)."""
    ages = jnp.arange(1, 50)
    np.testing.assert_allclose(nv.rational(-1, 2)(ages), nv.friction(3)(ages - 1), rtol=1e-15)
    assert nv.rational(-1, 1)(math.sqrt(K)) == pytest.approx(nv.from_condition_number(K), rel=1e-15)
    assert nv.rational(-1, 2)(0) == 0.0
