"""A grid is filled to the tolerance stated, by fewer evaluations, and what lies between is smooth."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import nagviz as nv

PLANE = nv.Plane(jnp.zeros(2), (jnp.array([1.0, 0.0]), jnp.array([0.0, 1.0])))
AXIS = np.linspace(-1.5, 1.5, 65)


def rosenbrock(w):
    return (1 - w[0]) ** 2 + 10 * (w[1] - w[0] ** 2) ** 2 + 0.5


def ripples(w):
    return jnp.exp(-4 * jnp.sum((w - 0.4) ** 2)) * jnp.cos(9 * w[0]) + 2 + w[1]


NET = [
    jnp.asarray(np.random.default_rng(n).normal(size=shape), jnp.float32)
    for n, shape in enumerate([(40, 6), (6, 12), (6, 12), (6, 12), (12, 1)])
]


def kinked(w):
    """A small network with rectifiers: its slope jumps along many lines."""
    inputs, first, along, across, last = NET
    return jnp.mean((jax.nn.relu(inputs @ (first + w[0] * along + w[1] * across)) @ last) ** 2) + 1


def partly_infinite(w):
    return jnp.where(w[0] > 1, jnp.nan, jnp.where(w[1] > 1, jnp.inf, rosenbrock(w)))


@pytest.mark.parametrize(
    ("loss", "tolerance", "spared"),
    [(rosenbrock, 1e-2, 0.8), (rosenbrock, 1e-4, 0.5), (ripples, 1e-3, 0.5), (kinked, 1e-2, 0.75)],
)
def test_the_whole_grid_is_within_the_tolerance_by_fewer_evaluations(loss, tolerance, spared):
    full = nv.evaluate(loss, PLANE, AXIS, AXIS).values
    seen = nv.refine(loss, PLANE, AXIS, AXIS, tolerance=tolerance)
    assert np.max(np.abs(seen.cut.values / full - 1)) < tolerance
    np.testing.assert_allclose(seen.cut.values[seen.evaluated], full[seen.evaluated], rtol=1e-6)
    assert seen.saved > spared * full.size
    assert 0 < seen.worst <= 1


def test_a_tighter_tolerance_evaluates_more():
    counts = [nv.refine(ripples, PLANE, AXIS, AXIS, tolerance=t).evaluated.sum() for t in (1e-1, 1e-3, 1e-5)]
    assert counts[0] < counts[1] < counts[2]


def test_where_a_loss_is_not_finite_every_point_is_evaluated():
    full = nv.evaluate(partly_infinite, PLANE, AXIS, AXIS[:-7]).values
    seen = nv.refine(partly_infinite, PLANE, AXIS, AXIS[:-7], tolerance=1e-2)
    np.testing.assert_array_equal(np.isnan(seen.cut.values), np.isnan(full))
    np.testing.assert_array_equal(np.isposinf(seen.cut.values), np.isposinf(full))
    finite = np.isfinite(full)
    np.testing.assert_allclose(seen.cut.values[finite], full[finite], rtol=1e-2)


@pytest.mark.parametrize("shape", [(1, 20), (20, 1), (2, 2), (10, 23), (1, 1)])
def test_grids_of_any_size_are_filled(shape):
    x, y = (np.linspace(-1, 1, n) for n in shape)
    seen = nv.refine(rosenbrock, PLANE, x, y, tolerance=1e-3)
    np.testing.assert_allclose(seen.cut.values, nv.evaluate(rosenbrock, PLANE, x, y).values, rtol=1e-3)


def test_batches_and_progress():
    data = np.random.default_rng(0).normal(size=(30, 2)).astype(np.float32)
    loss = lambda w, b: jnp.mean((b @ w) ** 2) + 1  # noqa: E731
    seen = []
    fill = nv.refine(
        loss, PLANE, AXIS, AXIS, batches=[data[:20], data[20:]], report=lambda done, total: seen.append((done, total))
    )
    np.testing.assert_allclose(fill.cut.values, nv.evaluate(loss, PLANE, AXIS, AXIS, batches=[data]).values, rtol=1e-2)
    assert seen[-1] == (65 * 65, 65 * 65)


def test_interpolation_is_exact_for_cubics_and_agrees_with_what_it_passes_through():
    cubic = lambda w: w[0] ** 3 - w[1] ** 3 + 2 * w[0] * w[1] - w[1] + 3  # noqa: E731
    x, y = np.linspace(-1, 1, 4), np.linspace(-1, 2, 6)
    coarse = nv.evaluate(cubic, PLANE, x, y, gradient=True)
    fine_x, fine_y = np.linspace(-1, 1, 31), np.linspace(-1, 2, 17)
    fine = nv.interpolate(coarse, fine_x, fine_y)
    exact = nv.evaluate(cubic, PLANE, fine_x, fine_y, gradient=True)
    np.testing.assert_allclose(fine.values, exact.values, atol=3e-6)
    np.testing.assert_allclose(fine.gradient, exact.gradient, atol=1e-5)
    again = nv.interpolate(coarse, x, y)
    np.testing.assert_allclose(again.values, coarse.values, rtol=1e-12)
    np.testing.assert_allclose(again.gradient, coarse.gradient, rtol=1e-12, atol=1e-12)


def test_interpolation_gains_four_orders_and_is_smooth_across_cells(x64):
    errors = []
    there = np.linspace(-1, 1, 201)
    for count in (11, 21):
        coarse = nv.evaluate(ripples, PLANE, np.linspace(-1, 1, count), np.linspace(-1, 1, count), gradient=True)
        errors.append(
            np.abs(nv.interpolate(coarse, there, there).values - nv.evaluate(ripples, PLANE, there, there).values).max()
        )
    assert errors[0] / errors[1] > 11
    edges, tiny = coarse.x[1:-1], 1e-9
    for sides in ((edges - tiny, there), (there, edges - tiny)):
        before = nv.interpolate(coarse, *sides)
        after = nv.interpolate(coarse, *(s + 2 * tiny if s is not there else s for s in sides))
        np.testing.assert_allclose(before.gradient, after.gradient, atol=1e-6)


def test_interpolation_along_a_line():
    line = nv.Plane(jnp.zeros(2), (jnp.array([1.0, 0.5]),))
    coarse = nv.evaluate(rosenbrock, line, np.linspace(-1, 1, 41), gradient=True)
    there = np.linspace(-1, 1, 97)
    np.testing.assert_allclose(
        nv.interpolate(coarse, there).values, nv.evaluate(rosenbrock, line, there).values, rtol=1e-5
    )


def test_cells_by_a_point_that_is_not_finite_are_not_finite_and_the_others_are():
    coarse = nv.evaluate(lambda w: jnp.log(w[0]) + w[1], PLANE, np.linspace(-1, 1, 9) + 0.1, AXIS, gradient=True)
    fine = nv.interpolate(coarse, np.linspace(-0.9, 1, 50), AXIS)
    assert np.isnan(fine.values[:, 0]).all()
    assert np.isfinite(fine.values[:, fine.x > coarse.x[6]]).all()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda cut: nv.interpolate(cut._replace(gradient=None), AXIS, AXIS), "cut must hold one quantity and its"),
        (lambda cut: nv.interpolate(cut, 2 * AXIS, AXIS), "x must lie within -1.5 and 1.5"),
        (lambda cut: nv.interpolate(cut, AXIS), "y must be given"),
        (lambda cut: nv.refine(rosenbrock, PLANE, AXIS, AXIS, tolerance=0.0), "tolerance and least must not be"),
        (lambda cut: nv.refine(rosenbrock, PLANE, AXIS, AXIS, stride=0), "stride at least 1"),
        (lambda cut: nv.refine(lambda w: {"a": w[0], "b": w[1]}, PLANE, AXIS, AXIS), "loss must be one scalar"),
        (lambda cut: nv.refine(rosenbrock, nv.Plane(jnp.zeros(2), PLANE.axes[:1]), AXIS, AXIS), "two axes"),
    ],
)
def test_bad_input_is_refused(call, message):
    cut = nv.Slice(AXIS, AXIS, np.zeros((65, 65)), gradient=np.zeros((65, 65, 2)))
    with pytest.raises(ValueError, match=message):
        call(cut)
