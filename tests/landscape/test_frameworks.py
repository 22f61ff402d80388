"""A pytree is a pytree: every way of keeping parameters goes from a plane to a slice and back."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import equinox
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen, nnx
from flax.core import freeze
from scipy.interpolate import RegularGridInterpolator

import nagviz as nv

INPUTS = np.random.default_rng(0).normal(size=(6, 3)).astype(np.float32)


class Case(NamedTuple):
    params: Any
    apply: Callable[[Any, jax.Array], jax.Array]
    moved: int  # leaves that a random direction moves: the kernels


def flax_nnx():
    model = nnx.Sequential(nnx.Linear(3, 4, rngs=nnx.Rngs(0)), nnx.relu, nnx.Linear(4, 2, rngs=nnx.Rngs(1)))
    graph, params = nnx.split(model, nnx.Param)
    return Case(params, lambda p, x: nnx.merge(graph, p)(x), 2)


def flax_linen(wrap):
    model = linen.Sequential([linen.Dense(4), linen.relu, linen.Dense(2)])
    return Case(wrap(model.init(jax.random.key(0), INPUTS)), model.apply, 2)


def haiku_style():
    """Flat names with strokes in them, as Haiku has them."""
    rng = np.random.default_rng(1)
    params = {
        "mlp/~/linear_0": {"w": rng.normal(size=(3, 4)).astype(np.float32), "b": np.zeros(4, np.float32)},
        "mlp/~/linear_1": {"w": rng.normal(size=(4, 2)).astype(np.float32), "b": np.zeros(2, np.float32)},
    }

    def apply(p, x):
        first, second = p.values()
        return jax.nn.relu(x @ first["w"] + first["b"]) @ second["w"] + second["b"]

    return Case(params, apply, 2)


@partial(jax.tree_util.register_dataclass, data_fields=["kernel", "bias"], meta_fields=["activation"])
@dataclass
class Layer:
    kernel: jax.Array
    bias: jax.Array
    activation: Callable[[jax.Array], jax.Array]


def dataclasses_in_a_list():
    keys = jax.random.split(jax.random.key(0))
    layers = [
        Layer(jax.random.normal(keys[0], (3, 4)), jnp.zeros(4), jax.nn.relu),
        Layer(jax.random.normal(keys[1], (4, 2)), jnp.zeros(2), lambda x: x),
    ]

    def apply(p, x):
        for layer in p:
            x = layer.activation(x @ layer.kernel + layer.bias)
        return x

    return Case(layers, apply, 2)


def equinox_modules():
    params, rest = equinox.partition(equinox.nn.MLP(3, 2, 4, 1, key=jax.random.key(0)), equinox.is_inexact_array)
    return Case(params, lambda p, x: jax.vmap(equinox.combine(p, rest))(x), 2)


def one_array():
    return Case(jnp.ones((3, 2)), lambda p, x: x @ p, 1)


CASES = {
    "nnx State": flax_nnx,
    "linen dict": partial(flax_linen, dict),
    "linen FrozenDict": partial(flax_linen, freeze),
    "Haiku-style dict": haiku_style,
    "dataclasses": dataclasses_in_a_list,
    "Equinox": equinox_modules,
    "one array": one_array,
}


@pytest.fixture(scope="module", params=CASES, ids=list(CASES))
def case(request):
    return CASES[request.param]()


def norm(leaf, axis):
    return np.linalg.norm(np.asarray(leaf), axis=axis)


def test_a_plane_a_slice_and_the_way_back(case):
    def loss(params):
        return jnp.mean(case.apply(params, INPUTS) ** 2)

    plane = nv.random_plane(case.params, 0)
    assert sum(bool(jnp.any(leaf != 0)) for leaf in jax.tree.leaves(plane.axes[0])) == case.moved
    x, y = np.linspace(-1, 1, 3), np.linspace(-0.5, 0.5, 3)
    cut = nv.evaluate(loss, plane, x, y)
    assert cut.values[1, 1] == pytest.approx(float(loss(case.params)), rel=1e-6)
    corner = nv.embed(plane, (x[2], y[0]))
    assert jax.tree.structure(corner) == jax.tree.structure(case.params)
    assert cut.values[0, 2] == pytest.approx(float(loss(corner)), rel=1e-5)
    seen = nv.project(plane, corner)
    np.testing.assert_allclose(seen.coordinates, (x[2], y[0]), atol=1e-6)
    assert seen.share < 1e-6


def test_a_path_through_disk(case, tmp_path):
    key = jax.random.key(1)
    moved = [
        jax.tree.map(
            lambda leaf, i=i: leaf + 0.1 * jax.random.normal(jax.random.fold_in(key, i), leaf.shape), case.params
        )
        for i in range(4)
    ]
    path = nv.stack_snapshots(moved)
    nv.save_trajectory(tmp_path / "path.zarr", path)
    again, _ = nv.load_trajectory(tmp_path / "path.zarr", case.params)
    assert jax.tree.structure(again.params) == jax.tree.structure(path.params)
    jax.tree.map(np.testing.assert_array_equal, again.params, path.params)
    plane = nv.pca_plane(again)
    nv.save_plane(tmp_path / "plane.zarr", plane)
    kept = nv.load_plane(tmp_path / "plane.zarr", case.params)
    assert jax.tree.structure(kept) == jax.tree.structure(plane)
    assert sum(nv.project(kept, path).explained) == pytest.approx(sum(plane.explained), rel=1e-6)


def test_filters_of_equinox_are_rows():
    params = equinox_modules().params
    axis = nv.random_line(params, 0).axes[0]
    for layer, still in zip(axis.layers, params.layers, strict=True):
        np.testing.assert_allclose(norm(layer.weight, 1), norm(still.weight, 1), rtol=1e-5)
        assert not np.any(layer.bias)


def test_filters_of_haiku_are_columns():
    params = haiku_style().params
    axis = nv.random_line(params, 0).axes[0]
    for name, layer in axis.items():
        np.testing.assert_allclose(norm(layer["w"], 0), norm(params[name]["w"], 0), rtol=1e-5)


def test_what_is_not_trained_is_refused_by_name():
    with pytest.raises(ValueError, match=r"params\.activation must be an array of floating-point numbers"):
        nv.random_plane(equinox.nn.MLP(3, 2, 4, 1, key=jax.random.key(0)), 0)


@pytest.fixture(params=["float32", "float64"])
def rounding(request):
    """Of parameters of that type, as a share of what is summed."""
    if request.param == "float64":
        request.getfixturevalue("x64")
    return {"float32": 3e-6, "float64": 1e-13}[request.param]


def flattened(tree):
    """One vector of float64."""
    return np.concatenate([np.ravel(np.asarray(leaf, np.float64)) for leaf in jax.tree.leaves(tree)])


@pytest.mark.parametrize("kind", ["random", "pca"])
def test_the_whole_way_agrees_with_a_plain_loop_over_numpy(kind, rounding):
    """Haiku's names, and with JAX_ENABLE_X64=1 float64 all the way."""
    rng, dtype = np.random.default_rng(2), np.float32 if rounding > 1e-9 else np.float64
    like = {"module/~/linear": {"w": (3, 4), "b": (4,)}, "module/~/linear_1": {"w": (4, 2), "b": (2,)}}
    shapes = {name: {key: np.empty(shape) for key, shape in layer.items()} for name, layer in like.items()}
    points = [jax.tree.map(lambda leaf: rng.normal(size=leaf.shape).astype(dtype), shapes) for _ in range(5)]
    inputs, targets = rng.normal(size=(11, 3)).astype(dtype), rng.normal(size=(11, 2)).astype(dtype)

    def loss(p, batch, of=jnp):
        first, second = p["module/~/linear"], p["module/~/linear_1"]
        hidden = of.tanh(batch[0] @ first["w"] + first["b"])
        return of.mean((hidden @ second["w"] + second["b"] - batch[1]) ** 2)

    path = nv.stack_snapshots(points)
    plane = {"random": lambda: nv.random_plane(points[-1], 0), "pca": lambda: nv.pca_plane(path)}[kind]()
    x, y = np.linspace(-4.1, 4.1, 5), np.linspace(-3.1, 3.1, 3)  # which float32 would round
    cut = nv.evaluate(loss, plane, x, y, batches=[(inputs[:7], targets[:7]), (inputs[7:], targets[7:])])
    seen = nv.project(plane, path)

    start = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), plane.origin)
    for i, b in enumerate(y):
        for j, a in enumerate(x):
            there = jax.tree.map(
                lambda o, u, v, a=a, b=b: o + a * np.float64(u) + b * np.float64(v), start, *plane.axes
            )
            assert cut.values[i, j] == pytest.approx(loss(there, (inputs, targets), np), rel=rounding)
    axes = np.stack(list(map(flattened, plane.axes)), axis=1)
    away = np.stack([flattened(point) - flattened(start) for point in points], axis=1)
    coordinates = np.linalg.lstsq(axes, away)[0]
    hidden = np.linalg.norm(away - axes @ coordinates, axis=0)
    np.testing.assert_allclose(seen.coordinates, coordinates.T, atol=1e-12)
    np.testing.assert_allclose(seen.residual, hidden, atol=1e-12)

    losses = [loss(point, (inputs, targets), np) for point in points]
    report = nv.diagnose(cut, seen, losses=losses)
    far = np.linalg.norm(away, axis=0)
    assert report.off_plane.numbers["median"] == pytest.approx(
        np.median(np.divide(hidden, far, where=far > 0, out=far * 0))
    )
    under = RegularGridInterpolator((y, x), cut.values, bounds_error=False)(coordinates.T[:, ::-1])
    off = (under / losses - 1)[np.isfinite(under)]
    assert report.mismatch.numbers["median"] == pytest.approx(np.median(np.abs(off)))
    assert report.mismatch.numbers["worst"] == pytest.approx(off[np.argmax(np.abs(off))])


def test_a_users_own_loop_needs_three_lines():
    """Plain gradient descent on a model of the user's own, checkpoints in a list."""
    case = haiku_style()
    loss = jax.jit(lambda p: jnp.mean((case.apply(p, INPUTS) - 1) ** 2))
    params, checkpoints = case.params, []
    for _ in range(8):
        checkpoints.append(params)
        params = jax.tree.map(lambda p, g: p - 0.1 * g, params, jax.grad(loss)(params))

    path = nv.stack_snapshots(checkpoints)
    plane = nv.pca_plane(path)
    cut = nv.evaluate(loss, plane, np.linspace(-1, 1, 3), np.linspace(-1, 1, 3))

    assert cut.values[1, 1] == pytest.approx(float(loss(checkpoints[-1])), rel=1e-5)
    report = nv.diagnose(cut, nv.project(plane, path), losses=[float(loss(p)) for p in checkpoints])
    assert report.off_plane.numbers["median"] < 0.1
