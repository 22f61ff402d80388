"""Coordinates in a plane are those of the nearest point, whatever the axes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import nagviz as nv


def tree(vector):
    """Six numbers as parameters of two shapes."""
    return {"w": np.asarray(vector[:4], np.float32).reshape(2, 2), "b": np.asarray(vector[4:], np.float32)}


def random_plane(seed, axes=2):
    rng = np.random.default_rng(seed)
    origin, *directions = (tree(rng.normal(size=6)) for _ in range(axes + 1))
    return nv.Plane(origin, tuple(directions))


def distance(a, b):
    squares = jax.tree.map(lambda p, q: np.sum(np.square(np.asarray(p, float) - q)), a, b)
    return np.sqrt(sum(jax.tree.leaves(squares)))


@pytest.mark.parametrize("axes", [1, 2])
def test_project_undoes_embed_on_skew_axes(axes):
    plane = random_plane(0, axes)
    coordinates = np.array([0.7, -1.3])[:axes]
    seen = nv.project(plane, nv.embed(plane, coordinates))
    np.testing.assert_allclose(seen.coordinates, coordinates, atol=1e-6)
    assert seen.residual < 1e-6


def test_the_projection_is_the_nearest_point_and_the_residual_its_distance():
    plane, point = random_plane(1), tree(np.arange(6.0))
    seen = nv.project(plane, point)
    assert distance(point, nv.embed(plane, seen.coordinates)) == pytest.approx(seen.residual, rel=1e-6)
    for step in np.array([[1e-2, 0], [-1e-2, 0], [0, 1e-2], [0, -1e-2]]):
        assert distance(point, nv.embed(plane, seen.coordinates + step)) > seen.residual


def test_a_stacked_trajectory_is_projected_point_by_point():
    plane = random_plane(2)
    points = [tree(np.random.default_rng(i).normal(size=6)) for i in range(5)]
    stacked = jax.tree.map(lambda *leaves: np.stack(leaves), *points)
    seen = nv.project(plane, stacked)
    known = nv.project(plane, nv.Trajectory(np.arange(0, 50, 10), stacked))
    assert seen.coordinates.shape == (5, 2)
    assert seen.residual.shape == (5,)
    for i, point in enumerate(points):
        one = nv.project(plane, point)
        np.testing.assert_allclose(seen.coordinates[i], one.coordinates, rtol=1e-12)
        np.testing.assert_allclose(seen.residual[i], one.residual, rtol=1e-12)
    np.testing.assert_array_equal(known.coordinates, seen.coordinates)
    assert known.steps.tolist() == [0, 10, 20, 30, 40]


def test_a_small_residual_is_not_lost_beside_a_large_coordinate():
    plane = nv.Plane(jnp.zeros(3), (jnp.array([1.0, 0, 0]), jnp.array([0.0, 1, 0])))
    assert nv.project(plane, jnp.array([1e4, 0, 1e-4])).residual == pytest.approx(1e-4, rel=1e-6)


def test_complex_parameters_are_pairs_of_real_ones():
    plane = nv.Plane(jnp.zeros(2, jnp.complex64), (jnp.array([1.0 + 0j, 0]), jnp.array([1j, 0])))
    seen = nv.project(plane, jnp.array([3.0 + 4j, 12j]))
    np.testing.assert_allclose(seen.coordinates, [3, 4])
    assert seen.residual == 12


def test_leaves_larger_than_a_block_are_summed_whole(monkeypatch):
    plane, points = random_plane(3), tree(np.arange(6.0))
    whole = nv.project(plane, points)
    monkeypatch.setattr("nagviz.landscape.parameters._BLOCK", 1)
    np.testing.assert_allclose(nv.project(plane, points).coordinates, whole.coordinates, rtol=1e-12)


@pytest.mark.parametrize(
    ("axes", "message"),
    [
        ((np.array([1.0, 2.0]), np.array([2.0, 4.0])), "must not be parallel"),
        ((np.array([1.0, 2.0]), np.zeros(2)), "must be finite and not zero"),
        ((np.array([1.0, np.nan]), np.ones(2)), "must be finite and not zero"),
    ],
)
def test_axes_that_span_no_plane_are_refused(axes, message):
    with pytest.raises(ValueError, match=message):
        nv.project(nv.Plane(np.zeros(2), axes), np.ones(2))


def test_a_point_of_another_tree_is_refused_and_the_difference_named():
    plane = random_plane(4)
    with pytest.raises(ValueError, match=r"has no params\['c'\]"):
        nv.project(plane, {**tree(np.zeros(6)), "c": np.zeros(1)})
    with pytest.raises(ValueError, match=r"params\['w'\] must have the shape \(2, 2\).*got \(3, 2\)"):
        nv.project(plane, {"w": np.zeros((3, 2)), "b": np.zeros(2)})
    with pytest.raises(ValueError, match="coordinates must have shape"):
        nv.embed(plane, (1.0,))
