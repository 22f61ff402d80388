"""A slice holds the loss at the points that its coordinates name."""

import jax.numpy as jnp
import numpy as np
import pytest

import nagviz as nv

PLANE = nv.Plane(
    {"w": jnp.array([1.0, 2.0]), "b": jnp.array(0.5)},
    (
        {"w": jnp.array([1.0, 0.0]), "b": jnp.array(1.0)},
        {"w": jnp.array([0.5, -1.0]), "b": jnp.array(0.0)},
    ),
    labels=("first", "second"),
)
X, Y = np.linspace(-1, 1, 5), np.linspace(-2, 2, 3)


def loss(params):
    return params["w"][0] + 10 * params["w"][1] + 100 * params["b"]


def test_rows_follow_y_and_columns_follow_x_on_a_grid_that_is_not_square():
    cut = nv.evaluate(loss, PLANE, X, Y, quantity="sum")
    assert cut.values.shape == (3, 5)
    for i, b in enumerate(Y):
        for j, a in enumerate(X):
            assert cut.values[i, j] == pytest.approx(71 + 101 * a - 9.5 * b, rel=1e-6)
    assert cut.labels == ("first", "second")
    assert cut.quantity == "sum"


def test_the_middle_of_an_odd_grid_is_the_origin_itself():
    assert nv.evaluate(loss, PLANE, X, Y).values[1, 2] == float(loss(PLANE.origin))


def test_a_line_has_one_axis_and_no_y():
    line = nv.Plane(PLANE.origin, PLANE.axes[:1])
    cut = nv.evaluate(loss, line, X)
    assert cut.y is None
    np.testing.assert_allclose(cut.values, 71 + 101 * X, rtol=1e-6)


def test_batches_of_unequal_size_give_the_mean_over_samples():
    samples = np.random.default_rng(0).normal(size=(10, 2)).astype(np.float32)

    def squared(params, batch):
        return jnp.mean((batch @ params["w"]) ** 2)

    whole = nv.evaluate(squared, PLANE, X, Y, batches=[samples])
    parts = nv.evaluate(squared, PLANE, X, Y, batches=[samples[:4], samples[4:8], samples[8:]])
    np.testing.assert_allclose(parts.values, whole.values, rtol=1e-5)


def test_losses_that_are_not_finite_are_data():
    cut = nv.evaluate(lambda p: jnp.log(p["w"][0]), PLANE, [-2.0, -1.0, 0.0], [0.0, 1e-3])
    assert np.isnan(cut.values[0, 0])
    assert cut.values[0, 1] == -np.inf
    assert cut.values[0, 2] == 0


def test_every_row_is_reported():
    seen = []
    nv.evaluate(loss, PLANE, X, Y, report=lambda done, total: seen.append((done, total)))
    assert seen == [(1, 3), (2, 3), (3, 3)]


@pytest.mark.parametrize(
    ("x", "y", "batches", "message"),
    [
        ([], Y, None, "x must be a strictly increasing"),
        ([0.0, 0.0], Y, None, "x must be a strictly increasing"),
        (X, [1.0, 0.0], None, "y must be a strictly increasing"),
        (X, [0.0, np.nan], None, "y must be a strictly increasing"),
        (X, None, None, "plane must have an axis for each of x and y, got 2"),
        (X, Y, [], "batches must hold at least one batch"),
    ],
)
def test_bad_grids_are_refused_before_work_starts(x, y, batches, message):
    def never(*_):
        pytest.fail("evaluated")

    with pytest.raises(ValueError, match=message):
        nv.evaluate(never, PLANE, x, y, batches=batches)


def test_a_loss_that_is_no_scalar_is_refused():
    with pytest.raises(ValueError, match=r"loss must return a scalar, got shape \(2,\)"):
        nv.evaluate(lambda p: p["w"], PLANE, X, Y)
