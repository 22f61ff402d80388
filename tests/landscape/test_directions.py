"""Planes through paths, points and steps: what they are made of lies in them, and they say how near the rest is."""

import tracemalloc

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import nagviz as nv


def wander(seed, steps=20, size=50):
    rng = np.random.default_rng(seed)
    points = np.cumsum(rng.normal(size=(steps, size)) * np.linspace(2, 0.1, size), axis=0)
    leaves = {"w": points[:, : size - 3].astype(np.float32), "b": points[:, size - 3 :].astype(np.float32)}
    return nv.Trajectory(np.arange(steps), leaves)


def matrix(path):
    return np.concatenate([path.params["b"], path.params["w"]], axis=1).astype(float)


def vector(params):
    return np.concatenate([params["b"], params["w"]]).astype(float)


def test_axes_and_shares_are_those_of_the_singular_value_decomposition():
    path = wander(0)
    rows = matrix(path) - matrix(path)[-1]
    _, sigma, right = np.linalg.svd(rows, full_matrices=False)
    plane = nv.pca_plane(path)
    for axis, expected in zip(plane.axes, right, strict=False):
        assert abs(vector(axis) @ expected) == pytest.approx(1, abs=1e-6)
    np.testing.assert_allclose(plane.explained, (sigma**2 / np.sum(sigma**2))[:2], rtol=1e-6)
    np.testing.assert_array_equal(vector(plane.origin), matrix(path)[-1])


def test_what_is_explained_and_what_is_hidden_add_up():
    path = wander(1)
    plane = nv.pca_plane(path)
    hidden = np.sum(nv.project(plane, path).residual ** 2)
    total = np.sum((matrix(path) - matrix(path)[-1]) ** 2)
    assert sum(plane.explained) + hidden / total == pytest.approx(1, abs=1e-6)


def test_several_paths_share_the_plane_nearest_to_all_their_points():
    paths = [wander(2), wander(3, steps=35)]
    plane = nv.pca_plane(*paths)
    points = np.concatenate([matrix(path) for path in paths])
    sigma = np.linalg.svd(points - points.mean(0), compute_uv=False)
    hidden = sum(np.sum(nv.project(plane, path).residual ** 2) for path in paths)
    assert hidden == pytest.approx(np.sum(sigma[2:] ** 2), rel=1e-5)


def test_the_axes_do_not_flip_with_the_machine():
    """The largest coordinate along the path is positive on both axes."""
    coordinates = nv.project(nv.pca_plane(wander(4)), wander(4)).coordinates
    for column in coordinates.T:
        assert column[np.argmax(np.abs(column))] > 0


def test_a_path_in_a_plane_is_explained_whole():
    steps = np.linspace(0, 1, 7)
    points = np.outer(np.cos(4 * steps), np.eye(9)[2]) + np.outer(steps, np.ones(9))
    plane = nv.pca_plane(nv.Trajectory(np.arange(7), points))
    assert sum(plane.explained) == pytest.approx(1)
    assert nv.project(plane, points).residual.max() < 1e-12


def test_paths_without_a_plane_are_refused():
    line = nv.Trajectory(np.arange(3), np.outer(np.arange(3), np.ones(4)))
    with pytest.raises(ValueError, match="at least two directions"):
        nv.pca_plane(line)
    with pytest.raises(ValueError, match="at least one path"):
        nv.pca_plane()
    broken = jax.tree.map(np.copy, wander(5))
    broken.params["w"][7, 3] = np.nan
    with pytest.raises(ValueError, match="snapshot 7 is not"):
        nv.pca_plane(broken)


def test_complex_paths_keep_their_type():
    points = np.exp(1j * np.linspace(0, 3, 8))[:, None] * np.array([1.0, 2j]) + 0.1
    plane = nv.pca_plane(nv.Trajectory(np.arange(8), points.astype(np.complex64)))
    assert plane.axes[0].dtype == np.complex64
    assert nv.project(plane, points.astype(np.complex64)).residual.max() < 1e-6


def test_one_path_may_be_cut_through_its_mean_and_several_through_the_end_of_the_first():
    path = wander(6)
    sigma = np.linalg.svd(matrix(path) - matrix(path).mean(0), compute_uv=False)
    centred = nv.pca_plane(path, centred=True)
    np.testing.assert_allclose(centred.explained, (sigma**2 / np.sum(sigma**2))[:2], rtol=1e-5)
    np.testing.assert_allclose(vector(centred.origin), matrix(path).mean(0), rtol=1e-5, atol=1e-5)
    ended = nv.pca_plane(path, wander(7), centred=False)
    np.testing.assert_array_equal(vector(ended.origin), matrix(path)[-1])


def test_a_path_is_never_held_in_double_precision():
    """40 snapshots of 800,000 numbers are 128 MB, in float64 256 MB; the plane itself is 10 MB."""
    rng = np.random.default_rng(0)
    path = nv.Trajectory(np.arange(40), {"w": rng.normal(size=(40, 800, 1000)).astype(np.float32)})
    tracemalloc.start()
    plane = nv.pca_plane(path)
    nv.project(plane, path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 128e6


def test_unlike_paths_are_refused_and_the_difference_named():
    other = nv.Trajectory(np.arange(3), {"w": np.ones((3, 47), np.float32), "c": np.ones((3, 3), np.float32)})
    with pytest.raises(ValueError, match=r"trajectories\[1\].params must be a tree like the end of trajectories\[0\]"):
        nv.pca_plane(wander(8), other)
    point = nv.landscape.trajectory.last(wander(8))
    with pytest.raises(ValueError, match="with 1 snapshots, one a step, got one point"):
        nv.pca_plane(nv.Trajectory(np.arange(1), point), origin=point)
    with pytest.raises(ValueError, match="with 3 snapshots, one a step, got 20"):
        nv.pca_plane(wander(8)._replace(steps=np.arange(3)))


def points(seed, count=3):
    rng = np.random.default_rng(seed)
    return [{"w": rng.normal(size=(3, 4)).astype(np.float32), "b": rng.normal(size=5)} for _ in range(count)]


def test_three_points_lie_in_their_plane_where_it_says(x64):
    p = points(0)
    plane = nv.points_plane(*p)
    seen = [nv.project(plane, point) for point in p]
    assert max(float(s.residual) for s in seen) < 1e-6
    share = seen[2].coordinates[0]
    np.testing.assert_allclose([s.coordinates for s in seen], [[0, 0], [1, 0], [share, 1]], atol=1e-6)
    products = nv.gram(plane)
    assert abs(products[0, 1]) < 1e-6 * np.sqrt(products[0, 0] * products[1, 1])
    assert products[0, 0] == pytest.approx(sum(np.sum((p[1][k] - p[0][k]) ** 2) for k in p[0]), rel=1e-6)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6), nv.embed(plane, (share, 1.0)), p[2])


def test_two_points_are_the_ends_of_a_line_from_0_to_1(x64):
    start, end, _ = points(1)
    line = nv.points_plane(start, end)
    half = nv.embed(line, (0.5,))
    jax.tree.map(lambda a, b, c: np.testing.assert_allclose(a, (b + c) / 2, atol=1e-6), half, start, end)
    np.testing.assert_allclose(nv.project(line, end).coordinates, [1], rtol=1e-6)


def test_points_without_a_plane_are_refused():
    start, end, third = points(2)
    between = jax.tree.map(lambda a, b: (a + b) / 2, start, end)
    with pytest.raises(ValueError, match="differences of the points from start must not be parallel"):
        nv.points_plane(start, end, between)
    with pytest.raises(ValueError, match="differences of the points from start must be finite and not zero"):
        nv.points_plane(start, start)
    with pytest.raises(ValueError, match=r"third must be a tree like start; third\['b'\] is missing"):
        nv.points_plane(start, end, {"w": third["w"]})
    with pytest.raises(ValueError, match=r"end\['w'\] must have the shape \(3, 4\) of start"):
        nv.points_plane(start, {"w": end["w"][:2], "b": end["b"]})
    with pytest.raises(ValueError, match=r"start\['b'\] must be an array of floating-point numbers"):
        nv.points_plane({"w": start["w"], "b": np.arange(5)}, end)
    with pytest.raises(ValueError, match="start must be finite"):
        nv.points_plane({"w": start["w"], "b": start["b"] * np.nan}, end)
    with pytest.raises(ValueError, match="end must be one point, got 2 stacked"):
        nv.points_plane(start, jax.tree.map(lambda a, b: np.stack([a, b]), end, third))


def test_a_whole_nesterov_step_lies_in_its_plane(x64):
    """x_t, y_t, x_{t+1} and y_{t+1} of the optimizer itself, at the coordinates that the recursion gives them."""
    loss = lambda p: jnp.sum(jnp.cos(p["w"]) ** 2) + jnp.sum(p["b"] ** 4)  # noqa: E731
    rate, mu = 0.05, 0.9
    optimizer = nv.nag(rate, momentum=mu)
    params = jax.tree.map(jnp.float64, points(3, 1)[0])
    state = optimizer.init(params)
    for _ in range(4):
        gradient = jax.grad(loss)(params)
        velocity, before = nv.velocity(state, params), params
        x = nv.iterate(state, params)
        updates, state = optimizer.update(gradient, state, params)
        params = optax.apply_updates(params, updates)
    plane = nv.step_plane(before, velocity, jax.tree.map(lambda g: -rate * g, gradient))
    whole = jax.tree.map(lambda *leaves: jnp.stack(leaves), x, before, nv.iterate(state, params), params)
    seen = nv.project(plane, whole)
    np.testing.assert_allclose(seen.coordinates, [[-1, 0], [0, 0], [0, 1], [mu, 1 + mu]], atol=1e-12)
    assert seen.residual.max() < 1e-14


def test_steps_without_a_plane_are_refused():
    y, s = jnp.ones(3), jnp.array([1.0, 2.0, 3.0])
    with pytest.raises(ValueError, match=r"\(velocity, step\) must be finite and not zero"):
        nv.step_plane(y, jnp.zeros(3), s)
    with pytest.raises(ValueError, match=r"\(velocity, step\) must not be parallel"):
        nv.step_plane(y, s, -2 * s)
    with pytest.raises(ValueError, match=r"\(velocity, step\)\[1\] must have the shape \(3,\) of params"):
        nv.step_plane(y, s, jnp.ones(2))


def test_more_snapshots_than_parameters_give_the_same_plane_from_the_smaller_matrix():
    """R'R and RR' have the same spectrum: a path in 5 complex numbers, then set in a space of 500 by zeros."""
    points = np.cumsum(np.random.default_rng(5).normal(size=(40, 10)), axis=0).view(complex)
    wide = np.concatenate([points, np.zeros((40, 495))], axis=1)
    few, many = (nv.pca_plane(nv.Trajectory(np.arange(40), path)) for path in (points, wide))
    np.testing.assert_allclose(few.explained, many.explained, rtol=1e-12)
    for axis, other in zip(few.axes, many.axes, strict=True):
        np.testing.assert_allclose(axis, other[:5], atol=1e-12)
    points[7, 2] = np.nan
    with pytest.raises(ValueError, match="snapshot 7 is not"):
        nv.pca_plane(nv.Trajectory(np.arange(40), points))
