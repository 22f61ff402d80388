"""Restarts fall where the theory and the textbook loops put them, and forget what they should."""

from functools import cache, partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from scipy.optimize import brentq
from scipy.special import jv
from sklearn.datasets import load_breast_cancer

import nagviz as nv

pytestmark = pytest.mark.usefixtures("x64_module")

CURVATURE = np.array([1.0, 30.0, 900.0])
START = np.array([1.0, -2.0, 0.5])
RATE = 1 / 901


def gradient(w, xp=np):
    """Of w'Dw/2 + sum log cosh w."""
    return CURVATURE * w + xp.tanh(w)


def loss(w, xp=np):
    return xp.sum(CURVATURE * w * w / 2 + xp.log(xp.cosh(w)))


# Where a restart falls.


def first_restart(rule, k):
    """The number of steps to the first restart of t/(t+3) on one mode of condition number k."""
    optimizer = nv.nag(1.0, nv.friction(3), restart=rule)

    @jax.jit
    def run(params):
        def step(carry):
            params, state, t = carry
            updates, state = optimizer.update(params / k, state, params)
            return params + updates, state, t + 1

        start = params, optimizer.init(params), 0
        return jax.lax.while_loop(lambda carry: (nv.restarts(carry[1]) == 0) & (carry[2] < 10000), step, start)[2]

    return int(run(jnp.ones(())))


FIRST_ZERO = brentq(partial(jv, 1), 3, 4)  # the flow is X = 2 J1(z)/z, z = t/sqrt k: its first zero
TOP_SPEED = brentq(lambda z: jv(2, z) - z * jv(3, z), 2, 3)  # of |X'| = 2 J2(z)/z


@pytest.mark.parametrize(("k", "printed"), [(1e2, 3.80), (1e4, 3.83), (1e6, 3.832)])
def test_the_first_gradient_restart_falls_at_the_zero_of_a_bessel_function(k, printed):
    """3.8317 sqrt k in the limit of the flow; of the steps, which are whole numbers, to one step."""
    assert pytest.approx(3.8317, abs=5e-5) == FIRST_ZERO
    steps = first_restart(nv.gradient_restart(), k)
    assert steps == round(printed * np.sqrt(k))
    assert abs(steps - FIRST_ZERO * np.sqrt(k)) < 1


@pytest.mark.parametrize("k", [1e2, 1e4, 1e6])
def test_the_first_speed_restart_falls_at_the_top_speed_of_the_flow(k):
    assert pytest.approx(2.2999, abs=5e-5) == TOP_SPEED
    assert abs(first_restart(nv.speed_restart(), k) - TOP_SPEED * np.sqrt(k)) < 1


def test_the_speed_rule_without_a_least_age_would_fire_at_the_second_step():
    """v_1 = d_0, and v_2 = d_1 after a momentum of 0, which is smaller."""
    assert first_restart(nv.speed_restart(min_age=1), 1e4) == 2


# The textbook loop, two sequences in NumPy.


def by_slope(age, d, v, value, memory):
    return d @ v < 0, memory


def by_value(age, d, v, value, memory):
    return value > (np.inf if memory is None else memory), value


def by_speed(age, d, v, value, memory):
    speed = np.linalg.norm(v)
    return memory is not None and speed < memory and age >= 10, speed


def by_period(age, d, v, value, memory):
    return age + 1 == 37, memory


def textbook(rule, reject, coefficients, rate=lambda t: RATE, *, steps):
    """O'Donoghue and Candes (2015): y and x after each step, and at which steps the method restarted."""
    x = y = START
    age, memory, points, hits = 0, None, [], []
    for t in range(steps):
        alpha, mu, gamma = coefficients(age)
        d = -rate(t) * gradient(y)
        x_next = y + alpha * d
        v = x_next - x
        hit, memory = rule(age, d, v, loss(y), memory)
        if hit:
            x = y = x if reject else x_next
            age = 0
        else:
            x, y, age = x_next, x_next + mu * v + gamma * d, age + 1
        points.append((y, x))
        hits.append(hit)
    return np.array(points), np.cumsum(hits)


RULES = {
    "gradient": (nv.gradient_restart, by_slope),
    "function": (nv.function_restart, by_value),
    "speed": (nv.speed_restart, by_speed),
    "periodic": (partial(nv.periodic_restart, 37), by_period),
}


@cache
def thetas():
    theta = [1.0]
    for _ in range(300):
        theta.append((1 + np.sqrt(1 + 4 * theta[-1] ** 2)) / 2)
    return theta


def fista_coefficients(age):
    return 1.0, (thetas()[age] - 1) / thetas()[age + 1], 0.0


def ogm_coefficients(age):
    return 1.0, (thetas()[age] - 1) / thetas()[age + 1], thetas()[age] / thetas()[age + 1]


METHODS = {
    "friction": (lambda lr, rule: nv.nag(lr, nv.friction(3), restart=rule), lambda age: (1.0, age / (age + 3), 0.0)),
    "fista": (lambda lr, rule: nv.nag(lr, nv.fista_momentum(), restart=rule), fista_coefficients),
    "ogm": (lambda lr, rule: nv.ogm(lr, restart=rule), ogm_coefficients),
    "heavy ball": (lambda lr, rule: nv.heavy_ball(lr, 0.97, restart=rule), lambda age: (0.0, 0.97, 1.0)),
}


def points_of(optimizer, steps, split=lambda w: w, join=lambda p: p):
    """y and x after each step, and the count of restarts; split and join lay the parameters out as a tree."""

    @jax.jit
    def run(params):
        def step(carry, _):
            params, state = carry
            w = join(params)
            updates, state = optimizer.update(split(gradient(w, jnp)), state, params, value=loss(w, jnp))
            params = optax.apply_updates(params, updates)
            x = nv.iterate(state, params)
            return (params, state), (jnp.stack((join(params), join(x))), nv.restarts(state))

        return jax.lax.scan(step, (params, optimizer.init(params)), length=steps)[1]

    return run(split(jnp.asarray(START)))


@pytest.mark.parametrize("reject", [False, True], ids=["keep", "reject"])
@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("method", METHODS)
def test_restarts_are_those_of_the_textbook_loop(method, rule, reject):
    """y and x to 1e-12, the restarts at the very same steps (later on, f rises by rounding alone)."""
    (make, coefficients), (ours, theirs) = METHODS[method], RULES[rule]
    points, count = points_of(make(RATE, ours(reject=reject)), 250)
    expected, expected_count = textbook(theirs, reject, coefficients, steps=250)
    np.testing.assert_allclose(points, expected, rtol=0, atol=1e-12)
    assert count.tolist() == expected_count.tolist()
    assert count[-1] >= 2


def test_a_restart_leaves_the_count_of_the_learning_rate_alone():
    def rate(t):
        return RATE * (t + 5) / (t + 8)

    def coefficients(age):
        return 1.0, age / (age + 3), 0.0

    points, count = points_of(nv.nag(rate, nv.friction(3), restart=nv.gradient_restart()), 300)
    expected, expected_count = textbook(by_slope, False, coefficients, rate, steps=300)
    np.testing.assert_allclose(points, expected, rtol=0, atol=1e-12)
    assert count[-1] == expected_count[-1] >= 2


def test_a_restart_starts_a_horizon_anew():
    """OGM of horizon 3 restarted every 3 steps is OGM of horizon 3 over and over."""
    once = nv.ogm(RATE, 3)
    points, _ = points_of(nv.ogm(RATE, 3, restart=nv.periodic_restart(3)), 9)
    y = jnp.asarray(START)

    @jax.jit
    def cycle(y):
        state = once.init(y)
        for _ in range(3):
            updates, state = once.update(gradient(y, jnp), state)
            y = y + updates
        return nv.iterate(state, y)  # the step is kept: y = x

    for last in points[2::3, 0]:
        y = cycle(y)
        np.testing.assert_allclose(last, y, rtol=0, atol=1e-14)


def test_a_restart_forgets_the_velocity_and_the_age_and_nothing_else():
    optimizer = nv.nag(0.1, nv.fista_momentum(), restart=nv.periodic_restart(3))
    params = jnp.asarray(START)
    first = state = optimizer.init(params)
    for _ in range(3):
        updates, state = optimizer.update(jnp.ones(3), state, params)
        params = params + updates
    np.testing.assert_array_equal(nv.velocity(state, params), 0)
    np.testing.assert_array_equal(nv.iterate(state, params), params)
    assert int(nv.restarts(state)) == 1
    assert state[-1].coefficient_states == first[-1].coefficient_states
    assert int(state[-1].age) == 0


@pytest.mark.parametrize("rule", ["gradient", "speed"])
def test_a_rule_sums_over_the_whole_tree(rule):
    """The same parameters in one leaf, in three, and as the parts of complex numbers: the same restarts."""
    optimizer = nv.nag(RATE, nv.friction(3), restart=RULES[rule][0]())
    whole, count = points_of(optimizer, 300)
    layouts = {
        "leaves": (
            lambda w: {"a": w[:1], "b": (w[1], w[2:].reshape(1, 1))},
            lambda p: jnp.concatenate([p["a"], p["b"][0][None], p["b"][1][0]]),
        ),
        "complex": (
            lambda w: {"a": jax.lax.complex(w[0], w[1]), "b": w[2]},
            lambda p: jnp.stack([p["a"].real, p["a"].imag, p["b"]]),
        ),
    }
    for split, join in layouts.values():
        points, same = points_of(optimizer, 300, split, join)
        np.testing.assert_allclose(points, whole, rtol=0, atol=1e-13)
        assert same.tolist() == count.tolist()
    assert count[-1] >= 2


@pytest.mark.parametrize("size", [0, 1, 4095, 4096, 8 * 4096 + 5, 100003])
def test_the_sum_over_a_leaf_of_any_size_is_the_inner_product(size):
    """The speed that the rule remembers is |s + d|, of real and of complex leaves; from 4096 on a leaf is folded."""
    real, imaginary, plain = np.random.default_rng(0).normal(size=(3, 2, size))
    d, s = ((real[i] + 1j * imaginary[i], plain[i]) for i in range(2))
    optimizer = nv.nesterov_lookahead(0.5, restart=nv.speed_restart())
    state = optimizer.init(jax.tree.map(jnp.zeros_like, s))._replace(displacement=jax.tree.map(jnp.asarray, s))
    _, state = jax.jit(optimizer.update)(jax.tree.map(jnp.asarray, d), state)
    expected = np.linalg.norm(np.concatenate([s[0] + d[0], s[1] + d[1]]))
    np.testing.assert_allclose(state.restart_memory, expected, rtol=1e-13)


def test_the_slope_of_complex_leaves_is_the_real_part():
    """<d, v> = Re sum conj(d) v: a velocity at a right angle, in the other direction, and in the same."""
    optimizer = nv.nesterov_lookahead(0.5, step_weight=0.0, correction=1.0, restart=nv.gradient_restart())
    hits = []
    for s in (1j, -1 + 5j, 1 - 5j, -1j):
        state = optimizer.init(jnp.zeros((), complex))._replace(displacement=jnp.asarray(s))
        hits.append(int(optimizer.update(jnp.asarray(1.0 + 0j), state)[1].restart_count))
    assert hits == [0, 1, 0, 0]


def test_the_function_rule_asks_for_the_value():
    optimizer = nv.nag(0.1, restart=nv.function_restart())
    params = jnp.ones(3)
    with pytest.raises(ValueError, match=r"value must be given to update .*value=loss"):
        optimizer.update(params, optimizer.init(params), params)


def test_the_function_rule_fires_at_the_least_rise_and_not_without_one():
    optimizer = nv.nag(0.1, restart=nv.function_restart())
    state = optimizer.init(jnp.zeros(()))
    counts = []
    for value in (2.0, 2.0, np.nextafter(2.0, 3.0), 1.0, 1.0, np.inf, np.nan):
        _, state = optimizer.update(jnp.ones(()), state, value=jnp.asarray(value))
        counts.append(int(nv.restarts(state)))
    assert counts == [0, 0, 1, 1, 1, 2, 2]


def test_the_function_rule_takes_one_value():
    optimizer = nv.nag(0.1, restart=nv.function_restart())
    params = jnp.ones(3)
    with pytest.raises(ValueError, match=r"value must be a scalar.*\(1,\)"):
        optimizer.update(params, optimizer.init(params), params, value=jnp.ones(1))


def test_a_momentum_scheduled_by_inject_hyperparams_is_not_reset():
    """As documented: the wrapper counts for itself. The method's own schedule is reset."""
    make = partial(nv.nag, restart=nv.periodic_restart(4))
    injected = optax.inject_hyperparams(make)(learning_rate=0.1, momentum=lambda t: t / (t + 3.0))
    own = make(0.1, nv.friction(3))
    emitted = {"injected": [], "own": []}
    for name, optimizer in (("injected", injected), ("own", own)):
        params = jnp.zeros(())
        state = optimizer.init(params)
        for _ in range(6):
            updates, state = optimizer.update(-jnp.ones(()), state, params)
            emitted[name].append(float(updates))
        assert int(nv.restarts(state)) == 1
    # After the restart at call 4, call 5 has momentum 4/7 by the wrapper's count and 0 by the age.
    np.testing.assert_allclose(emitted["own"][:4], emitted["injected"][:4], rtol=1e-12)
    np.testing.assert_allclose((emitted["own"][4], emitted["injected"][4]), (0.1, 0.1 * (1 + 4 / 7)), rtol=1e-12)


def test_a_rule_of_one_s_own():
    """`Restart` is open: this one restarts at ages 2, with a memory that counts."""
    rule = nv.Restart(0.0, lambda step: (step.age == 2, step.memory + 1))
    optimizer = nv.nesterov_lookahead(0.5, restart=rule)
    state = optimizer.init(jnp.zeros(()))
    counts = []
    for _ in range(7):
        _, state = optimizer.update(jnp.ones(()), state)
        counts.append(int(nv.restarts(state)))
    assert counts == [0, 0, 1, 1, 1, 2, 2]
    assert state.restart_memory == 7


def test_restarts_are_summed_over_a_partition():
    optimizer = optax.partition(
        {"fast": nv.nag(0.1, restart=nv.periodic_restart(2)), "slow": nv.nag(0.1, restart=nv.periodic_restart(5))},
        {"a": "fast", "b": "slow"},
    )
    params = {"a": jnp.ones(2), "b": jnp.ones(2)}
    state = optimizer.init(params)
    for _ in range(10):
        _, state = optimizer.update(params, state, params)
    assert int(nv.restarts(state)) == 5 + 2


# Logistic regression, to the iteration.


@cache
def cancer():
    """Standardised, with a bias; labels -1 and 1; and |A|^2."""
    data, target = load_breast_cancer(return_X_y=True)
    data = np.c_[(data - data.mean(0)) / data.std(0), np.ones(len(data))]
    return data * (2.0 * target - 1)[:, None], np.linalg.norm(data, 2) ** 2


def logistic(w, lam):
    signed = cancer()[0]
    return jnp.mean(jnp.logaddexp(0.0, -signed @ w)) + lam / 2 * w @ w


@cache
def lowest(lam):
    """f*, by Newton's method."""
    w = jnp.zeros(31)
    step = jax.jit(lambda w: w - jnp.linalg.solve(jax.hessian(logistic)(w, lam), jax.grad(logistic)(w, lam)))
    for _ in range(15):
        w = step(w)
    return float(logistic(w, lam))


PROBLEMS = {1e-2: (333.0402, 0.10044630378121), 1e-3: (3321.4019, 0.05982947188181)}
TABLE = {  # of the learning rate and k; where it is evaluated; iterations and restarts for both
    "GD": (lambda lr, k: nv.nag(lr, 0.0), nv.iterate, (2330, 0), (23578, 0)),
    "FISTA": (lambda lr, k: nv.nag(lr, nv.fista_momentum()), nv.iterate, (1131, 0), (5839, 0)),
    "NAG": (lambda lr, k: nv.nag(lr, nv.from_condition_number(k)), nv.iterate, (184, 0), (614, 0)),
    "triple momentum": (nv.triple_momentum, nv.evaluation_point, (139, 0), (428, 0)),
    "OGM": (lambda lr, k: nv.ogm(lr), nv.iterate, (972, 0), (4138, 0)),
    "t/(t+3), gradient restart": (
        lambda lr, k: nv.nag(lr, nv.friction(3), restart=nv.gradient_restart()),
        nv.iterate,
        (238, 3),
        (744, 3),
    ),
    "OGM, gradient restart": (
        lambda lr, k: nv.ogm(lr, restart=nv.gradient_restart()),
        nv.iterate,
        (166, 3),
        (522, 3),
    ),
}


@pytest.mark.parametrize("method", TABLE)
def test_logistic_regression_takes_the_printed_iterations(method):
    """To f(x_N) - f* <= 1e-10 (f(x_0) - f*), exactly."""
    make, point, *expected = TABLE[method]

    @jax.jit
    def iterations(lam, largest, goal):
        optimizer = make(1 / largest, largest / lam)

        def unfinished(carry):
            params, state, t = carry
            return (logistic(point(state, params), lam) > goal) & (t < 30000)

        def step(carry):
            params, state, t = carry
            updates, state = optimizer.update(jax.grad(logistic)(params, lam), state, params)
            return params + updates, state, t + 1

        start = jnp.zeros(31)
        _, state, t = jax.lax.while_loop(unfinished, step, (start, optimizer.init(start), 0))
        return t, nv.restarts(state)

    found = []
    for lam, (k, f_star) in PROBLEMS.items():
        data, squared = cancer()
        largest = squared / (4 * len(data)) + lam
        assert largest / lam == pytest.approx(k, abs=5e-5)
        assert lowest(lam) == pytest.approx(f_star, abs=5e-14)
        goal = f_star + 1e-10 * (np.log(2.0) - f_star)  # f(0) = log 2
        found.append(tuple(int(n) for n in iterations(lam, largest, goal)))
    assert found == expected


# Proximal steps.

RNG = np.random.default_rng(3)
MATRIX, TARGET = RNG.normal(size=(20, 40)), RNG.normal(size=20)
LASSO_RATE = 1 / np.linalg.norm(MATRIX, 2) ** 2
PENALTY = 2.0


def soft(w, threshold, xp=np):
    return xp.sign(w) * xp.maximum(xp.abs(w) - threshold, 0.0)


def proximal(threshold):
    """prox(y + u) - y, as a link of a chain."""
    return optax.stateless(lambda u, y: soft(y + u, threshold, jnp) - y)


def lasso(w, penalty=PENALTY):
    return np.sum((MATRIX @ w - TARGET) ** 2) / 2 + penalty * np.sum(np.abs(w))


def lasso_points(optimizer, steps):
    @jax.jit
    def run(params):
        def step(carry, _):
            params, state = carry
            updates, state = optimizer.update(MATRIX.T @ (MATRIX @ params - TARGET), state, params)
            params = params + updates
            return (params, state), (params, nv.iterate(state, params))

        return jax.lax.scan(step, (params, optimizer.init(params)), length=steps)[1]

    return run(jnp.zeros(40))


def fista(steps, restart=False):
    """Beck and Teboulle (2009), with the gradient rule of O'Donoghue and Candes (2015)."""
    x = y = np.zeros(40)
    theta, points, restarts = 1.0, [], 0
    for _ in range(steps):
        x, last = soft(y - LASSO_RATE * MATRIX.T @ (MATRIX @ y - TARGET), LASSO_RATE * PENALTY), x
        theta, before = (1 + np.sqrt(1 + 4 * theta**2)) / 2, theta
        if restart and (x - y) @ (x - last) < 0:
            y, theta, restarts = x, 1.0, restarts + 1
        else:
            y = x + (before - 1) / theta * (x - last)
        points.append((y, x))
    return np.moveaxis(np.array(points), 1, 0), restarts


@pytest.mark.parametrize("restart", [False, True], ids=["plain", "gradient restart"])
def test_a_proximal_step_before_the_look_ahead_is_fista(restart):
    rule = nv.gradient_restart() if restart else None
    optimizer = optax.chain(
        optax.sgd(LASSO_RATE),
        proximal(LASSO_RATE * PENALTY),
        nv.nesterov_lookahead(nv.fista_momentum(), restart=rule),
    )
    points = lasso_points(optimizer, 200)
    expected, restarts = fista(200, restart)
    np.testing.assert_allclose(points, expected, rtol=0, atol=1e-12)
    assert not restart or restarts >= 2


def solves_lasso(w, penalty):
    """The optimality conditions, to 1e-8."""
    slope = MATRIX.T @ (MATRIX @ w - TARGET)
    on = np.abs(w) > 0
    return np.allclose(slope[on], -penalty * np.sign(w[on]), rtol=0, atol=1e-8) and np.all(
        np.abs(slope[~on]) <= penalty + 1e-8
    )


def test_a_proximal_step_after_optax_nesterov_converges_to_the_wrong_point():
    """prox after sgd(lr, m, nesterov=True) stands still at the solution for a penalty (1 - m) times as large."""
    after = optax.chain(
        optax.sgd(LASSO_RATE, 0.5, nesterov=True),
        proximal(LASSO_RATE * PENALTY),
        nv.nesterov_lookahead(0.0),  # of no effect, for the read-out
    )
    wrong = np.array(lasso_points(after, 20000)[0][-1])
    right = fista(20000, restart=True)[0][1][-1]
    assert solves_lasso(right, PENALTY)
    assert not solves_lasso(wrong, PENALTY)
    assert solves_lasso(wrong, PENALTY / 2)
    assert lasso(wrong) > lasso(right) + 0.01


def test_a_projection_before_the_look_ahead_keeps_the_iterate_feasible():
    """Projected Nesterov: x stays in the box, y may look over its edge."""
    optimizer = optax.chain(
        optax.sgd(LASSO_RATE),
        optax.stateless(lambda u, y: jnp.clip(y + u, -0.01, 0.01) - y),
        nv.nesterov_lookahead(nv.friction(3)),
    )
    y, x = lasso_points(optimizer, 100)
    assert np.max(np.abs(x)) <= 0.01 + 1e-15
    assert np.max(np.abs(y)) > 0.01
