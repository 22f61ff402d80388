"""Random directions: Gaussian, scaled filter by filter, and at rest where they should be."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import nagviz as nv
from nagviz.landscape.filters import filter_axes


class Everything(nnx.Module):
    """One of each kind of layer that Flax has weights for."""

    def __init__(self, rngs):
        self.embed = nnx.Embed(7, 6, rngs=rngs)
        self.attention = nnx.MultiHeadAttention(2, 6, 8, rngs=rngs, decode=False)
        self.dense = nnx.Linear(6, 5, rngs=rngs)
        self.conv = nnx.Conv(4, 3, (2, 2), rngs=rngs)
        self.norms = nnx.List([kind(6, rngs=rngs) for kind in (nnx.BatchNorm, nnx.LayerNorm, nnx.RMSNorm)])
        self.group = nnx.GroupNorm(6, num_groups=2, rngs=rngs)


PARAMS = nnx.to_pure_dict(nnx.state(Everything(nnx.Rngs(0)), nnx.Param))


def sizes(leaf, axes):
    return np.sqrt(np.sum(np.square(np.asarray(leaf, float)), axis=axes))


# A filter is what is left when its number is fixed: a neuron, a token, a (head, dimension), a channel.
@pytest.mark.parametrize(
    ("leaf", "within", "filters"),
    [
        (lambda p: p["dense"]["kernel"], 0, (5,)),
        (lambda p: p["conv"]["kernel"], (0, 1, 2), (3,)),
        (lambda p: p["embed"]["embedding"], 1, (7,)),
        (lambda p: p["attention"]["query"]["kernel"], 0, (2, 4)),
        (lambda p: p["attention"]["key"]["kernel"], 0, (2, 4)),
        (lambda p: p["attention"]["value"]["kernel"], 0, (2, 4)),
        (lambda p: p["attention"]["out"]["kernel"], (0, 1), (6,)),
    ],
    ids=["dense", "conv", "embed", "query", "key", "value", "out"],
)
def test_every_filter_of_a_direction_is_as_long_as_that_of_the_weights(leaf, within, filters):
    for axis in nv.random_plane(PARAMS, 0).axes:
        assert sizes(leaf(axis), within).shape == filters
        np.testing.assert_allclose(sizes(leaf(axis), within), sizes(leaf(PARAMS), within), rtol=1e-5)


def test_biases_and_normalisation_layers_stay_at_rest_and_kernels_move():
    moved = jax.tree.map(lambda leaf: leaf + 0.5, PARAMS)  # or biases, which start at zero, would rest in any case
    for axis in nv.random_plane(moved, 0).axes:
        for path, leaf in jax.tree_util.tree_leaves_with_path(axis):
            assert bool(jnp.any(leaf != 0)) == (path[-1].key in {"kernel", "embedding"}), path


def test_what_is_left_out_is_the_users_choice_and_does_not_change_the_rest():
    plane = nv.random_plane(PARAMS, 0, leave_out=lambda path: "attention" in path)
    usual = nv.random_plane(PARAMS, 0)
    assert not any(jnp.any(leaf != 0) for leaf in jax.tree.leaves(plane.axes[0]["attention"]))
    np.testing.assert_array_equal(plane.axes[0]["dense"]["kernel"], usual.axes[0]["dense"]["kernel"])
    seen = []
    nv.random_plane(PARAMS, 0, leave_out=lambda path: bool(seen.append(path)))
    assert {"dense/kernel", "norms/2/scale", "attention/query/bias"} <= set(seen)


def test_a_layer_is_scaled_as_a_whole():
    for axis in nv.random_plane(PARAMS, 0, normalisation="layer").axes:
        kernel, weights = axis["dense"]["kernel"], PARAMS["dense"]["kernel"]
        assert sizes(kernel, None) == pytest.approx(sizes(weights, None), rel=1e-5)
        assert not np.allclose(sizes(kernel, 0), sizes(weights, 0), rtol=1e-2)


def test_without_normalisation_entries_are_gaussian():
    plane = nv.random_plane({"kernel": jnp.ones((200, 200))}, 0, normalisation=None)
    u, v = (np.asarray(axis["kernel"], float) for axis in plane.axes)
    for axis in (u, v):
        assert abs(axis.mean()) < 4 / 200
        assert axis.std() == pytest.approx(1, abs=4 / 200)
        assert np.mean(axis**4) == pytest.approx(3, abs=4 * np.sqrt(96) / 200)
    assert abs(np.mean(u * v)) < 4 / 200


def test_filters_of_zeros_stay_at_rest():
    weights = jnp.array([[1.0, 0.0], [2.0, 0.0]])
    for axis in nv.random_plane({"kernel": weights}, 0).axes:
        assert bool(jnp.all(jnp.isfinite(axis["kernel"])))
        np.testing.assert_array_equal(axis["kernel"][:, 1], 0)


def test_the_first_axis_alone_is_the_line_of_the_same_key():
    line, plane = nv.random_line(PARAMS, 3), nv.random_plane(PARAMS, 3)
    jax.tree.map(np.testing.assert_array_equal, line.axes, plane.axes[:1])
    assert line.labels == plane.labels[:1]


def test_a_seed_is_told_and_a_key_is_not_guessed_at():
    assert nv.random_plane(PARAMS, 0).labels == (
        "filter-normalised random direction 1 (seed 0)",
        "filter-normalised random direction 2 (seed 0)",
    )
    keyed = nv.random_plane(PARAMS, jax.random.key(0), normalisation="layer")
    assert keyed.labels == ("layer-normalised random direction 1", "layer-normalised random direction 2")
    jax.tree.map(
        np.testing.assert_array_equal, nv.random_plane(PARAMS, 0).axes, nv.random_plane(PARAMS, jax.random.key(0)).axes
    )
    assert nv.random_plane(PARAMS, np.int64(5)).labels[0].endswith("(seed 5)")
    assert not np.allclose(nv.random_plane(PARAMS, 1).axes[0]["dense"]["kernel"], keyed.axes[0]["dense"]["kernel"])


def test_the_two_directions_are_drawn_apart():
    u, v = (axis["dense"]["kernel"].ravel() for axis in nv.random_plane(PARAMS, 0).axes)
    assert abs(u @ v) < 0.6 * jnp.linalg.norm(u) * jnp.linalg.norm(v)


def test_a_function_may_normalise_and_another_layout_be_told():
    first = partial(nv.filter_normalised, axes=lambda name, ndim: (0,))
    axis = nv.random_line(PARAMS, 0, normalisation=first).axes[0]
    np.testing.assert_allclose(sizes(axis["dense"]["kernel"], 1), sizes(PARAMS["dense"]["kernel"], 1), rtol=1e-5)
    halved = nv.random_line(PARAMS, 0, normalisation=lambda name, direction, weights: direction / 2)
    assert halved.labels == ("normalised random direction 1 (seed 0)",)


def test_equinox_puts_outputs_first():
    assert filter_axes("layers/0/weight", 4) == (0,)
    assert filter_axes("mlp/linear/w", 2) == (1,)  # Haiku


def test_directions_keep_the_type_of_the_weights():
    axis = nv.random_line({"kernel": jnp.ones((4, 3), jnp.bfloat16)}, 0).axes[0]
    assert axis["kernel"].dtype == jnp.bfloat16


@pytest.mark.parametrize(
    ("params", "options", "message"),
    [
        ({"kernel": jnp.ones((2, 2))}, {"normalisation": "filters"}, r"normalisation must be one of.*got 'filters'"),
        ({"kernel": jnp.zeros((2, 2))}, {}, "not left out must be finite and not zero, got lengths"),
        ({"bias": jnp.ones(4)}, {}, "not left out must be finite and not zero"),
        ({"kernel": jnp.full((2, 2), jnp.nan)}, {}, "must be finite"),
        ({"kernel": jnp.ones((2, 2)), "count": jnp.array(3)}, {}, r"params\['count'\] must be an array of floating"),
        ({}, {}, "params must hold at least one array"),
    ],
)
def test_what_spans_no_plane_is_refused(params, options, message):
    with pytest.raises(ValueError, match=message):
        nv.random_plane(params, 0, **options)
