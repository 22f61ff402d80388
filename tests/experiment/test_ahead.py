"""The look-ahead, told by iterates that follow on one another."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import nagviz as nv
from nagviz.experiment.ahead import lookaheads
from nagviz.experiment.config import load
from nagviz.experiment.rivals import make_rival
from nagviz.landscape import Projection

pytestmark = pytest.mark.usefixtures("x64_module")

STEPS = 8
CURVATURE = np.array([1.0, 9.0])


def run_of(tmp_path, optimizer):
    file = tmp_path / "x.toml"
    file.write_text(
        f"name = 'x'\nsteps = {STEPS}\noptimizers = [{{ name = 'M', learning_rate = 0.05, {optimizer} }}]\n"
        "functions = [{ kind = 'quadratic', start = [1.0, 2.0], x = [-1.0, 1.0], y = [-1.0, 1.0] }]\n"
    )
    return load(file)


def walked(table):
    """Iterates and look-ahead points as the optimizer itself goes through them, (STEPS + 1, 2) each."""
    optimizer = optax.with_extra_args_support(make_rival(table, (0.05,)).optimizer(0.05))
    params = jnp.array([1.0, 2.0])
    state = optimizer.init(params)

    def step(carry, _):
        params, state = carry
        value, gradient = jnp.sum(CURVATURE * params**2) / 2, CURVATURE * params
        updates, state = optimizer.update(gradient, state, params, value=value)
        params = optax.apply_updates(params, updates)
        return (params, state), (nv.iterate(state, params), params)

    _, seen = jax.lax.scan(step, (params, state), length=STEPS)
    return tuple(np.concatenate([params[None], points]) for points in seen)


def projected(points, steps=None):
    return Projection(points, np.zeros(len(points)), np.arange(len(points)) if steps is None else steps)


@pytest.mark.parametrize(
    "optimizer",
    [
        "kind = 'nag'",
        "kind = 'nag', schedule = { kind = 'fista' }",
        "kind = 'nag', clip = 0.5, weight_decay = 0.1, learning_rate_schedule = { kind = 'cosine' }",
    ],
)
def test_it_is_the_optimizer_s_own(tmp_path, optimizer):
    run = run_of(tmp_path, optimizer)
    iterates, ahead = walked(run.optimizers[0])
    found = lookaheads(run, {"M": projected(iterates), "another": projected(iterates)})
    assert list(found) == ["M"]
    np.testing.assert_allclose(found["M"], ahead, rtol=0, atol=1e-6)  # the momentum is read off in float32
    assert np.abs(ahead - iterates).max() > 0.02


@pytest.mark.parametrize(
    "optimizer",
    [
        "kind = 'nag', restart = { kind = 'gradient' }",
        "kind = 'nag', evaluate = 'lookahead'",
        "kind = 'heavy_ball'",
        "kind = 'triple_momentum', condition_number = 50.0",
        "kind = 'sgd'",
        "kind = 'adam', lookahead = 0.9",
    ],
)
def test_where_iterates_do_not_tell_it_nothing_is_said(tmp_path, optimizer):
    assert lookaheads(run_of(tmp_path, optimizer), {"M": projected(np.ones((STEPS + 1, 2)))}) == {}


def test_rows_that_are_steps_apart_do_not_tell_it(tmp_path):
    run = run_of(tmp_path, "kind = 'nag'")
    assert lookaheads(run, {"M": projected(np.ones((3, 2)), np.array([0, 4, 8]))}) == {}
    assert lookaheads(run, {"M": projected(np.ones((1, 2)))}) == {}
