"""Hessian eigenvectors, against matrices written out and against what is known in closed form."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

import nagviz as nv

RNG = np.random.default_rng(0)
DATA = (RNG.normal(size=(60, 9)), RNG.normal(size=(60, 3)))
WEIGHTS = {"in": RNG.normal(size=(9, 12)) / 3, "bias": RNG.normal(size=12), "out": RNG.normal(size=(12, 3)) / 3}


def network(params, batch):
    inputs, targets = batch
    return jnp.mean((jnp.tanh(inputs @ params["in"] + params["bias"]) @ params["out"] - targets) ** 2)


def vector(tree):
    return np.asarray(ravel_pytree(tree)[0], float)


@pytest.fixture(scope="module")
def dense():
    """Parameters in double precision, and the whole Hessian's spectrum."""
    jax.config.update("jax_enable_x64", True)
    flat, restore = ravel_pytree(WEIGHTS)
    matrix = jax.hessian(lambda w: network(restore(w), DATA))(flat)
    values, vectors = np.linalg.eigh(np.asarray(matrix))
    jax.config.update("jax_enable_x64", False)
    assert len(values) == 156
    assert values[0] < 0  # curvature of both signs
    return values, vectors


@pytest.mark.parametrize(("ends", "picked"), [("largest", (-1, -2)), ("smallest", (0, 1)), ("both", (-1, 0))])
def test_the_ends_of_the_spectrum_are_those_of_the_matrix(ends, picked, dense, x64):
    values, vectors = dense
    unequal = [jax.tree.map(lambda a, s=s: a[s], DATA) for s in (slice(0, 25), slice(25, 50), slice(50, 60))]
    plane = nv.hessian_plane(network, WEIGHTS, batches=unequal, ends=ends, tolerance=1e-9, iterations=400)
    np.testing.assert_allclose(plane.eigenvalues, values[list(picked)], rtol=1e-9)
    assert max(plane.residuals) < 1e-8 * np.abs(values).max()
    for axis, i in zip(plane.axes, picked, strict=True):
        assert abs(vector(axis) @ vectors[:, i]) == pytest.approx(1, abs=1e-9)


def test_the_record_is_true_of_the_axes_it_comes_with(dense):
    """In float32, as a user meets it."""
    plane = nv.hessian_plane(network, jax.tree.map(np.float32, WEIGHTS), batches=[DATA])
    values, _ = dense
    np.testing.assert_allclose(plane.eigenvalues, values[[-1, -2]], rtol=1e-4)
    np.testing.assert_allclose(nv.gram(plane), np.eye(2), atol=1e-5)
    assert plane.labels[0] == f"Hessian eigenvector (eigenvalue {plane.eigenvalues[0]:.3g})"
    assert max(plane.residuals) < 1e-3 * plane.eigenvalues[1]
    for axis in plane.axes:
        assert axis["in"].dtype == np.float32
        assert vector(axis)[np.argmax(np.abs(vector(axis)))] > 0


def test_the_curvature_along_an_axis_is_its_eigenvalue(x64):
    plane = nv.hessian_plane(lambda p: network(p, DATA), WEIGHTS)
    for i, value in enumerate(plane.eigenvalues):
        line = lambda a, i=i: network(nv.embed(plane, jnp.zeros(2).at[i].set(a)), DATA)  # noqa: E731
        assert jax.grad(jax.grad(line))(0.0) == pytest.approx(value, rel=1e-6)


@pytest.mark.parametrize("size", [2, 3, 11, 64, 65])
def test_a_quadratics_eigenvectors_are_known_at_every_size(size, x64):
    """Below LOBPCG's smallest size too; curvatures 1, 2, ..., and one of -5, which is no largest one."""
    curvatures = np.arange(1.0, size + 1)
    curvatures[0] = -5
    plane = nv.hessian_plane(lambda w: jnp.sum(curvatures * w**2) / 2, jnp.ones(size), tolerance=1e-7, iterations=300)
    np.testing.assert_allclose(plane.eigenvalues, [size, size - 1 if size > 2 else -5], rtol=1e-9)
    np.testing.assert_allclose(plane.axes[0], np.eye(size)[-1], atol=1e-4)
    lowest = nv.hessian_plane(lambda w: jnp.sum(curvatures * w**2) / 2, jnp.ones(size), ends="both", iterations=300)
    assert lowest.eigenvalues[1] == pytest.approx(-5, rel=1e-6)


def test_the_bound_on_residuals_does_not_grow_with_the_model():
    """At LOBPCG's own tolerance, 3000 parameters in float32 stop at residuals near a percent."""
    curvatures = jnp.linspace(0, 1, 3000).at[-1].set(3).at[-2].set(2)
    plane = nv.hessian_plane(lambda w: jnp.sum(curvatures * w**2) / 2, jnp.ones(3000))
    assert max(plane.residuals) < 3e-4


def test_an_eigenvector_that_was_not_found_is_told_in_its_label():
    plane = nv.hessian_plane(lambda w: jnp.sum(jnp.linspace(1, 2, 500) * w**2), jnp.ones(500), iterations=1)
    assert max(plane.residuals) > 0.05 * plane.eigenvalues[0]
    assert "residual 0." in plane.labels[0]


def test_weights_of_half_precision_are_widened():
    plane = nv.hessian_plane(lambda w: jnp.sum(jnp.array([1.0, 3.0, 2.0]) * w**2), jnp.ones(3, jnp.bfloat16))
    np.testing.assert_allclose(plane.eigenvalues, [6, 4], rtol=1e-6)
    assert plane.axes[0].dtype == jnp.bfloat16


@pytest.mark.parametrize(
    ("params", "options", "message"),
    [
        (jnp.ones(1), {}, "params must be at least two real numbers"),
        (jnp.ones(3, jnp.complex64), {}, "params must be at least two real numbers"),
        (jnp.ones(3), {"ends": "top"}, "ends must be one of"),
        (jnp.ones(3), {"batches": []}, "batches must hold at least one batch"),
        (jnp.full(3, jnp.nan), {}, "loss must have a finite Hessian at params"),
        (jnp.arange(3), {}, "must be an array of floating-point numbers"),
    ],
)
def test_bad_input_is_refused(params, options, message):
    with pytest.raises(ValueError, match=message):
        nv.hessian_plane(lambda w, *batch: jnp.sum(w**3), params, **options)


def test_curvatures_along_a_path_are_those_of_each_matrix(dense, x64):
    path = [jax.tree.map(lambda leaf, f=f: f * leaf, WEIGHTS) for f in (1.0, 1.02, 1.5)]
    points = jax.tree.map(lambda *leaves: np.stack(leaves), *path)
    seen = nv.curvatures(network, points, batches=[DATA], count=2, tolerance=1e-8, iterations=400)
    assert seen.values.shape == seen.residuals.shape == (3, 2)
    np.testing.assert_allclose(seen.values[0], dense[0][[-1, -2]], rtol=1e-8)
    for values, point in zip(seen.values, path, strict=True):
        flat, restore = ravel_pytree(point)
        matrix = jax.hessian(lambda w, restore=restore: network(restore(w), DATA))(flat)
        np.testing.assert_allclose(values, np.linalg.eigvalsh(np.asarray(matrix))[[-1, -2]], rtol=1e-8)


def test_curvatures_where_the_hessian_is_not_finite_are_nan_and_the_next_are_right():
    points = jnp.array([[1.0, 2.0], [jnp.nan, 1.0], [2.0, 1.0]])
    seen = nv.curvatures(lambda w: jnp.sum(w**4) / 12, points, count=1)
    assert np.isnan(seen.values[1]).all()
    np.testing.assert_allclose(seen.values[[0, 2]], [[4.0], [4.0]], rtol=1e-5)


@pytest.mark.parametrize("count", [0, 3])
def test_as_many_curvatures_as_parameters_at_most(count):
    with pytest.raises(ValueError, match="count must be from 1 to the 2 real parameters"):
        nv.curvatures(lambda w: jnp.sum(w**2), jnp.ones((4, 2)), count=count)


def test_curvatures_of_a_good_part_of_all_directions(x64):
    weights = jnp.arange(1.0, 101)
    found = nv.landscape.curvatures(lambda w: jnp.sum(weights * w**2) / 2, jnp.ones((1, 100)), count=20)
    np.testing.assert_allclose(found.values[0], np.arange(100, 80, -1), rtol=1e-6)
