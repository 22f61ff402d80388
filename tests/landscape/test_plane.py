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
    monkeypatch.setattr("nagviz.landscape.parameters.BLOCK", 1)
    np.testing.assert_allclose(nv.project(plane, points).coordinates, whole.coordinates, rtol=1e-12)


def test_the_share_that_is_hidden_is_that_of_the_distance_from_the_origin():
    plane = nv.Plane(np.array([1.0, 1, 1]), (np.array([1.0, 0, 0]), np.array([1.0, 1, 0])))
    seen = nv.project(plane, np.array([[1.0, 1, 1], [4, 1, 5], [1, 1, 3]]))
    np.testing.assert_allclose(seen.share, [0, 0.8, 1], atol=1e-15)
    assert nv.project(plane, np.array([4.0, 1, 5])).share == pytest.approx(0.8)


def test_what_is_explained_adds_up_with_what_is_hidden_on_skew_axes():
    plane = random_plane(5)
    stacked = jax.tree.map(
        lambda *leaves: np.stack(leaves), *(tree(np.random.default_rng(i).normal(size=6)) for i in range(9))
    )
    seen = nv.project(plane, stacked)
    squares = sum(np.sum((np.asarray(leaf, float) - plane.origin[k]) ** 2) for k, leaf in stacked.items())
    assert sum(seen.explained) + np.sum(seen.residual**2) / squares == pytest.approx(1)
    alone = nv.project(nv.Plane(plane.origin, plane.axes[:1]), stacked)
    assert seen.explained[0] == pytest.approx(alone.explained[0])


def test_a_principal_planes_shares_are_those_of_its_projection():
    points = np.random.default_rng(0).normal(size=(8, 6)) * np.arange(1, 7)
    path = nv.Trajectory(np.arange(8), points)
    plane = nv.pca_plane(path)
    np.testing.assert_allclose(nv.project(plane, path).explained, plane.explained, rtol=1e-6)


def test_points_that_are_not_finite_are_data():
    plane = random_plane(6)
    points = jax.tree.map(lambda *leaves: np.stack(leaves), *(tree(np.arange(6.0) + i) for i in range(3)))
    points["w"][1, 0, 0] = np.nan
    points["b"][2, 0] = np.inf
    seen = nv.project(plane, points)
    assert np.isfinite(seen.residual).tolist() == [True, False, False]
    alone = nv.project(plane, tree(np.arange(6.0)))
    np.testing.assert_allclose(seen.coordinates[0], alone.coordinates, rtol=1e-12)
    np.testing.assert_allclose(seen.explained, alone.explained, rtol=1e-12)


def test_a_stack_of_coordinates_is_embedded_as_one_by_one():
    plane = random_plane(7)
    coordinates = np.random.default_rng(0).normal(size=(4, 3, 2))
    stacked = nv.embed(plane, coordinates)
    assert stacked["w"].shape == (4, 3, 2, 2)
    one = nv.embed(plane, coordinates[2, 1])
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a[2, 1], b, rtol=1e-6), stacked, one)


def test_half_precision_is_moved_in_single():
    """1 + 33.3 * 0.01 would be rounded three times in bfloat16, to 1.328."""
    plane = nv.Plane(jnp.ones(1, jnp.bfloat16), (jnp.full(1, 0.01, jnp.bfloat16),))
    exact = 1 + np.float32(33.3) * np.float32(jnp.bfloat16(0.01))
    assert nv.embed(plane, (33.3,))[0] == jnp.bfloat16(exact) == 1.3359375
    assert nv.embed(plane, (33.3,)).dtype == jnp.bfloat16


@pytest.mark.parametrize(
    ("axes", "message"),
    [
        ((np.array([1.0, 2.0]), np.array([2.0, 4.0])), "must not be parallel"),
        ((np.array([1.0, 2.0]), np.zeros(2)), "must be finite and not zero"),
        ((np.array([1.0, np.nan]), np.ones(2)), "must be finite and not zero"),
        (
            (np.ones((1, 2)), np.ones(2)),
            r"plane.axes\[0\] must have the shapes of plane.origin, got one axis more",
        ),
        ((np.ones(2), np.ones(3)), r"plane.axes\[1\] must have the shape \(2,\)"),
        ((), "plane.axes must hold one axis"),
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
    with pytest.raises(ValueError, match=r"params\['b'\] is missing"):
        nv.project(plane, {"w": np.zeros((2, 2))})
    with pytest.raises(ValueError, match="coordinates must have shape"):
        nv.embed(plane, (1.0,))


def test_parameters_that_cannot_be_moved_are_refused():
    for origin in (np.arange(2), {}):
        with pytest.raises(ValueError, match="origin"):
            nv.embed(nv.Plane(origin, (origin,)), (0.5,))
    with pytest.raises(ValueError, match=r"plane\.origin must be finite"):
        nv.gram(nv.Plane(np.array([np.inf, 0]), (np.ones(2),)))


def test_snapshots_of_a_users_own_loop_are_a_path():
    """A training step that is given its arrays to reuse takes nothing away from the path."""
    step = jax.jit(lambda params: {"w": params["w"] + 1}, donate_argnums=0)

    def training():
        params = {"w": jnp.zeros(2)}
        for _ in range(3):
            yield params
            params = step(params)

    path = nv.stack_snapshots(training(), steps=[0, 5, 9])
    np.testing.assert_array_equal(path.params["w"], [[0, 0], [1, 1], [2, 2]])
    assert path.steps.tolist() == [0, 5, 9]


@pytest.mark.parametrize(
    ("snapshots", "steps", "message"),
    [
        ([], None, "snapshots must hold at least one tree"),
        ([{"a": np.ones(2)}, {"b": np.ones(2)}], None, r"snapshots\[1\] must be a tree like snapshots\[0\]; snap"),
        (
            [{"a": np.ones(2)}, {"a": np.ones(3)}],
            None,
            r"snapshots\[1\]\['a'\] must have the shape \(2,\) of snapshots\[0\]",
        ),
        ([{"a": np.ones(2, int)}], None, r"snapshots\[0\]\['a'\] must be an array of floating-point numbers"),
        ([{"a": np.ones(2)}, {"a": np.ones((4, 2))}], None, r"snapshots\[1\] must have the shapes of snapshots\[0\]"),
        ([np.ones(2), np.ones(2)], [0], "steps must be 2 increasing numbers"),
        ([np.ones(2), np.ones(2)], [5, 5], "steps must be 2 increasing numbers"),
    ],
)
def test_snapshots_that_make_no_path_are_refused(snapshots, steps, message):
    with pytest.raises(ValueError, match=message):
        nv.stack_snapshots(snapshots, steps)
