"""Planes and lines in parameter space, and the way in and out of their coordinates.

A plane is an origin and two axes u, v shaped like the parameters, not assumed orthonormal. The coordinates c
of a point p are those of the nearest point of the plane; with the Gram matrix G of the axes they solve

    G c = (<u, p - origin>, <v, p - origin>)

and what is left, |p - origin - c_1 u - c_2 v|, is the distance that the plane hides.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from nagviz.landscape.trajectory import Params, Trajectory


@partial(
    jax.tree_util.register_dataclass,
    data_fields=["origin", "axes"],
    meta_fields=["labels", "explained"],
)
@dataclass(frozen=True)
class Plane:
    """An origin and one axis (a line) or two (a plane), each a tree like the parameters.

    Example:
        >>> import jax.numpy as jnp, nagviz as nv
        >>> plane = nv.Plane({"w": jnp.zeros(3)}, ({"w": jnp.eye(3)[0]}, {"w": jnp.eye(3)[1]}))
        >>> nv.embed(plane, (2.0, 5.0))["w"].tolist()
        [2.0, 5.0, 0.0]
    """

    origin: Params
    axes: tuple[Params, ...]
    labels: tuple[str, ...] = ()  # what each axis is, for a reader
    explained: tuple[float, ...] = ()  # each axis's share of a path's variance, where it was made from one


class Projection(NamedTuple):
    """Where points lie in a plane, and how far off it."""

    coordinates: np.ndarray  # (axes,), or (points, axes) for a stacked trajectory; in units of the axes
    residual: np.ndarray  # () or (points,): Euclidean distance from the plane
    steps: np.ndarray | None = None  # (points,) of a trajectory, where they are known


def embed(plane: Plane, coordinates: jax.typing.ArrayLike) -> Params:
    """The parameters at given coordinates: origin + c_1 u + c_2 v.

    Args:
        plane: a plane or a line.
        coordinates: one number an axis, shape (axes,).

    Returns:
        A tree like the origin, of its dtypes.

    Raises:
        ValueError: not one coordinate an axis.

    Example:
        >>> import jax.numpy as jnp, nagviz as nv
        >>> line = nv.Plane(jnp.array([1.0, 1.0]), (jnp.array([0.0, 2.0]),))
        >>> nv.embed(line, (3.0,)).tolist()
        [1.0, 7.0]
    """
    coordinates = jnp.asarray(coordinates)
    if coordinates.shape != (len(plane.axes),):
        raise ValueError(
            f"coordinates must have shape ({len(plane.axes)},), one number for each axis of the plane, "
            f"got {coordinates.shape}"
        )

    def leaf(origin, *axes):
        moved = origin + sum(c.astype(origin.dtype) * a for c, a in zip(coordinates, axes, strict=True))
        return moved.astype(origin.dtype)

    return jax.tree.map(leaf, plane.origin, *plane.axes)


def project(plane: Plane, params: Params | Trajectory) -> Projection:
    """The coordinates of the nearest points of a plane, and the distances that the plane hides.

    Args:
        plane: a plane or a line; its axes may be skew.
        params: one point (a tree like the origin), stacked points (each leaf with one more axis in front), or
            a `Trajectory`.

    Returns:
        `.coordinates` of shape (axes,) or (points, axes) and `.residual` of shape () or (points,), float64;
        `.steps` of a trajectory.

    Raises:
        ValueError: the axes are parallel or zero, or the tree does not match the plane's.

    Example:
        >>> import jax.numpy as jnp, nagviz as nv
        >>> plane = nv.Plane(jnp.zeros(3), (jnp.array([1.0, 0.0, 0.0]), jnp.array([1.0, 1.0, 0.0])))
        >>> seen = nv.project(plane, jnp.array([3.0, 2.0, 4.0]))
        >>> print(seen.coordinates, seen.residual)
        [1. 2.] 4.0
    """
    steps, params = params if isinstance(params, Trajectory) else (None, params)
    points, stacked = rows_like(plane.origin, params)
    trees = [rows_like(plane.origin, tree)[0] for tree in (plane.origin, *plane.axes)]
    gram = inner = 0.0
    for difference, axes in _differences(points, *trees):
        gram = gram + axes @ axes.T
        inner = inner + difference @ axes.T
    _require_independent(gram)
    coordinates = np.linalg.solve(gram, inner.T).T
    # Not by Pythagoras from the sums above: a small residual would drown in their rounding.
    hidden = sum(
        np.sum((difference - coordinates @ axes) ** 2, axis=1) for difference, axes in _differences(points, *trees)
    )
    residual = np.sqrt(hidden)
    return Projection(coordinates, residual, steps) if stacked else Projection(coordinates[0], residual[0])


def _differences(points, origin, *axes) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Points less origin (points, columns) and the axes (axes, columns), some columns at a time."""
    for point, start, *along in blocks(points, origin, *axes):
        yield point - start, np.concatenate(along)


def _require_independent(gram: np.ndarray) -> None:
    lengths = np.sqrt(np.diag(gram))
    if not np.all(lengths > 0) or not np.all(np.isfinite(gram)):
        raise ValueError(f"plane.axes must be finite and not zero, got axes of lengths {lengths.tolist()}")
    # float32 axes that are multiples of one another have a cosine within 1e-7 of 1, so a sine below 1e-3.
    if np.linalg.eigvalsh(gram / np.outer(lengths, lengths))[0] < 1e-7:
        raise ValueError(
            "plane.axes must not be parallel: their cosine is "
            f"{gram[0, 1] / np.prod(lengths):.9f}; give a line, or another second axis"
        )


def rows_like(origin: Params, params: Params) -> tuple[list[np.ndarray], bool]:
    """The leaves of a point, or of a stacked trajectory, as real (points, size) arrays.

    Returns:
        The leaves, and whether they were stacked.

    Raises:
        ValueError: the tree or a shape is not the origin's; the first one that differs is named.
    """
    wanted = _by_path(origin)
    given = _by_path(params)
    if odd := [path for path in [*wanted, *given] if path not in wanted or path not in given]:
        raise ValueError(f"params must be a tree like the plane's origin; params{odd[0]} is in one only")
    first = next(iter(wanted))
    lead = np.shape(given[first])[:1] if np.ndim(given[first]) > np.ndim(wanted[first]) else ()
    for path, leaf in given.items():
        if np.shape(leaf) != (*lead, *np.shape(wanted[path])):
            raise ValueError(
                f"params{path} must have the shape {np.shape(wanted[path])} of the plane's origin, or "
                f"(points, *that) in every leaf alike, got {np.shape(leaf)}"
            )
    return [_real_rows(leaf, *(lead or (1,))) for leaf in given.values()], bool(lead)


def _by_path(tree: Params) -> dict[str, Any]:
    return {jax.tree_util.keystr(p): leaf for p, leaf in jax.tree_util.tree_leaves_with_path(tree)}


def _real_rows(leaf: jax.typing.ArrayLike, points: int) -> np.ndarray:
    """A complex number is two real ones: inner products are then those of the real space."""
    rows = np.ascontiguousarray(leaf).reshape(points, -1)
    return rows.view(rows.real.dtype) if np.iscomplexobj(rows) else rows


_BLOCK = 1 << 22  # numbers: 32 MB in float64


def blocks(*trees: Sequence[np.ndarray]) -> Iterator[tuple[np.ndarray, ...]]:
    """The same columns of several trees of (points, size) leaves, widened to float64 a block at a time."""
    for leaves in zip(*trees, strict=True):
        width = max(1, _BLOCK // max(len(leaf) for leaf in leaves))
        for start in range(0, leaves[0].shape[1], width):
            yield tuple(leaf[:, start : start + width].astype(np.float64) for leaf in leaves)
