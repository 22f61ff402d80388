"""An optimizer's table against the loop of the textbook, in float64."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from pydantic import TypeAdapter

from nagviz.experiment.choices import Known
from nagviz.experiment.rivals import make_rival
from nagviz.experiment.tables.optimizers import Optimizer

pytestmark = pytest.mark.usefixtures("x64_module")

CURVATURES = np.array([1.0, 10.0, 30.0])
START = np.array([1.0, -2.0, 0.5])
RATE, MU, WEIGHT, STEPS = 0.02, 0.9, 0.3, 25


def gradient(w):
    return CURVATURES * (w - 1)


def rival(**keys):
    table = TypeAdapter(Optimizer).validate_python({"name": "a", **keys}, strict=False)
    return make_rival(table, (RATE,), Known(10.0, STEPS))


def measured(of, rate):
    """The points that are measured, (STEPS, 3); the rate may be a traced schedule."""
    optimizer = optax.with_extra_args_support(of.optimizer(rate))

    def step(carry, _):
        params, state = carry
        g = jnp.asarray(CURVATURES) * (params - 1)
        updates, state = optimizer.update(g, state, params, value=(g * (params - 1)).sum() / 2)
        params = optax.apply_updates(params, updates)
        return (params, state), of.deployed(state, params)

    start = jnp.asarray(START)
    return jax.lax.scan(step, (start, optimizer.init(start)), length=STEPS)[1]


def path(of, rate=RATE):
    return np.asarray(measured(of, rate))


def nesterov(step, mu=MU):
    """The iterates x of x' = y + step(y, x), y' = x' + mu (x' - x)."""
    x = y = START
    xs = []
    for _ in range(STEPS):
        ahead = y + step(y, x)
        x, y = ahead, ahead + mu * (ahead - x)
        xs.append(x)
    return np.array(xs)


class Moments:
    """Adam's step for a gradient."""

    def __init__(self):
        self.first, self.second, self.count = 0.0, 0.0, 0

    def step(self, g):
        self.count += 1
        self.first = 0.9 * self.first + 0.1 * g
        self.second = 0.999 * self.second + 0.001 * g**2
        return (self.first / (1 - 0.9**self.count)) / (np.sqrt(self.second / (1 - 0.999**self.count)) + 1e-8)


def same(found, expected):
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(("at", "point"), [("lookahead", lambda y, x: y), ("iterate", lambda y, x: x)])
def test_decay_of_a_member_is_added_to_the_gradient_at_y_and_taken_at_y_or_at_x(at, point):
    expected = nesterov(lambda y, x: -RATE * (gradient(y) + WEIGHT * point(y, x)))
    same(path(rival(kind="nag", momentum=MU, weight_decay=WEIGHT, decay_at=at)), expected)
    same(path(rival(kind="sgd", lookahead=MU, weight_decay=WEIGHT, decay_at=at)), expected)


@pytest.mark.parametrize(("at", "point"), [("lookahead", lambda y, x: y), ("iterate", lambda y, x: x)])
def test_decay_of_adam_goes_through_its_moments_and_that_of_adamw_past_them(at, point):
    moments = Moments()
    coupled = nesterov(lambda y, x: -RATE * moments.step(gradient(y) + WEIGHT * point(y, x)))
    same(path(rival(kind="adam", lookahead=MU, weight_decay=WEIGHT, decay_at=at)), coupled)
    others = Moments()
    decoupled = nesterov(lambda y, x: -RATE * (others.step(gradient(y)) + WEIGHT * point(y, x)))
    same(path(rival(kind="adamw", lookahead=MU, weight_decay=WEIGHT, decay_at=at)), decoupled)


def test_decay_is_at_y_if_nothing_is_said():
    for keys in ({"kind": "nag"}, {"kind": "adamw", "lookahead": MU}):
        said = path(rival(**keys, weight_decay=WEIGHT, decay_at="lookahead"))
        np.testing.assert_array_equal(path(rival(**keys, weight_decay=WEIGHT)), said)


def test_the_gradient_of_the_loss_is_clipped_before_its_decay_is_added():
    def step(y, x):
        g = gradient(y)
        return -RATE * (g * min(1, 2.0 / np.linalg.norm(g)) + WEIGHT * y)

    same(path(rival(kind="nag", momentum=MU, weight_decay=WEIGHT, clip=2.0)), nesterov(step))


def wave(share, end):
    return end + (1 - end) * (1 + np.cos(np.pi * share)) / 2


FACTORS = [
    ({"kind": "cosine", "end": 0.1}, lambda t: wave(t / STEPS, 0.1)),
    ({"kind": "linear", "steps": 10}, lambda t: max(0.0, 1 - t / 10)),
    ({"kind": "exponential", "factor": 0.5, "steps": 3}, lambda t: 0.5 ** (t / 3)),
    ({"kind": "step", "factor": 0.1, "at": (5, 9)}, lambda t: 0.1 ** ((t >= 5) + (t >= 9))),
    (
        {"kind": "warmup_cosine", "warmup": 5, "start": 0.2},
        lambda t: 0.2 + 0.8 * t / 5 if t < 5 else wave((t - 5) / (STEPS - 5), 0),
    ),
]


@pytest.mark.parametrize(
    ("schedule", "factor"), FACTORS, ids=lambda case: case.get("kind") if type(case) is dict else ""
)
def test_a_schedule_multiplies_the_learning_rate_of_a_member_and_of_what_a_lookahead_is_behind(schedule, factor):
    count = iter(range(STEPS))
    expected = nesterov(lambda y, x: -RATE * factor(next(count)) * gradient(y))
    same(path(rival(kind="nag", momentum=MU, learning_rate_schedule=schedule)), expected)
    same(path(rival(kind="sgd", lookahead=MU, learning_rate_schedule=schedule)), expected)


def test_the_outer_lookahead_goes_around_every_few_steps_of_any_optimizer():
    moments, x, y, ys = Moments(), START, START, []
    for _ in range(STEPS // 5):
        fast = y
        for _ in range(5):
            fast = fast - RATE * moments.step(gradient(fast))
        ahead = y + 0.7 * (fast - y)
        x, y = ahead, ahead + 0.5 * (ahead - x)
        ys.append(y)
    outer = {"steps": 5, "learning_rate": 0.7, "momentum": 0.5}
    same(path(rival(kind="adam", outer=outer))[4::5], ys)


def test_schedule_free_is_measured_at_its_average_behind_clipping_and_decay():
    x = z = START
    xs = []
    for t in range(STEPS):
        y = 0.9 * x + 0.1 * z
        g = gradient(y)
        z = z - RATE * (g * min(1, 2.0 / np.linalg.norm(g)) + WEIGHT * y)
        x = x + (z - x) / (t + 1)
        xs.append(x)
    same(path(rival(kind="schedule_free_sgd", clip=2.0, weight_decay=WEIGHT)), xs)


def test_a_lookahead_may_restart_and_be_measured_where_the_gradient_is_taken():
    of = rival(kind="adam", lookahead=MU, evaluate="lookahead", restart={"kind": "periodic", "period": 2})
    optimizer = of.optimizer(RATE)
    params = jnp.asarray(START)
    state = optimizer.init(params)
    for _ in range(6):
        updates, state = optimizer.update(jnp.asarray(gradient(np.asarray(params))), state, params)
        params = optax.apply_updates(params, updates)
    assert of.restarts(state) == 3
    np.testing.assert_array_equal(of.deployed(state, params), params)


OPTAX = {  # with its own defaults
    "sgd": optax.sgd,
    "optax_nag": lambda rate: optax.sgd(rate, 0.9, nesterov=True),
    "adam": optax.adam,
    "adamw": optax.adamw,
    "nadam": optax.nadam,
    "adagrad": optax.adagrad,
    "rmsprop": optax.rmsprop,
    "muon": optax.contrib.muon,
    "lion": optax.lion,
    "schedule_free_sgd": optax.contrib.schedule_free_sgd,
    "schedule_free_adamw": optax.contrib.schedule_free_adamw,
}


@pytest.mark.parametrize("kind", OPTAX)
def test_a_table_with_nothing_in_it_is_the_optimizer_with_the_defaults_of_optax(kind):
    of = rival(kind=kind)
    theirs = of._replace(optimizer=OPTAX[kind])
    np.testing.assert_array_equal(path(of), path(theirs))


KINDS = [
    {"kind": "nag"},
    {"kind": "mass", "compensation": 0.005},
    {"kind": "agnes", "alpha": 0.01},
    {"kind": "adamw", "lookahead": MU},
    {"kind": "schedule_free_adamw"},
    {"kind": "outer_nesterov"},
]


@pytest.mark.parametrize("keys", KINDS, ids=lambda keys: keys["kind"])
def test_a_learning_rate_may_come_as_a_traced_schedule_for_trials_side_by_side(keys):
    of = rival(**keys, weight_decay=WEIGHT)
    together = jax.vmap(lambda rate: measured(of, lambda count: rate))(jnp.array([RATE / 2, RATE]))
    same(together[1], path(of))
