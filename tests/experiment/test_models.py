"""The test functions are those of the literature; the models are pure functions of their parameters."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from nagviz.experiment import functions, models

FUNCTIONS = {
    "rosenbrock": (functions.rosenbrock(), [(2.0, 3.0)], [101.0]),
    "beale": (functions.beale(), [(0.0, 0.0), (1.0, 1.0)], [14.203125, 14.203125]),
    "quadratic": (functions.quadratic(100.0), [(3.0, 0.5)], [17.0]),
    "rastrigin": (functions.rastrigin(), [(1.0, 2.0), (0.5, 0.5)], [5.0, 40.5]),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions_take_their_known_values_and_are_least_at_their_minima(name):
    surface, points, values = FUNCTIONS[name]
    for point, value in zip(points, values, strict=True):
        assert float(surface.function(jnp.array(point))) == pytest.approx(value, rel=1e-6)
    for minimum in surface.minima:
        at = jnp.array(minimum)
        assert float(surface.function(at)) == pytest.approx(0, abs=1e-5)
        np.testing.assert_allclose(jax.grad(surface.function)(at), 0, atol=1e-4)
        assert np.linalg.eigvalsh(jax.hessian(surface.function)(at)).min() > 0


def test_a_model_is_a_pure_function_of_its_parameters():
    model = models.mlp((4, 3, 2), seed=0)
    inputs = jnp.ones((5, 4))
    before = model.apply(model.params, inputs)
    doubled = jax.tree.map(lambda leaf: 2 * leaf, model.params)
    kernels = [np.asarray(leaf) for leaf in jax.tree.leaves(model.params) if leaf.ndim == 2]
    # Biases start at zero: the logits are relu(x W1) W2, homogeneous of degree 2.
    np.testing.assert_allclose(before, np.maximum(inputs @ kernels[0], 0) @ kernels[1], rtol=1e-5)
    np.testing.assert_allclose(model.apply(doubled, inputs), 4 * before, rtol=1e-5)
    np.testing.assert_array_equal(model.apply(model.params, inputs), before)


def test_a_seed_is_a_start():
    first, again, other = (models.mlp((4, 3, 2), seed=s).params for s in (0, 0, 1))
    assert jax.tree.all(jax.tree.map(jnp.array_equal, first, again))
    assert not jax.tree.all(jax.tree.map(jnp.array_equal, first, other))
