"""One step, taken apart exactly: every point is where the optimizer goes, and lies in the plane."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import nagviz as nv
from nagviz.experiment.anatomy import dissect

pytestmark = pytest.mark.usefixtures("x64_module")

CURVATURE = {"a": np.array([1.0, 3.0, 10.0]), "b": np.array([[0.5, 7.0]])}
START = {"a": np.array([1.0, -2.0, 0.5]), "b": np.array([[3.0, 1.0]])}
RATE = 0.05
EFFORT = nv.Effort(samples=8, points=9, way="map", linear=False)  # given, not measured


def loss(w):
    return sum(jnp.sum(c * w[name] ** 2) / 2 for name, c in CURVATURE.items())


def gradient(w):
    return {name: CURVATURE[name] * w[name] for name in CURVATURE}


def plus(one, two, share=1.0):
    return {name: one[name] + share * two[name] for name in one}


def distance(one, two):
    return np.sqrt(sum(np.sum((np.asarray(one[name]) - np.asarray(two[name])) ** 2) for name in one))


def length(tree):
    return np.sqrt(sum(np.sum(np.asarray(leaf) ** 2) for leaf in jax.tree.leaves(tree)))


def stepped(optimizer):
    """The optimizer's own step on the loss, as a training loop takes it."""
    update = optax.with_extra_args_support(optimizer).update

    @jax.jit
    def step(state, params):
        updates, state = update(gradient(params), state, params, value=loss(params))
        return state, optax.apply_updates(params, updates)

    return step


def trained(optimizer, steps=4):
    params = jax.tree.map(jnp.asarray, START)
    state, step = jax.jit(optimizer.init)(params), stepped(optimizer)
    for _ in range(steps):
        state, params = step(state, params)
    return state, params


def dissected(optimizer, steps=4):
    return dissect(loss, optimizer, *trained(optimizer, steps), grid=3, effort=EFFORT)


def distances(seen, optimizer, state, params):
    """By pair of points: their distance in the picture and in the space of parameters."""
    updates, after = optax.with_extra_args_support(optimizer).update(
        gradient(params), state, params, value=loss(params)
    )
    y_next = optax.apply_updates(params, updates)
    there = {
        "iterate": nv.iterate(state, params),
        "lookahead": params,
        "next_iterate": nv.iterate(after, y_next),
        "next_lookahead": y_next,
    }
    unit = distance(nv.velocity(state, params), jax.tree.map(jnp.zeros_like, params))
    pairs = [(one, two) for one in there for two in there if one < two]
    drawn = [unit * np.linalg.norm(getattr(seen, one) - getattr(seen, two)) for one, two in pairs]
    return drawn, [distance(there[one], there[two]) for one, two in pairs]


METHODS = {
    "NAG": nv.nag(RATE, 0.8),
    "scheduled": nv.nag(optax.exponential_decay(RATE, 3, 0.5), nv.friction(3)),
    "triple momentum": nv.triple_momentum(RATE, 20.0),
    "QHM": nv.qhm(RATE, 0.7, 0.9),
    "heavy ball": nv.heavy_ball(RATE, 0.9),
    "schedule-free": nv.schedule_free(RATE, 0.9),
    "behind Adam": optax.chain(optax.adam(0.1), nv.nesterov_lookahead(0.7)),
    "clipped": optax.chain(optax.clip_by_global_norm(1.0), optax.sgd(RATE), nv.nesterov_lookahead(0.7)),
    "injected": optax.inject_hyperparams(nv.nag)(RATE, 0.8),
    "restarting": nv.nag(RATE, 0.8, restart=nv.function_restart()),
}


@pytest.mark.parametrize("name", METHODS)
def test_the_picture_is_true_to_scale_and_hides_nothing_of_the_step(name):
    state, params = trained(METHODS[name])
    seen = dissect(loss, METHODS[name], state, params, grid=3, effort=EFFORT)
    assert seen.residual < 1e-14
    drawn, true = distances(seen, METHODS[name], state, params)
    np.testing.assert_allclose(drawn, true, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(seen.iterate, [-1, 0], atol=1e-14)
    tip = seen.next_iterate if np.any(seen.next_iterate) else seen.next_lookahead
    assert tip[1] < 0  # the step points down
    assert list(seen.lookahead) == [0, 0]


def test_the_contours_are_the_loss_at_the_points_of_the_plane():
    state, params = trained(METHODS["NAG"])
    seen = dissect(loss, METHODS["NAG"], state, params, grid=5, effort=EFFORT)
    s = nv.velocity(state, params)
    d = jax.tree.map(lambda g: -RATE * g, gradient(params))
    ss, sd = (sum(np.sum(s[k] * t[k]) for k in s) for t in (s, d))
    across = plus(d, s, -sd / ss)
    size = np.sqrt(sum(np.sum(across[k] ** 2) for k in across) / ss)
    expected = [[loss(plus(plus(params, s, a), across, -b / size)) for a in seen.cut.x] for b in seen.cut.y]
    np.testing.assert_allclose(seen.cut.values, expected, rtol=1e-12)


@pytest.mark.parametrize("name", ["NAG", "clipped"])
def test_rivals_take_the_step_of_the_iterate(name):
    """Gradient descent goes from x_t to x_t + d(x_t), heavy ball from x_t to y_t + d(x_t); both are projected."""
    state, params = trained(METHODS[name])
    seen = dissect(loss, METHODS[name], state, params, grid=3, effort=EFFORT)
    x, s = nv.iterate(state, params), nv.velocity(state, params)
    step = jax.tree.map(lambda g: -RATE * g, gradient(x))
    if name == "clipped":
        step = jax.tree.map(lambda d: d / max(1.0, float(length(gradient(x)))), step)
    ball, descent = seen.rivals["heavy ball"], seen.rivals["gradient descent"]
    assert list(ball.start) == [0, 0]
    np.testing.assert_array_equal(descent.start, seen.iterate)
    np.testing.assert_allclose(ball.end - ball.start, descent.end - descent.start, atol=1e-14)
    unit, whole = (float(length(tree)) for tree in (s, step))
    within = np.linalg.norm(ball.end - ball.start) * unit
    np.testing.assert_allclose(np.hypot(within, ball.hidden * whole), whole, rtol=1e-12)  # Pythagoras
    assert 1e-5 < ball.hidden < 1
    assert seen.losses["heavy ball"] == pytest.approx(float(loss(plus(params, step))), rel=1e-12)
    assert seen.losses["gradient descent"] == pytest.approx(float(loss(plus(x, step))), rel=1e-12)


def test_in_two_dimensions_nothing_is_hidden():
    def bowl(w):
        return jnp.sum(jnp.array([1.0, 10.0]) * w**2) / 2

    optimizer, params = nv.nag(0.05, 0.8), jnp.array([4.0, 1.0])
    updates, state = optimizer.update(jax.grad(bowl)(params), optimizer.init(params))
    seen = dissect(bowl, optimizer, state, optax.apply_updates(params, updates), grid=3, effort=EFFORT)
    assert max(rival.hidden for rival in seen.rivals.values()) < 1e-12


def test_a_step_that_is_not_the_gradients_is_called_otherwise():
    seen = dissected(METHODS["behind Adam"])
    assert (seen.gradient, list(seen.rivals)) == (False, ["step taken at x", "no velocity"])
    seen = dissected(METHODS["heavy ball"])
    assert (seen.gradient, dict(seen.rivals), list(seen.next_iterate)) == (True, {}, [0, 0])


def test_the_step_is_taken_on_its_batch_and_the_loss_shown_over_all():
    data = np.array([[1.0, 0.2], [0.1, 2.0], [3.0, 1.0]])

    def mean(w, batch):
        return jnp.mean(jnp.sum(batch * w**2, axis=1))

    optimizer, params = nv.nag(RATE, 0.8), jnp.array([1.0, 2.0])
    updates, state = optimizer.update(jax.grad(mean)(params, data), optimizer.init(params))
    params = optax.apply_updates(params, updates)
    seen = dissect(mean, optimizer, state, params, batch=data[:1], batches=[data[:1], data[1:]], grid=3, effort=EFFORT)
    assert seen.losses["y"] == pytest.approx(float(mean(params, data)), rel=1e-12)
    taken = float(length(RATE * jax.grad(mean)(params, data[:1])) / length(nv.velocity(state, params)))
    assert np.linalg.norm(seen.next_iterate) == pytest.approx(taken, rel=1e-12)
    alone = dissect(mean, optimizer, state, params, batch=data[:1], grid=3, effort=EFFORT)
    assert alone.losses["y"] == pytest.approx(float(mean(params, data[:1])), rel=1e-12)
    assert alone.cut.values.max() != seen.cut.values.max()


def test_a_short_step_has_a_detail_around_it():
    seen = dissected(nv.nag(0.003, 0.95), steps=20)
    assert np.linalg.norm(seen.next_iterate) < 0.4
    below = np.ptp(seen.cut.x) * 0.6 * np.ptp(seen.detail.y) / np.ptp(seen.detail.x)  # what the figure takes for it
    assert seen.cut.y[0] + below < seen.next_iterate[1]
    for end in (seen.lookahead, seen.next_iterate, seen.rivals["heavy ball"].end):
        for cut in (seen.cut, seen.detail):
            assert cut.x[0] < end[0] < cut.x[-1]
            assert cut.y[0] < end[1] < cut.y[-1]
    assert not seen.detail.x[0] < -1
    assert dissected(nv.nag(RATE, 0.3), steps=2).detail is None


def refused(optimizer, steps, match, of=loss, **options):
    state, params = trained(optimizer, steps)
    with pytest.raises(ValueError, match=match):
        dissect(of, optimizer, state, params, grid=3, **options)


def test_steps_without_an_anatomy_are_refused():
    refused(METHODS["NAG"], 0, "velocity of zero, as before the first step and after a restart")
    refused(nv.nag(RATE, 0.8, restart=nv.periodic_restart(3)), 3, "velocity of zero")
    refused(optax.sgd(RATE), 2, "holds no look-ahead")
    refused(nv.outer_nesterov(optax.sgd(RATE), 2), 4, "outer look-ahead")
    refused(METHODS["NAG"], 3, "lead to no step", of=lambda w: 0.0 * w["a"][0])
    refused(optax.MultiSteps(METHODS["NAG"], 2).gradient_transformation(), 4, "lead to no step")
    refused(nv.nag(RATE, 0.8, restart=nv.periodic_restart(5, reject=True)), 4, "lead to no step|takes the step back")
    line, optimizer = jnp.array([2.0]), nv.nag(RATE, 0.8)
    updates, state = optimizer.update(line, optimizer.init(line))
    with pytest.raises(ValueError, match="must not be parallel"):
        dissect(lambda w: jnp.sum(w**2) / 2, optimizer, state, line + updates)


def test_what_is_no_more_than_rounding_is_refused():
    def look(point, velocity, height=0.0):
        params = jnp.array(point)
        state = optax.tree.set(optimizer.init(params), displacement=jnp.array(velocity))
        return dissect(lambda w: jnp.sum((w - 1) ** 2) / 2 + height, optimizer, state, params, grid=3, effort=EFFORT)

    optimizer = nv.nag(0.3, 0.8)
    assert look([1.5, 0.3], [0.1, 0.0]).cut.values.shape == (3, 3)
    with pytest.raises(ValueError, match="velocity of length 4e-16, no more than the parameters are rounded by"):
        look([1.5, 0.3], [4e-16, 0.0])
    with pytest.raises(ValueError, match="it is rounding and no gradient; take an earlier step"):
        look([1.0, 1 + 3e-16], [0.1, 0.0])
    with pytest.raises(ValueError, match=r"changes by .* no more than the rounding of 1e\+15"):
        look([1.5, 0.3], [0.1, 0.0], height=1e15)


def test_a_step_that_restarts_is_drawn_as_it_is():
    seen = dissected(nv.nag(RATE, 0.8, restart=nv.periodic_restart(5)))
    np.testing.assert_array_equal(seen.next_iterate, seen.next_lookahead)
