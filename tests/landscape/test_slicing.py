"""A slice holds the loss at the points that its coordinates name."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax.sharding import Mesh

import nagviz as nv
from nagviz.landscape import sweep
from nagviz.landscape.spreading import Place
from nagviz.landscape.sweep import Task

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


@pytest.mark.parametrize(("points", "expected"), [(len(X), [0, 1, 2, 3]), (2 * len(X), [0, 2, 3])])
def test_rows_are_reported_when_they_are_done(points, expected):
    """Those that are done at once, at once: the time that they took was not that of the first of them."""
    seen, effort = [], nv.Effort(points=points, way="map", linear=False)
    nv.evaluate(loss, PLANE, X, Y, effort=effort, report=lambda done, total: seen.append((done, total)))
    assert seen == [(rows, 3) for rows in expected]


@pytest.mark.parametrize(
    ("x", "y", "batches", "message"),
    [
        ([], Y, None, "x must be a strictly increasing"),
        ([0.0, 0.0], Y, None, "x must be a strictly increasing"),
        (X, [1.0, 0.0], None, "y must be a strictly increasing"),
        (X, [0.0, np.nan], None, "y must be a strictly increasing"),
        (["a", "b"], Y, None, "x must be a strictly increasing vector of real numbers"),
        ([0, 1j], Y, None, "x must be a strictly increasing vector of real numbers"),
        (X, [1.0, 1.0 + 1e-9], None, r"y must hold numbers that differ in float32, got 1\.0 and 1\.000000001"),
        (X, None, None, "plane must have an axis for each of x and y, got 2"),
        (X, Y, [], "batches must hold at least one batch"),
        (X, Y, 5, "batches must be a list of batches, or a dict of such lists, got int"),
        (X, Y, np.ones((4, 2)), "batches must be a list of batches, or a dict of such lists, got ndarray"),
        (X, Y, [(np.ones(3), np.ones(2))] * 2, "leading axes of different lengths.*give weights"),
    ],
)
def test_bad_grids_are_refused_before_work_starts(x, y, batches, message):
    def never(*_):
        pytest.fail("evaluated")

    with pytest.raises(ValueError, match=message):
        nv.evaluate(never, PLANE, x, y, batches=batches)


@pytest.mark.parametrize(
    ("value", "found"), [(None, "NoneType"), ({}, "an empty dict"), ({"a": {"b": 1.0}}, "dict"), ("low", "str")]
)
def test_a_loss_that_is_no_number_is_refused(value, found):
    with pytest.raises(ValueError, match=f"must return a scalar, or a dict of scalars, got {found}"):
        nv.evaluate(lambda p: value, PLANE, X, Y)


def test_a_loss_that_is_no_scalar_is_refused():
    with pytest.raises(ValueError, match=r"loss must return a scalar, got shape \(2,\)"):
        nv.evaluate(lambda p: p["w"], PLANE, X, Y)


RNG = np.random.default_rng(5)
SAMPLES = RNG.normal(size=(101, 2)).astype(np.float32)
LABELS = RNG.integers(0, 2, 101)
NET = nv.Plane(
    {"w": jnp.asarray(RNG.normal(size=(2, 16)), jnp.float32), "v": jnp.asarray(RNG.normal(size=16), jnp.float32)},
    tuple(
        {"w": jnp.asarray(RNG.normal(size=(2, 16)), jnp.float32), "v": jnp.asarray(RNG.normal(size=16), jnp.float32)}
        for _ in range(2)
    ),
)


def logits(params, batch):
    return jnp.tanh(batch[0] @ params["w"]) @ params["v"]


def entropy(params, batch):
    return jnp.mean(jnp.logaddexp(0.0, logits(params, batch)) - batch[1] * logits(params, batch))


def accuracy(params, batch):
    return jnp.mean((logits(params, batch) > 0) == batch[1])


def at(function, plane, x, y, *rest):
    """The plain way: one point after another."""
    values = jax.jit(lambda c: function(nv.embed(plane, c), *rest))
    return np.array([[values(jnp.array([a, b])) for a in x] for b in y])


WHOLE = (SAMPLES, LABELS)
HALVES = [(SAMPLES[:60], LABELS[:60]), (SAMPLES[60:], LABELS[60:])]


def test_several_metrics_on_train_and_test_data_in_one_pass():
    cut = nv.evaluate(entropy, NET, X, Y, batches={"train": HALVES, "test": HALVES[1:]}, metrics={"accuracy": accuracy})
    assert list(cut.values) == ["train loss", "train accuracy", "test loss", "test accuracy"]
    for name, function, data in (
        ("train loss", entropy, WHOLE),
        ("train accuracy", accuracy, WHOLE),
        ("test loss", entropy, HALVES[1]),
        ("test accuracy", accuracy, HALVES[1]),
    ):
        np.testing.assert_allclose(cut.values[name], at(function, NET, X, Y, data), rtol=2e-6, err_msg=name)


def test_a_loss_may_return_a_dict():
    both = lambda p, b: {"entropy": entropy(p, b), "accuracy": accuracy(p, b)}  # noqa: E731
    cut = nv.evaluate(both, NET, X, Y, batches=[WHOLE])
    assert list(cut.values) == ["entropy", "accuracy"]
    np.testing.assert_allclose(cut.values["entropy"], at(entropy, NET, X, Y, WHOLE), rtol=2e-6)


def test_samples_are_numbered_by_the_leaves_that_have_an_axis():
    """A scale, sorted before the samples, is none of them."""
    batches = [{"a": jnp.float32(2), "x": x} for x in (SAMPLES[:60], SAMPLES[60:])]
    cut = nv.evaluate(lambda p, b: b["a"] * jnp.mean(b["x"] @ p["w"]), NET, X, Y, batches=batches)
    np.testing.assert_allclose(cut.values, at(lambda p: 2 * jnp.mean(SAMPLES @ p["w"]), NET, X, Y), atol=1e-6)


def test_weights_stand_in_for_the_sizes_of_batches():
    parts = [at(entropy, NET, X, Y, half) for half in HALVES]
    cut = nv.evaluate(entropy, NET, X, Y, batches=HALVES, weights=[3.0, 1.0])
    np.testing.assert_allclose(cut.values, 0.75 * parts[0] + 0.25 * parts[1], rtol=2e-6)


@pytest.mark.parametrize(
    "effort", [nv.Effort(samples=7), nv.Effort(points=4), nv.Effort(points=4, way="vmap"), nv.Effort(linear=False)]
)
def test_every_arrangement_gives_the_same_values(effort):
    cut = nv.evaluate(entropy, NET, X, Y, batches=[WHOLE], effort=effort)
    np.testing.assert_allclose(cut.values, at(entropy, NET, X, Y, WHOLE), rtol=2e-6)
    for name, value in effort._asdict().items():
        assert name == "budget" or value is None or getattr(cut.work.plan, name) == value


@pytest.mark.parametrize(("budget", "gradient"), [(200_000, False), (20_000, False), (20_000, True)])
def test_memory_stays_within_the_budget_by_smaller_pieces(budget, gradient, monkeypatch):
    """That of whatever is run, be it tried beforehand only, as the compiler counts it."""
    run, compile_ = [], sweep._compile

    def watched(*arguments):
        made = compile_(*arguments)
        return made._replace(prepare=lambda piece: (run.append(made.bytes), made.prepare(piece))[1])

    monkeypatch.setattr(sweep, "_compile", watched)
    big = RNG.normal(size=(5000, 2)).astype(np.float32), RNG.integers(0, 2, 5000)
    effort = nv.Effort(budget=budget, linear=True)  # or what is tried could do without
    cut = nv.evaluate(entropy, NET, X, Y, batches=[big], effort=effort, gradient=gradient)
    assert cut.work.bytes <= max(run) <= budget
    assert cut.work.plan.samples < 5000
    np.testing.assert_allclose(cut.values, at(entropy, NET, X, Y, big), rtol=5e-6)


def test_the_compilers_count_holds_what_lives_together():
    """Parts of one piece that is done and of the next, two calls, and a piece of the batch twice."""
    task = Task(lambda p, b, fresh: (jnp.mean(jnp.tanh(b @ p["w"]) @ p["v"]),), NET)
    piece, plan = jnp.ones((64, 2)), sweep.Plan(64, 1, "map", True)
    made = sweep.compiler(task)(piece, plan)
    call = sweep._bytes(made.call)
    assert made.bytes >= 2 * piece.nbytes + 2 * made.held + call
    assert made.bytes >= 2 * piece.nbytes + made.held + 2 * call
    assert sweep.compiler(task)(piece, plan._replace(samples=None)).bytes == made.bytes - 2 * piece.nbytes


@pytest.mark.parametrize("place", [None, Place(Mesh(np.array(jax.devices()[:1]), ("grid",)), together=False)])
@pytest.mark.parametrize(("linear", "leaves"), [(True, 1), (False, 2)])
def test_the_plane_is_held_once_for_all_pieces(linear, leaves, place):
    task = Task(lambda p, b, fresh: (jnp.mean(jnp.tanh(b @ p["w"]) @ p["v"]),), NET, place=place)
    made = sweep.compiler(task)(jnp.ones((64, 2)), sweep.Plan(None, 1, "map", linear))
    one, other = (jax.tree.leaves(made.prepare(jnp.ones((64, 2)))[0]) for _ in range(2))
    plane = [leaf for leaf, again in zip(one, other, strict=True) if leaf is again]
    assert len(plane) == 3 * leaves
    assert made.held == sum(leaf.nbytes for leaf in one) - sum(leaf.nbytes for leaf in plane)


@pytest.mark.parametrize("effort", [nv.Effort(budget=400), nv.Effort(budget=400, samples=1)])
def test_a_budget_that_one_point_of_a_sample_exceeds_is_refused(effort):
    big = RNG.normal(size=(5000, 2)).astype(np.float32), RNG.integers(0, 2, 5000)
    with pytest.raises(ValueError, match=r"effort.budget is 400 bytes, but .* give a larger budget"):
        nv.evaluate(entropy, NET, X, Y, batches=[big], effort=effort)


def test_the_gradient_in_the_plane_is_exact():
    cut = nv.evaluate(entropy, NET, X, Y, batches=HALVES, gradient=True)
    gradient = jax.jit(jax.grad(lambda c: entropy(nv.embed(NET, c), WHOLE)))
    exact = np.array([[gradient(jnp.array([a, b])) for a in X] for b in Y])
    assert cut.gradient.shape == (3, 5, 2)
    np.testing.assert_allclose(cut.gradient, exact, rtol=1e-5, atol=1e-6)
    line = nv.Plane(NET.origin, NET.axes[:1])
    along = nv.evaluate(entropy, line, X, batches=HALVES, gradient=True)
    np.testing.assert_allclose(along.gradient[:, 0], cut.gradient[1, :, 0], rtol=1e-5, atol=1e-6)


def test_the_mean_does_not_drift_with_the_number_of_batches():
    values = np.float32(1) + np.arange(3000, dtype=np.float32)[:, None] / 7
    plane = nv.Plane(jnp.float32(0.1), (jnp.float32(1.0),))
    cut = nv.evaluate(lambda p, b: p * b[0], plane, [0.0, 1.0], batches=list(values))
    exact = np.mean(np.float32(0.1) * np.float64(values))
    assert abs(cut.values[0] / exact - 1) < 1e-7


def test_half_precision_is_used_where_asked_for_and_only_there():
    plain = at(entropy, NET, X, Y, WHOLE)
    rounded = nv.evaluate(entropy, NET, X, Y, batches=[WHOLE], compute_dtype=jnp.bfloat16).values
    assert 1e-4 < np.max(np.abs(rounded / plain - 1)) < 5e-2


def test_parts_that_overflow_do_not_spoil_points_that_do_not():
    plane = nv.Plane(jnp.ones(2), (jnp.array([-0.5, 0.0]),))
    cut = nv.evaluate(lambda w, x: jnp.mean(jnp.tanh(w / x)), plane, [0.0, 1.0], batches=[jnp.zeros((1, 2))])
    np.testing.assert_array_equal(cut.values, [1.0, 1.0])


def normalised(params, batch, statistics=None):
    """One batch-normalised feature: with the batch's own statistics, or those given."""
    hidden = batch @ params["w"]
    mean, square = moments(params, batch) if statistics is None else statistics
    return jnp.mean(jnp.tanh((hidden - mean) / jnp.sqrt(square - mean**2 + 1e-3)) ** 2)


def moments(params, batch):
    hidden = batch @ params["w"]
    return hidden.mean(0), (hidden**2).mean(0)


def test_statistics_are_of_each_batch_or_recomputed_over_all_of_them_as_asked():
    batches = [SAMPLES[:60], SAMPLES[60:]]
    cut = nv.evaluate(normalised, NET, X, Y, batches=batches, statistics="batch")
    parts = [at(normalised, NET, X, Y, batch) for batch in batches]
    np.testing.assert_allclose(cut.values, (60 * parts[0] + 41 * parts[1]) / 101, rtol=2e-5)
    assert cut.statistics == "batch"
    cut = nv.evaluate(normalised, NET, X, Y, batches=batches, statistics=moments)
    np.testing.assert_allclose(cut.values, at(normalised, NET, X, Y, SAMPLES), rtol=2e-5)
    assert cut.statistics == "recomputed"


def test_a_loss_that_is_no_mean_over_its_samples_is_never_cut():
    big = RNG.normal(size=(512, 2)).astype(np.float32)
    task = Task(lambda p, b, _: (normalised(p, b),), NET)
    assert not sweep._cuts(task, big, nv.Effort())
    assert sweep._cuts(task._replace(function=lambda p, b, _: (jnp.mean(b @ p["w"]),)), big, nv.Effort())


def test_a_slice_of_several_quantities_is_saved_and_loaded_whole(tmp_path):
    cut = nv.evaluate(entropy, NET, X, Y, batches=[WHOLE], metrics={"accuracy": accuracy}, gradient=True)
    nv.save_slice(tmp_path / "cut.npz", cut)
    again = nv.load_slice(tmp_path / "cut.npz")
    for field in ("values", "gradient"):
        assert list(getattr(again, field)) == ["loss", "accuracy"]
        for name, array in getattr(cut, field).items():
            np.testing.assert_array_equal(getattr(again, field)[name], array)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batches": [SAMPLES, SAMPLES[:, :1]]}, "batches must differ in their leading axes only: batch 1"),
        ({"batches": [SAMPLES], "weights": [1.0, 2.0]}, "weights must be 1 numbers"),
        ({"weights": [1.0]}, "weights are those of batches"),
        ({"batches": {}}, "batches must hold at least one entry"),
        ({"batches": [SAMPLES], "statistics": "train"}, "statistics must be 'kept', 'batch' or a function"),
        ({"statistics": moments}, "recomputed need batches"),
        ({"batches": [SAMPLES], "statistics": moments, "gradient": True}, "gradient must be left out where statistics"),
        ({"batches": [SAMPLES], "effort": nv.Effort(budget=10)}, "effort.budget is 10 bytes"),
        ({"batches": [SAMPLES], "effort": nv.Effort(samples=9), "statistics": "batch"}, "would cut batches"),
    ],
)
def test_bad_data_are_refused_before_work_starts(options, message):
    with pytest.raises(ValueError, match=message):
        nv.evaluate(lambda p, b=None: p["w"].sum(), NET, X, Y, **options)


def test_axes_unlike_the_origin_are_refused_by_name():
    odd = nv.Plane(NET.origin, (NET.axes[0], {**NET.axes[1], "v": jnp.zeros(3)}))
    with pytest.raises(ValueError, match=r"plane.axes\[1\]\['v'\] must have the shape \(16,\)"):
        nv.evaluate(entropy, odd, X, Y, batches=[WHOLE])


def test_batch_statistics_of_flax_models_kept_and_recomputed():
    model = nnx.Sequential(nnx.Linear(2, 3, rngs=nnx.Rngs(0)), nnx.BatchNorm(3, momentum=0.0, rngs=nnx.Rngs(0)))
    graph, params, statistics = nnx.split(model, nnx.Param, nnx.BatchStat)

    def loss(params, batch, statistics=statistics):
        model = nnx.view(nnx.merge(graph, params, statistics, copy=True), use_running_average=True)
        return jnp.mean(jnp.tanh(model(batch)))

    def estimate(params, batch):  # with momentum 0 a forward pass leaves the batch's own
        model = nnx.merge(graph, params, statistics, copy=True)
        model(batch)
        return nnx.state(model, nnx.BatchStat)

    flat = jax.tree.map(lambda p: 0.3 * jnp.ones_like(p), params)
    wavy = jax.tree.map(lambda p: 0.2 * jnp.cos(jnp.arange(p.size, dtype=p.dtype)).reshape(p.shape), params)
    plane = nv.Plane(params, (flat, wavy))
    kept = nv.evaluate(loss, plane, X, Y, batches=[SAMPLES])
    np.testing.assert_allclose(kept.values, at(loss, plane, X, Y, SAMPLES), rtol=1e-5, atol=1e-6)
    fresh = nv.evaluate(loss, plane, X, Y, batches=[SAMPLES], statistics=estimate)
    np.testing.assert_allclose(
        fresh.values, at(lambda p, b: loss(p, b, estimate(p, b)), plane, X, Y, SAMPLES), rtol=1e-5, atol=1e-6
    )


WIDE = np.random.default_rng(8).normal(size=(4000, 784)).astype(np.float32)
TEACHER = {
    "a": jnp.asarray(np.random.default_rng(9).normal(size=(784, 256)) / 28, jnp.float32),
    "b": jnp.asarray(np.random.default_rng(10).normal(size=(256, 1)) / 16, jnp.float32),
}
MASKS = {
    "weights": np.where(np.arange(4000) < 1000, 1.0, 0.1),
    "padding": (np.arange(4000) < 2500).astype(float),
    "padding at the end": (np.arange(4000) < 3990).astype(float),
}


@pytest.mark.parametrize("mask", MASKS)
def test_a_batch_whose_mean_is_weighted_is_not_cut(mask):
    """The model is large enough for plain means to be cut."""

    def error(params, batch):
        return (jnp.tanh(batch[0] @ params["a"]) @ params["b"] - batch[1])[:, 0] ** 2

    def masked(params, batch):
        return jnp.sum(batch[2] * error(params, batch)) / jnp.sum(batch[2])

    line, batch = nv.random_line(TEACHER, 0), (WIDE, WIDE[:, :1], MASKS[mask].astype(np.float32))
    cut = nv.evaluate(masked, line, np.linspace(-1, 1, 9), batches=[batch])
    assert cut.work.plan.samples is None
    expected = [float(jax.jit(masked)(nv.embed(line, (c,)), batch)) for c in (-1.0, 0.0, 1.0)]
    np.testing.assert_allclose(cut.values[[0, 4, 8]], expected, rtol=1e-5)
    if mask == "padding":
        plain = nv.evaluate(lambda p, b: jnp.mean(error(p, b)), line, np.linspace(-1, 1, 101), batches=[batch])
        assert plain.work.plan.samples


@pytest.mark.parametrize("linear", [True, False, None])
def test_stop_gradient_stops_the_gradient_however_it_is_evaluated(linear):
    plane = nv.Plane(jnp.array([1.0, 2.0]), (jnp.eye(2)[0], jnp.eye(2)[1]))

    def loss(w):
        return jnp.sum(jnp.tanh(w)) * jax.lax.stop_gradient(w[0])

    cut = nv.evaluate(loss, plane, [0.0, 1.0], [0.0, 1.0], gradient=True, effort=nv.Effort(linear=linear))
    np.testing.assert_allclose(cut.gradient[0, 0], jax.grad(loss)(plane.origin), rtol=1e-6)


def test_a_derivative_that_is_only_told_backwards_is_refused():
    @jax.custom_vjp
    def length(w):
        return jnp.linalg.norm(w)

    length.defvjp(lambda w: (length(w), w), lambda w, g: (g * w,))
    line = nv.Plane(jnp.ones(2), (jnp.ones(2),))
    assert nv.evaluate(length, line, [0.0]).values == pytest.approx([2**0.5])
    with pytest.raises(ValueError, match="custom_jvp"):
        nv.evaluate(jax.jit(length), line, [0.0], gradient=True)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"effort": nv.Effort(way="foo")}, "effort.way must be 'map', 'vmap' or None, got 'foo'"),
        ({"effort": nv.Effort(points=-3)}, "effort.points must be a whole number, at least 1, or None, got -3"),
        ({"effort": nv.Effort(tile=0)}, "effort.tile must be"),
        ({"metrics": {"loss": jnp.sum}}, "metrics must not have an entry 'loss'"),
    ],
)
def test_what_is_no_way_to_evaluate_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        nv.evaluate(jnp.sum, nv.Plane(jnp.ones(2), (jnp.ones(2),)), [0.0, 1.0], **options)


def test_a_complex_loss_is_refused():
    with pytest.raises(ValueError, match="loss must be real, got complex64"):
        nv.evaluate(lambda w: w.sum() + 1j, nv.Plane(jnp.ones(2), (jnp.ones(2),)), [0.0, 1.0])


@pytest.mark.parametrize(("budget", "fits"), [(4_000_000, True), (200_000, False)])
def test_statistics_over_whole_batches_keep_to_the_budget_too(budget, fits):
    batches = [(np.repeat(SAMPLES, 50, 0), np.repeat(LABELS, 50, 0))]
    options = {"batches": batches, "effort": nv.Effort(budget=budget, samples=10, points=1, linear=True)}
    options["statistics"] = lambda params, batch: jnp.exp(batch[0] @ params["w"]).mean(0)
    asked = partial(nv.evaluate, lambda p, b, s: entropy(p, b) + s.mean(), NET, X, Y, **options)
    if fits:
        assert 200_000 < asked().work.bytes <= budget
    else:
        with pytest.raises(ValueError, match=r"budget is 200,000 bytes, but the statistics of one point take"):
            asked()


@pytest.mark.parametrize("of", ["loss", "statistics"])
def test_what_is_linear_is_worked_out_once_only_where_the_budget_has_room_for_that(of):
    """By the budget alone, whatever was the fastest."""
    means = lambda p, b: jnp.exp(b[0] @ p["w"]).mean(0)  # noqa: E731
    asked, effort = {
        "loss": (partial(nv.evaluate, entropy, statistics="batch"), nv.Effort(points=1, way="map")),
        "statistics": (
            partial(nv.evaluate, lambda p, b, s: entropy(p, b) + s.mean(), statistics=means),
            nv.Effort(points=1, way="map", samples=10),
        ),
    }[of]
    asked = partial(asked, NET, [0.0], [0.0, 1.0], batches=[(np.repeat(SAMPLES, 50, 0), np.repeat(LABELS, 50, 0))])
    ways = [asked(effort=effort._replace(linear=linear)) for linear in (True, False)]
    most = ways[0].work.bytes - 1
    assert ways[1].work.bytes < most
    kept = asked(effort=effort._replace(budget=most))
    assert not kept.work.plan.linear
    assert kept.work.bytes <= most
    np.testing.assert_allclose(kept.values, ways[0].values, rtol=1e-5)
    with pytest.raises(ValueError, match=r"effort\.budget is .* bytes"):
        asked(effort=effort._replace(budget=most, linear=True))


def test_no_point_is_computed_only_to_fill_up_the_call_of_a_small_tile():
    cut = nv.evaluate(entropy, NET, X, Y, batches=HALVES, effort=nv.Effort(tile=5))
    assert cut.work.tile == (1, 5)
    assert cut.work.plan.points <= 5


def test_batches_of_no_weight_do_not_count_as_work_that_is_left():
    seen = []
    batches = [HALVES[0], (SAMPLES[:7], LABELS[:7])]
    cut = nv.evaluate(
        entropy, NET, X, Y, batches=batches, weights=[1, 0], report=lambda done, total: seen.append((done, total))
    )
    assert seen[-1] == (3, 3)
    np.testing.assert_array_equal(cut.values, nv.evaluate(entropy, NET, X, Y, batches=batches[:1]).values)
