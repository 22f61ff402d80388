"""The test functions are those of the literature."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from nagviz.experiment import functions

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
