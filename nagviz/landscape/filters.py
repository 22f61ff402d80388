"""Random directions, scaled so that what they show does not depend on how the weights are scaled.

A ReLU network is unchanged when one layer is multiplied by c and the next one divided by it, but a plain Gaussian
direction then moves it more, or less. Li et al. (2018) scale a direction d filter by filter to the weights theta:

    d_ij <- d_ij |theta_ij| / |d_ij|

with filter j of layer i. What a filter is depends on how a library lays out its arrays: see `filter_axes`.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator
from functools import partial

import jax
import jax.numpy as jnp

from nagviz.landscape.parameters import Params, names, require_floating
from nagviz.landscape.plane import Plane, spanned

Normalisation = Callable[[str, jax.Array, jax.Array], jax.Array]  # name of the leaf, direction, weights -> direction
Key = int | jax.Array  # a seed, or a key of jax.random

# The last word of a leaf's name -> the axes that number its filters. Flax and Haiku put outputs last, Equinox first;
# of an embedding a row is what one token sees.
_FILTERS = {
    "embedding": (0,),  # Flax
    "embeddings": (0,),  # Haiku
    "weight": (0,),  # Equinox: dense, convolution and embedding
}
_HEADS = {"query", "key", "value"}  # Flax: (inputs, heads, dimensions of a head)
_UNSCALED = {"bias", "b", "scale", "offset"}  # Flax, Equinox and Haiku


def filter_axes(name: str, ndim: int) -> tuple[int, ...]:
    """The axes of a leaf that number its filters; all others run inside a filter.

    The last axis (one neuron's weights, one output channel) of a Flax or Haiku kernel; the rows of an embedding;
    (head, dimension) of the query, key and value kernels of Flax's attention; the first axis of an Equinox
    `weight`. A vector or a number is one filter. Layers that were stacked by `scan` or `vmap` have an axis more
    in front and need a function of the user's own.

    Example:
        >>> filter_axes("conv/kernel", 4), filter_axes("embed/embedding", 2), filter_axes("attention/query/kernel", 3)
        ((3,), (0,), (1, 2))
    """
    *parents, last = name.split("/")
    if ndim < 2:
        return ()
    if last == "kernel" and ndim == 3 and parents and parents[-1] in _HEADS:
        return (1, 2)
    return _FILTERS.get(last, (ndim - 1,))


def filter_normalised(
    name: str,
    direction: jax.Array,
    weights: jax.Array,
    *,
    axes: Callable[[str, int], tuple[int, ...]] = filter_axes,
) -> jax.Array:
    """Scale a leaf of a direction filter by filter to the norms of the weights; a filter of zeros stays at rest."""
    numbering = axes(name, weights.ndim)
    return _scaled(direction, weights, tuple(i for i in range(weights.ndim) if i not in numbering))


def layer_normalised(name: str, direction: jax.Array, weights: jax.Array) -> jax.Array:
    """Scale a leaf of a direction as a whole to the norm of the weights."""
    del name
    return _scaled(direction, weights, None)


def _scaled(direction, weights, within):
    sizes, wanted = (jnp.sqrt(jnp.sum(jnp.abs(a) ** 2, axis=within, keepdims=True)) for a in (direction, weights))
    return direction * jnp.where(sizes > 0, wanted / jnp.where(sizes > 0, sizes, 1), 0)


def _as_drawn(name, direction, weights):
    del name, weights
    return direction


NORMALISATIONS: dict[str | None, tuple[str, Normalisation]] = {
    "filter": ("filter-normalised random", filter_normalised),
    "layer": ("layer-normalised random", layer_normalised),
    None: ("Gaussian random", _as_drawn),
}


def random_plane(
    params: Params,
    key: Key,
    *,
    normalisation: str | Normalisation | None = "filter",
    leave_out: Callable[[str], bool] | None = None,
) -> Plane:
    """The plane of two Gaussian directions through given parameters.

    The axes are as long as the weights they are normalised to, and nearly but not exactly at right angles: in
    many dimensions random directions are.

    Args:
        params: the origin.
        key: a seed, which the labels then name, or a key of `jax.random`.
        normalisation: "filter" (Li et al. 2018), "layer", None for directions as they are drawn, or a function of
            a leaf's name, direction and weights, such as `partial(filter_normalised, axes=...)`.
        leave_out: which leaves do not move, of names such as "layers/0/bias". By default biases and the scales
            and offsets of normalisation layers (leaves of at most one axis, and leaves named so).

    Returns:
        A plane with labels such as "filter-normalised random direction 1 (seed 0)".

    Raises:
        ValueError: an unknown normalisation; a direction that is zero, because all is left out or all weights are
            zero; parameters that are not finite, or whole numbers.

    Example:
        >>> import nagviz as nv
        >>> params = {"kernel": jnp.diag(jnp.array([1.0, 10.0, 0.0])), "bias": jnp.ones(3)}
        >>> plane = nv.random_plane(params, 0)
        >>> print(jnp.linalg.norm(plane.axes[0]["kernel"], axis=0).round(5), plane.axes[0]["bias"])
        [ 1. 10.  0.] [0. 0. 0.]
        >>> plane.labels[0]
        'filter-normalised random direction 1 (seed 0)'

    Source: Li, Xu, Taylor, Studer, Goldstein (2018), section 4.
    """
    return _random(params, key, 2, normalisation, leave_out)


def random_line(
    params: Params,
    key: Key,
    *,
    normalisation: str | Normalisation | None = "filter",
    leave_out: Callable[[str], bool] | None = None,
) -> Plane:
    """The line along one Gaussian direction: the first axis of the `random_plane` of the same key, which see.

    Example:
        >>> import nagviz as nv
        >>> line = nv.random_line(jnp.ones((2, 3)), 7)
        >>> len(line.axes), line.labels
        (1, ('filter-normalised random direction 1 (seed 7)',))
    """
    return _random(params, key, 1, normalisation, leave_out)


def _random(params, key, count, normalisation, leave_out) -> Plane:
    require_floating("params", params)
    kind, normalise = _normalisation(normalisation)
    key, seed = as_key(key)
    move = partial(_direction, params, normalise, _left_out(params, leave_out))
    axes = tuple(move(half) for half in jax.random.split(key)[:count])
    labels = tuple(f"{kind} direction {i}{seed}" for i in range(1, count + 1))
    plane = Plane(params, axes, labels)
    spanned(plane, "directions scaled to the weights that are not left out")
    return plane


def _normalisation(given) -> tuple[str, Normalisation]:
    if callable(given):
        return "normalised random", given
    if given not in NORMALISATIONS:
        raise ValueError(f"normalisation must be one of {[*NORMALISATIONS]} or a function, got {given!r}")
    return NORMALISATIONS[given]


def as_key(given: Key) -> tuple[jax.Array, str]:
    """A key, and the seed for a label where it is known."""
    try:
        seed = operator.index(given)
    except TypeError:
        return given, ""
    return jax.random.key(seed), f" (seed {seed})"


def _left_out(params: Params, leave_out) -> Iterator[bool]:
    if leave_out is not None:
        return [bool(leave_out(name)) for name in names(params)]
    leaves = jax.tree.leaves(params)
    return [
        jnp.ndim(leaf) < 2 or name.split("/")[-1] in _UNSCALED for name, leaf in zip(names(params), leaves, strict=True)
    ]


def _direction(params: Params, normalise: Normalisation, left_out: list[bool], key: jax.Array) -> Params:
    leaves, structure = jax.tree.flatten(params)
    # One key a leaf, whether it moves or not: leaving one out does not change the others.
    keys = jax.random.split(key, len(leaves))
    axis = []
    for name, leaf, still, part in zip(names(params), map(jnp.asarray, leaves), left_out, keys, strict=True):
        wide = leaf.astype(jnp.promote_types(leaf.dtype, jnp.float32))
        drawn = jnp.zeros_like(wide) if still else jax.random.normal(part, wide.shape, wide.dtype)
        axis.append((drawn if still else normalise(name, drawn, wide)).astype(leaf.dtype))
    return jax.tree.unflatten(structure, axis)
