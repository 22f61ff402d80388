"""The principal plane of a path: orthonormal, the nearest to it, and honest about how near."""

import jax
import numpy as np
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
