"""A function cut in two says what it said whole, and its first linear layer is no longer in the loop."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from nagviz.landscape import affine
from nagviz.landscape.plane import Plane, embed

EPS = float(np.finfo(np.float32).eps)
IMAGES = np.random.default_rng(0).normal(size=(4, 8, 8, 4)).astype(np.float32)
ROWS = np.random.default_rng(1).normal(size=(6, 5)).astype(np.float32)
WORDS = np.random.default_rng(2).integers(0, 11, (3, 7))
SERIES = np.random.default_rng(3).normal(size=(2, 6, 4)).astype(np.float32)


def random_like(tree, seed):
    draw = np.random.default_rng(seed)
    return jax.tree.map(lambda leaf: jnp.asarray(draw.normal(size=leaf.shape), leaf.dtype), tree)


def around(params):
    """A plane whose points differ in every leaf."""
    return Plane(params, (random_like(params, 10), random_like(params, 11)))


def cut(function, plane, data, **options):
    """The phases of function(params, data), and `held`."""
    origin, tree = jax.tree.flatten(plane.origin)
    leaves, data_tree = jax.tree.flatten(data)

    def flat(*arguments):
        params = jax.tree.unflatten(tree, arguments[: len(origin)])
        return function(params, jax.tree.unflatten(data_tree, arguments[len(origin) :]))

    closed = jax.make_jaxpr(flat)(*origin, *leaves)
    phases = affine.split(closed, len(origin), len(plane.axes), **options)
    along = [jax.tree.leaves(axis) for axis in plane.axes]
    return phases, jax.jit(phases.prepare)(phases.constants, origin, along, leaves)


def primitives(function, *arguments):
    """How often each primitive occurs, calls and loops included."""
    count = {}

    def walk(jaxpr):
        for eqn in jaxpr.eqns:
            count[eqn.primitive.name] = count.get(eqn.primitive.name, 0) + 1
            for value in eqn.params.values():
                for inner in value if isinstance(value, tuple) else (value,):
                    if hasattr(inner, "eqns"):
                        walk(getattr(inner, "jaxpr", inner))

    walk(jax.make_jaxpr(function)(*arguments).jaxpr)
    return count


def of_nnx(make, call=lambda model, data: model(data)):
    """A flax.nnx model as a function of its parameters, with whatever else it holds closed over."""

    def case():
        model = make(nnx.Rngs(0))
        graph, params, rest = nnx.split(model, nnx.Param, ...)
        return lambda p, data: call(nnx.merge(graph, p, rest, copy=True), data), params

    return case


def of_linen(model, data, **options):
    def case():
        variables = model.init(jax.random.key(0), data)
        rest = {name: tree for name, tree in variables.items() if name != "params"}
        return lambda p, d: model.apply({"params": p, **rest}, d, **options), variables["params"]

    return case


def of_dict(function, **shapes):
    def case():
        return function, {name: jnp.asarray(random_like(jnp.zeros(s), n)) for n, (name, s) in enumerate(shapes.items())}

    return case


def scan_over_layers(p, x):
    return jax.lax.scan(lambda h, w: (jnp.tanh(h @ w), None), x @ p["first"], p["rest"])[0]


def lstm(rngs):
    return nnx.RNN(nnx.LSTMCell(4, 5, rngs=rngs))


def two_layers(first, second):
    return lambda rngs: nnx.Sequential(first(rngs), nnx.relu, second(rngs))


class Residual(nn.Module):
    """Linen in its compact style, with batch statistics."""

    @nn.compact
    def __call__(self, x, train=False):
        h = nn.Conv(6, (3, 3), use_bias=False)(x)
        h = nn.relu(nn.BatchNorm(use_running_average=not train)(h))
        h = nn.Conv(6, (1, 1))(h) + h
        return nn.Dense(3)(nn.avg_pool(h, (2, 2), (2, 2)).reshape(len(x), -1))


class Layer(nn.Module):
    @nn.compact
    def __call__(self, h, _):
        return nn.tanh(nn.Dense(5)(h)), None


class Stack(nn.Module):
    """The same layer three times over, by nn.scan."""

    @nn.compact
    def __call__(self, x):
        layers = nn.scan(Layer, variable_axes={"params": 0}, split_rngs={"params": True}, length=3)
        return layers()(nn.Dense(5)(x), None)[0]


@jax.custom_vjp
def reversed_gradient(x):
    return 2 * x


reversed_gradient.defvjp(lambda x: (2 * x, None), lambda _, g: (-g,))

# A model, its data, and what of it is left at every point (None: not looked at).
MODELS = {
    "Linear": (of_nnx(lambda r: nnx.Linear(5, 3, rngs=r)), ROWS, {"dot_general": 0}),
    "MLP": (
        of_nnx(two_layers(lambda r: nnx.Linear(5, 8, rngs=r), lambda r: nnx.Linear(8, 3, rngs=r))),
        ROWS,
        {"dot_general": 1},
    ),
    "LinearGeneral": (
        of_nnx(lambda r: nnx.LinearGeneral((8, 4), (3, 2), axis=(-2, -1), rngs=r)),
        IMAGES,
        {"dot_general": 0},
    ),
    "Einsum": (of_nnx(lambda r: nnx.Einsum("...ij,jk->...ik", (4, 3), (3,), rngs=r)), IMAGES, {"dot_general": 0}),
    "Conv, strided": (of_nnx(lambda r: nnx.Conv(4, 6, (3, 3), strides=2, rngs=r)), IMAGES, {"conv_general_dilated": 0}),
    "Conv, dilated": (
        of_nnx(lambda r: nnx.Conv(4, 6, (3, 3), kernel_dilation=2, rngs=r)),
        IMAGES,
        {"conv_general_dilated": 0},
    ),
    "Conv, grouped": (
        of_nnx(lambda r: nnx.Conv(4, 6, (3, 3), feature_group_count=2, padding="CIRCULAR", rngs=r)),
        IMAGES,
        {"conv_general_dilated": 0},
    ),
    "ConvTranspose": (
        of_nnx(lambda r: nnx.ConvTranspose(4, 6, (3, 3), strides=2, rngs=r)),
        IMAGES,
        {"conv_general_dilated": 0},
    ),
    "CNN": (
        of_nnx(
            lambda r: nnx.Sequential(
                nnx.Conv(4, 6, (3, 3), rngs=r), nnx.relu, nnx.Conv(6, 3, (3, 3), rngs=r), nnx.relu
            ),
            lambda m, x: nnx.max_pool(m(x), (2, 2), (2, 2)),
        ),
        IMAGES,
        {"conv_general_dilated": 1},
    ),
    "Conv, then average pooling": (
        of_nnx(lambda r: nnx.Conv(4, 6, (3, 3), rngs=r), lambda m, x: nnx.avg_pool(m(x), (2, 2), (2, 2))),
        IMAGES,
        {"conv_general_dilated": 0, "reduce_window_sum": 0},
    ),
    "Embed": (of_nnx(lambda r: nnx.Embed(11, 4, rngs=r)), WORDS, {"gather": 0}),
    "Embed, tied": (
        of_nnx(lambda r: nnx.Embed(11, 4, rngs=r), lambda m, x: m.attend(nnx.tanh(m(x)))),
        WORDS,
        {"gather": 0},
    ),
    "BatchNorm, kept": (
        of_nnx(lambda r: nnx.BatchNorm(5, rngs=r), lambda m, x: nnx.view(m, use_running_average=True)(x)),
        ROWS,
        None,
    ),
    "BatchNorm, of the batch": (of_nnx(lambda r: nnx.BatchNorm(5, rngs=r)), ROWS, None),
    "LayerNorm": (of_nnx(lambda r: nnx.LayerNorm(5, rngs=r)), ROWS, {"rsqrt": 0}),
    "GroupNorm": (of_nnx(lambda r: nnx.GroupNorm(4, 2, rngs=r)), IMAGES, {"rsqrt": 0}),
    "RMSNorm": (of_nnx(lambda r: nnx.RMSNorm(5, rngs=r)), ROWS, {"rsqrt": 0}),
    "MultiHeadAttention": (
        of_nnx(lambda r: nnx.MultiHeadAttention(2, 4, 8, decode=False, rngs=r)),
        SERIES,
        {"dot_general": 3},  # query times key, weights times value, and the output's; not the three projections
    ),
    "Dropout, deterministic": (
        of_nnx(two_layers(lambda r: nnx.Linear(5, 8, rngs=r), lambda r: nnx.Dropout(0.5, deterministic=True, rngs=r))),
        ROWS,
        {"dot_general": 0},
    ),
    "LSTM": (of_nnx(lstm), SERIES, None),
    "GRU": (of_nnx(lambda r: nnx.RNN(nnx.GRUCell(4, 5, rngs=r))), SERIES, None),
    "linen, residual": (of_linen(Residual(), IMAGES), IMAGES, {"conv_general_dilated": 1}),
    "linen, scanned": (of_linen(Stack(), ROWS), ROWS, None),
    "linen, attention": (of_linen(nn.MultiHeadDotProductAttention(2), SERIES), SERIES, {"dot_general": 3}),
    "dict": (of_dict(lambda p, x: jax.nn.softmax(x @ p["w"] + p["b"]), w=(5, 3), b=(3,)), ROWS, {"dot_general": 0}),
    "scan over layers": (of_dict(scan_over_layers, first=(5, 4), rest=(3, 4, 4)), ROWS, {"dot_general": 1}),
    "remat": (
        of_dict(jax.checkpoint(lambda p, x: jnp.tanh(x @ p["w"]) @ p["v"]), w=(5, 8), v=(8, 2)),
        ROWS,
        {"dot_general": 1},
    ),
    "custom_vjp": (of_dict(lambda p, x: jnp.sin(reversed_gradient(x @ p["w"])), w=(5, 8)), ROWS, {"dot_general": 0}),
    "jnp.take": (
        of_dict(lambda p, x: jnp.tanh(jnp.take(p["e"], x, axis=0).sum(1) @ p["w"]), e=(11, 4), w=(4, 3)),
        WORDS,
        {"gather": 0},
    ),
    "structure": (
        of_dict(
            lambda p, x: jnp.exp(
                0.1
                * jnp.concatenate(
                    [
                        jnp.pad(jnp.flip(p["w"].T, 0), ((1, 0), (0, 2)), constant_values=3.0) / 3,
                        jnp.zeros((1, 7)).at[0, jnp.array([1, 1, 4])].add(p["b"]),
                        jnp.where(x[0, 0] > 0, jnp.cumsum(p["w"], 0), 1.0)[:1, [0, 1, 2, 0, 1, 2, 0]] - x[0, 1],
                        jnp.stack(jnp.split(jnp.tile(p["b"], 7), 3))[:, :7],
                    ]
                )
            ),
            w=(5, 3),
            b=(3,),
        ),
        ROWS,
        {"cumsum": 0, "pad": 0, "scatter-add": 0, "select_n": 0},
    ),
    "squares of parameters": (
        of_dict(lambda p, x: p["w"] * p["w"] + jnp.dot(p["w"], p["b"]), w=(3, 3), b=(3,)),
        ROWS,
        {"dot_general": 1},
    ),
    "no data in it": (of_dict(lambda p, x: p["w"].sum() ** 2, w=(5, 3)), ROWS, {"reduce_sum": 0}),
}


@pytest.mark.parametrize("name", MODELS)
def test_a_model_cut_in_two_says_what_it_said_whole(name):
    case, data, left = MODELS[name]
    function, params = case()
    plane = around(params)
    phases, held = cut(function, plane, data)
    point = jax.jit(phases.point)
    whole = jax.jit(lambda c: function(embed(plane, c), data))
    for coordinates in ([0.0, 0.0], [0.7, -0.3], [-2.0, 1.5]):
        c = jnp.array(coordinates)
        expected = whole(c)
        (value,) = point(held, c)
        size = float(jnp.max(jnp.abs(expected)))
        np.testing.assert_allclose(value, expected, rtol=200 * EPS, atol=200 * EPS * size)
    counted = primitives(phases.point, held, jnp.zeros(2))
    if left:
        assert {key: counted.get(key, 0) for key in left} == left


def mlp(p, x):
    return jnp.mean(jax.nn.relu(x @ p["w"] + p["b"]) @ p["v"])


MLP = around({"w": jnp.ones((5, 8)), "b": jnp.zeros(8), "v": jnp.ones((8, 1))})


def test_leaves_that_no_axis_moves_are_data():
    function = lambda p, x: jnp.tanh(jnp.tanh(x @ p["w"] + p["b"]) @ p["v"])  # noqa: E731
    still = jax.tree.map(jnp.zeros_like, MLP.origin)
    line = Plane(MLP.origin, ({**still, "v": jnp.ones((8, 1))},))
    phases, held = cut(function, line, ROWS, still=frozenset({0, 2}))  # leaves in order: b, v, w
    assert primitives(phases.point, held, jnp.zeros(1)).get("dot_general", 0) == 0
    whole = function(embed(line, jnp.array([0.3])), ROWS)
    np.testing.assert_allclose(phases.point(held, jnp.array([0.3]))[0], whole, rtol=1e-5)


def test_a_small_thing_spread_over_the_data_is_held_small():
    spread = lambda p, x: jnp.tanh(p["a"][:, None, :] + p["b"][None, :, :])  # noqa: E731
    plane = around({"a": jnp.ones((50, 8)), "b": jnp.ones((60, 8))})
    phases, _ = cut(spread, plane, None)
    assert phases.held_bytes == 3 * 4 * (50 + 60) * 8


def test_what_is_done_again_at_every_point_may_be_needed_beforehand_too():
    def function(p, x):
        spread = jnp.broadcast_to(p["a"], (6, 5))
        return jnp.tanh(spread).sum() + jnp.tanh(x @ spread.T).sum()

    plane = around({"a": jnp.ones(5)})
    phases, held = cut(function, plane, ROWS)
    c = jnp.array([0.7, -0.3])
    np.testing.assert_allclose(phases.point(held, c)[0], function(embed(plane, c), ROWS), rtol=1e-5)


def test_rows_looked_up_are_held_and_not_the_table():
    plane = around({"e": jnp.ones((10_000, 4))})
    phases, _ = cut(lambda p, x: jnp.tanh(p["e"][x]), plane, WORDS)
    assert phases.held_bytes == 3 * 4 * WORDS.size * 4


def test_a_derivative_that_a_function_declares_is_kept_and_is_exact():
    def function(p, x):
        return jnp.sum(jax.nn.relu(x @ p["w"])) + jnp.sum(jax.nn.relu(p["b"]))

    plane = Plane({"w": jnp.zeros((5, 2)), "b": jnp.zeros(3)}, ({"w": jnp.ones((5, 2)), "b": jnp.ones(3)},))
    phases, held = cut(function, plane, ROWS, differentiate=True)
    here = jnp.zeros(1)
    slope = jax.jvp(lambda c: phases.point(held, c)[0], (here,), (jnp.ones(1),))[1]
    assert slope == jax.jvp(lambda c: function(embed(plane, c), ROWS), (here,), (jnp.ones(1),))[1] == 0
    there = jnp.ones(1)
    np.testing.assert_allclose(
        jax.jacfwd(lambda c: phases.point(held, c)[0])(there),
        jax.jacfwd(lambda c: function(embed(plane, c), ROWS))(there),
        rtol=1e-5,
    )


def test_what_lies_beyond_the_edge_of_a_look_up_does_not_move():
    beyond = lambda p, x: jnp.tanh(jnp.take(p["e"], x, axis=0, mode="fill", fill_value=0.5))  # noqa: E731
    plane = around({"e": jnp.ones((40, 2))})
    words = WORDS + 35  # up to 45
    phases, held = cut(beyond, plane, words)
    c = jnp.array([0.7, -0.3])
    np.testing.assert_allclose(phases.point(held, c)[0], beyond(embed(plane, c), words), rtol=1e-5)
    assert primitives(phases.point, held, c).get("gather", 0) == 0


def test_parts_that_are_not_finite_are_noticed():
    divided = lambda p, x: p["w"] / x  # noqa: E731
    line = Plane({"w": jnp.ones(2)}, ({"w": -jnp.ones(2)},))
    for x, finite in ((jnp.array([0.0, 1.0]), False), (jnp.array([2.0, 1.0]), True)):
        _, held = cut(divided, line, x)
        assert bool(affine.all_finite(held)) is finite


def test_a_function_with_side_effects_keeps_them_at_every_point():
    seen = []

    def function(p, x):
        jax.debug.callback(lambda v: seen.append(float(v)), x.sum(), ordered=True)
        return p["v"].sum() + (x @ p["w"]).sum()

    phases, held = cut(function, MLP, ROWS)
    for c in ([0.0, 0.0], [1.0, 0.0]):
        jax.block_until_ready(phases.point(held, jnp.array(c)))
    jax.effects_barrier()
    assert len(seen) == 2


@pytest.mark.parametrize("narrow", [jnp.bfloat16, jnp.float16])
def test_parameters_of_low_precision_are_summed_in_float32(narrow):
    plane = jax.tree.map(lambda leaf: leaf.astype(narrow), MLP)
    phases, held = cut(mlp, plane, ROWS.astype(narrow))
    c = jnp.array([0.7, -0.3])
    exact = mlp(embed(MLP, c), ROWS)
    assert phases.point(held, c)[0].dtype == narrow
    np.testing.assert_allclose(np.float32(phases.point(held, c)[0]), exact, rtol=8 * float(jnp.finfo(narrow).eps))


@pytest.mark.parametrize(("window", "strides"), [((2, 2), (2, 2)), ((3, 3), (2, 1)), ((2, 1), (3, 3))])
def test_pooling_is_the_same_to_the_bit_where_it_is_done_by_slices(window, strides):
    images = jnp.asarray(IMAGES).at[0, 3, 4, 0].set(jnp.nan).at[1, 2, 2, 1].set(-jnp.inf)
    function = lambda p, x: nnx.max_pool(p["a"] * x**2 - 1, window, strides)  # noqa: E731
    plane = Plane({"a": jnp.ones(())}, ({"a": jnp.ones(())},))
    phases, held = cut(function, plane, images, linear=False)
    assert "reduce_window_max" not in primitives(phases.point, held, jnp.zeros(1))
    np.testing.assert_array_equal(phases.point(held, jnp.ones(1))[0], function({"a": 2.0}, images))
    wide = lambda p, x: nnx.max_pool(p["a"] * x, (4, 4), padding="SAME")  # noqa: E731
    phases, held = cut(wide, plane, images)
    assert "reduce_window_max" in primitives(phases.point, held, jnp.zeros(1))
    behind = lambda p, x: nnx.max_pool(x @ jnp.sin(p["a"] * jnp.eye(x.shape[-1])), window, strides)  # noqa: E731
    phases, held = cut(behind, plane, images)
    assert "reduce_window_max" in primitives(phases.point, held, jnp.zeros(1))  # what a product made is left to XLA


def test_integers_and_predicates_are_never_carried():
    def function(p, x):
        return jnp.where(p["w"] > 0, 1.0, 2.0).sum() + 2 * jnp.round(p["w"]).astype(int).sum()

    plane = Plane({"w": jnp.ones(3)}, ({"w": jnp.ones(3)},))
    phases, held = cut(function, plane, None)
    for c in (-3.0, 0.4):
        at = jnp.array([c])
        assert phases.point(held, at)[0] == function(embed(plane, at), None)
