"""The look-ahead beside Optax: what agrees, what does not, and what a wrong state is told."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import nagviz as nv

CURVATURE = np.array([1.0, 7.0, 40.0])


def gradient(w):
    """Of a strictly convex function that is no quadratic: 0.5 w'Dw + sum log cosh w."""
    xp = np if isinstance(w, np.ndarray) else jnp
    return CURVATURE * w + xp.tanh(w)


START = [1.0, -2.0, 0.5]


def run(optimizer, steps, start):
    """Iterates and look-ahead points of an optimizer, jitted, as (steps, 2, n)."""

    @jax.jit
    def step(params, state):
        updates, state = optimizer.update(gradient(params), state, params)
        params = optax.apply_updates(params, updates)
        return params, state, nv.iterate(state, params)

    params, points = jnp.asarray(start), []
    state = optimizer.init(params)
    for _ in range(steps):
        params, state, x = step(params, state)
        points.append((x, params))
    assert step._cache_size() == 1, "compiled again after the first step"
    return np.array(points)


def test_a_scheduled_momentum_is_not_that_of_optax_sgd_nesterov(x64):
    """Optax applies mu_t where the textbook has mu_{t+1}: the difference is no rounding error."""
    schedule = nv.friction(3)
    theirs = optax.chain(
        optax.inject_hyperparams(optax.trace, static_args="nesterov")(schedule, nesterov=True),
        optax.scale(-0.02),
    )
    params = jnp.array(START)
    state = theirs.init(params)
    ours = run(nv.nag(0.02, schedule), 30, START)[:, 1]
    differences = []
    for point in ours:
        updates, state = theirs.update(gradient(params), state, params)
        params = optax.apply_updates(params, updates)
        differences.append(np.max(np.abs(point - params)))
    assert max(differences) > 1e-2


BASES = {
    "clipping": lambda: optax.chain(optax.clip_by_global_norm(0.5), optax.sgd(0.02)),
    "adam": lambda: optax.adam(1e-2),
    "decay": lambda: optax.chain(optax.add_decayed_weights(0.1), optax.sgd(0.02)),
}


@pytest.mark.parametrize("base", BASES)
def test_the_look_ahead_of_any_base_step_is_the_textbooks(x64, base):
    """x_{t+1} = y_t + d_t with d_t the base's own step at y_t; y_{t+1} = x_{t+1} + mu (x_{t+1} - x_t)."""
    points = run(optax.chain(BASES[base](), nv.nesterov_lookahead(0.8)), 100, START)
    optimizer = BASES[base]()
    x = y = jnp.array(START)
    state = optimizer.init(y)
    for ours in points:
        d, state = optimizer.update(gradient(y), state, y)
        x, last = y + d, x
        y = x + 0.8 * (x - last)
        np.testing.assert_allclose(ours, (x, y), rtol=1e-12, atol=1e-13)


def test_an_injected_hyperparameter_can_be_turned_while_training(x64):
    optimizer = optax.inject_hyperparams(nv.nag)(learning_rate=0.02, momentum=0.9)
    params = jnp.array(START)
    state = optimizer.init(params)
    for t in range(3):
        state.hyperparams["momentum"] = jnp.asarray(0.9 if t < 1 else 0.0)
        updates, state = optimizer.update(gradient(params), state, params)
        params = optax.apply_updates(params, updates)
    x = y = np.array(START)
    for t in range(3):
        x, last = y - 0.02 * gradient(y), x
        y = x + (0.9 if t < 1 else 0.0) * (x - last)
    np.testing.assert_allclose(params, y, rtol=1e-13)


def test_read_outs_say_what_is_wrong_with_a_state():
    params = {"a": jnp.zeros(2), "b": jnp.zeros(2)}
    with pytest.raises(ValueError, match="state holds no look-ahead"):
        nv.iterate(optax.sgd(0.1).init(params), params)
    twice = nv.outer_nesterov(nv.nag(0.1), 2)
    with pytest.raises(ValueError, match=r"several look-aheads.*params\['a'\]"):
        nv.iterate(twice.init(params), params)
    with pytest.raises(ValueError, match=r"has no params\['b'\], which the state moves"):
        nv.iterate(nv.nag(0.1).init(params), {"a": jnp.zeros(2)})
    with pytest.raises(ValueError, match=r"iterate\[0\] is none of the parameters"):
        nv.from_iterate(nv.nag(0.1).init(params), [jnp.zeros(2)])


def test_the_displacement_can_be_wider_than_the_parameters():
    """At momentum 0.999 a bfloat16 displacement would stand still; float32 sums to the closed form."""
    params = jnp.ones((), jnp.bfloat16)
    optimizer = nv.nesterov_lookahead(0.999, accumulator_dtype=jnp.float32)
    state = optimizer.init(params)
    for _ in range(100):
        updates, state = optimizer.update(jnp.ones((), jnp.bfloat16), state, params)
    assert updates.dtype == jnp.bfloat16
    expected = 0.999 * (1 - 0.999**100) / (1 - 0.999)
    np.testing.assert_allclose(state.displacement, expected, rtol=1e-5)
