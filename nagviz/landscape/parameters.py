"""Parameters are any pytree of floating-point arrays: their names, their likeness, and sums over all of them.

A tree is compared with another leaf by leaf and by name, so that a difference is told where it stands. Sums over
the parameters run in float64 over blocks of columns: no copy of the parameters in float64 is ever made.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from nagviz.landscape.peers import Team
from nagviz.landscape.shards import (
    Window,
    is_split,
    joined,
    read_window,
    sharers,
    split_of,
    windows_for_sum,
    windows_here,
)

Params = Any  # a pytree of arrays
Rows = list[np.ndarray]  # the leaves of stacked points, each as (points, reals of the leaf)


def by_path(tree: Params) -> dict[str, Any]:
    """The leaves by the expression that picks each one out of the tree.

    Example:
        >>> by_path({"layers": [{"kernel": 1.0}]})
        {"['layers'][0]['kernel']": 1.0}
    """
    return {jax.tree_util.keystr(path): leaf for path, leaf in jax.tree_util.tree_leaves_with_path(tree)}


def names(tree: Params) -> list[str]:
    """A name for each leaf, for a reader and for predicates: its keys with strokes between them.

    A Flax nnx state keeps an array as the `.value` of a variable, which adds nothing and is left out.

    Example:
        >>> names({"layers": [{"kernel": 1.0, "bias": 2.0}]})
        ['layers/0/bias', 'layers/0/kernel']
    """
    return ["/".join(map(str, keys)) for keys in leaf_keys(tree)]


def leaf_keys(tree: Params) -> list[tuple[str | int, ...]]:
    """The keys that lead to each leaf, without the `.value` of an nnx variable."""
    return [tuple(map(_plain_key, _own(path))) for path, _ in jax.tree_util.tree_leaves_with_path(tree)]


def _own(path):
    match path:
        case (*_, jax.tree_util.DictKey(), jax.tree_util.GetAttrKey("value")):
            return path[:-1]
    return path


def _plain_key(key) -> str | int:
    named = next(getattr(key, field) for field in ("key", "idx", "name") if hasattr(key, field))
    return named if isinstance(named, str | int) else repr(named)


def require_floating(name: str, tree: Params) -> None:
    """Refuse a tree that holds no array, or one of whole numbers: such parameters cannot be moved."""
    leaves = by_path(tree)
    if not leaves:
        raise ValueError(f"{name} must hold at least one array, got {tree!r}")
    for path, leaf in leaves.items():
        kind = leaf.dtype if hasattr(leaf, "dtype") else np.asarray(leaf).dtype
        if not jnp.issubdtype(kind, jnp.inexact):
            raise ValueError(
                f"{name}{path} must be an array of floating-point numbers, got {kind}; "
                "split what is trained from the rest of the state"
            )


def require_here(name: str, tree: Any, remedy: str) -> None:
    """Refuse an array that no process has whole."""
    for path, leaf in by_path(tree).items():
        if (split := split_of(leaf)) is not None and not split.is_fully_addressable:
            raise ValueError(f"{name}{path} is split over processes, of which none has all of it; {remedy}")


def leaves_like(
    origin: Params, params: Params, name: str = "params", model: str = "plane.origin"
) -> tuple[list[Any], int | None]:
    """The leaves of a point, or of stacked points, in the order of the origin's; nothing is read or copied.

    What the two are called in an error are `name` and `model`.

    Returns:
        The leaves, and the number of points where they are stacked.

    Raises:
        ValueError: the tree or a shape is not the origin's; the first path that differs is named.
    """
    require_floating(model, origin)
    wanted, given = by_path(origin), by_path(params)
    for path in [*wanted, *given]:
        if path not in given:
            raise ValueError(f"{name} must be a tree like {model}; {name}{path} is missing")
        if path not in wanted:
            raise ValueError(f"{name} must be a tree like {model}, which has no {name}{path}")
    first = next(iter(wanted))
    lead = np.shape(given[first])[:1] if np.ndim(given[first]) > np.ndim(wanted[first]) else ()
    for path, leaf in wanted.items():
        if np.shape(given[path]) != (*lead, *np.shape(leaf)):
            raise ValueError(
                f"{name}{path} must have the shape {np.shape(leaf)} of {model}, or "
                f"(points, *that) in every leaf alike, got {np.shape(given[path])}"
            )
    return [given[path] for path in wanted], (lead[0] if lead else None)


BLOCK = 1 << 21  # numbers: 16 MB in float64


def blocks(*trees: tuple[Sequence[Any], int]) -> Iterator[tuple[np.ndarray, ...]]:
    """The same columns of several (leaves, points), as float64 (points, columns) a block at a time.

    A leaf may be an array on disk, which is read chunk by chunk, or one that is split over devices; of such that are
    split over processes these are the columns of this one alone: see `sharers`. A complex number is two real ones, so
    that inner products are those of the real space.
    """
    team = team_of(*trees)
    for leaves in _positions(trees):
        shape = _shape(leaves)
        for window in windows_for_sum([leaf for leaf, _ in leaves], shape, team):
            yield from _columns(leaves, window)


def team_of(*trees: tuple[Sequence[Any], int]) -> Team:
    """The processes whose sums over `blocks` make up the whole sum."""
    return sharers(leaf for leaves, _ in trees for leaf in leaves)


def _positions(trees: Sequence[tuple[Sequence[Any], int]]) -> Iterator[tuple[tuple[Any, int], ...]]:
    points = [count for _, count in trees]
    for leaves in zip(*(leaves for leaves, _ in trees), strict=True):
        yield tuple(zip(leaves, points, strict=True))


def _shape(leaves: Sequence[tuple[Any, int]]) -> tuple[int, ...]:
    """Of one point: some of them may be stacked."""
    return min((np.shape(leaf) for leaf, _ in leaves), key=len)


def _columns(leaves: Sequence[tuple[Any, int]], window: Window) -> Iterator[tuple[np.ndarray, ...]]:
    width = max(1, BLOCK // sum(points for _, points in leaves))
    rows = [real_rows(read_window(leaf, window), points) for leaf, points in leaves]
    for start in range(0, rows[0].shape[1], width):
        yield tuple(row[:, start : start + width].astype(np.float64) for row in rows)


def reals(leaf: Any) -> int:
    """How many real numbers a leaf is."""
    return np.size(leaf) * (2 if jnp.iscomplexobj(leaf) else 1)


def real_rows(leaf: Any, points: int) -> np.ndarray:
    """Stacked leaves as (points, reals of a leaf)."""
    array = np.asarray(leaf)
    rows = np.ascontiguousarray(array).reshape(points, array.size // max(points, 1))
    return rows.view(rows.real.dtype) if np.iscomplexobj(rows) else rows


def combine(origin: Params, weights: np.ndarray, *trees: tuple[Sequence[Any], int]) -> tuple[Params, ...]:
    """Weighted sums of all points of several (leaves, points), less the origin each: trees like the origin.

    Args:
        origin: what is subtracted from every point, and whose structure and dtypes the sums have.
        weights: (points of all, sums).
        trees: leaves in the order of the origin's, and how many points are stacked in them.

    Returns:
        `weights.shape[1]` trees.
    """
    start, structure = jax.tree.flatten(origin)
    summed = [_combined(weights, leaves) for leaves in _positions(((start, 1), *trees))]
    return tuple(jax.tree.unflatten(structure, [sums[i] for sums in summed]) for i in range(weights.shape[1]))


def _combined(weights: np.ndarray, leaves: Sequence[tuple[Any, int]]) -> list[Any]:
    """Weighted sums of one leaf, window by window."""
    like = leaves[0][0] if hasattr(leaves[0][0], "dtype") else np.asarray(leaves[0][0])
    parts: list[dict[Window, np.ndarray]] = [{} for _ in range(weights.shape[1])]
    for window in windows_here([leaf for leaf, _ in leaves], like.shape):
        sums = [weights.T @ (np.concatenate(rows) - centre) for centre, *rows in _columns(leaves, window)]
        columns = np.concatenate([np.zeros((weights.shape[1], 0)), *sums], axis=1)  # one without columns has no block
        shape = [stop - start for start, stop in window]
        for part, row in zip(parts, _as_leaf(columns, like.dtype, shape), strict=True):
            part[window] = row
    return [joined(like.shape, like.sharding if is_split(like) else None, part) for part in parts]


def _as_leaf(rows: np.ndarray, dtype: Any, shape: Sequence[int]) -> np.ndarray:
    """Rows of real numbers as stacked leaves of the type and shape given."""
    real = np.empty(0, dtype).real.dtype
    return np.ascontiguousarray(rows.astype(real)).view(dtype).reshape(-1, *shape)
