"""Planes and lines in parameter space, and the way in and out of their coordinates.

A plane is an origin and two axes u, v shaped like the parameters, not assumed orthonormal. The coordinates c
of a point p are those of the nearest point of the plane; with the Gram matrix G of the axes they solve

    G c = (<u, p - origin>, <v, p - origin>)

and what is left, |p - origin - c_1 u - c_2 v|, is the distance that the plane hides.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from nagviz.landscape.parameters import Params, blocks, leaves_like, require_floating, team_of
from nagviz.landscape.shards import total
from nagviz.landscape.trajectory import Trajectory


@partial(
    jax.tree_util.register_dataclass,
    data_fields=["origin", "axes"],
    meta_fields=["labels", "explained", "eigenvalues", "residuals"],
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
    eigenvalues: tuple[float, ...] = ()  # the loss's curvature along each axis, where it is a Hessian eigenvector
    residuals: tuple[float, ...] = ()  # |H v - eigenvalue v| of each such axis v, |v| = 1


class Projection(NamedTuple):
    """Where points lie in a plane, and how far off it."""

    coordinates: np.ndarray  # (axes,), or (points, axes) for a stacked trajectory; in units of the axes
    residual: np.ndarray  # () or (points,): Euclidean distance from the plane
    steps: np.ndarray | None = None  # (points,) of a trajectory, where they are known
    share: np.ndarray | None = None  # () or (points,): residual / distance from the origin; 0 at the origin
    # Of sum |p - origin|^2 over the finite points: what the first axis explains, what the second one adds.
    explained: tuple[float, ...] = ()


def embed(plane: Plane, coordinates: jax.typing.ArrayLike) -> Params:
    """The parameters at given coordinates: origin + c_1 u + c_2 v.

    Computed in float32, or in the parameters' own type where that is wider.

    Args:
        plane: a plane or a line.
        coordinates: one number an axis, shape (axes,); or a stack of such, (..., axes).

    Returns:
        A tree like the origin, of its dtypes; each leaf stacked as the coordinates are.

    Raises:
        ValueError: not one coordinate an axis; parameters that are whole numbers.

    Example:
        >>> import jax.numpy as jnp, nagviz as nv
        >>> line = nv.Plane(jnp.array([1.0, 1.0]), (jnp.array([0.0, 2.0]),))
        >>> nv.embed(line, (3.0,)).tolist()
        [1.0, 7.0]
        >>> nv.embed(line, [(0.0,), (3.0,)]).tolist()
        [[1.0, 1.0], [1.0, 7.0]]
    """
    coordinates = jnp.asarray(coordinates)
    if coordinates.shape[-1:] != (len(plane.axes),):
        raise ValueError(
            f"coordinates must have shape (..., {len(plane.axes)}), one number for each axis of the plane, "
            f"got {coordinates.shape}"
        )
    require_floating("origin", plane.origin)
    if coordinates.ndim > 1:
        return jax.vmap(partial(embed, plane))(coordinates)

    def leaf(origin, *axes):
        origin = jnp.asarray(origin)
        wide = jnp.promote_types(origin.dtype, jnp.float32)
        moved = origin.astype(wide) + sum(c.astype(wide) * a for c, a in zip(coordinates, axes, strict=True))
        return moved.astype(origin.dtype)

    return jax.tree.map(leaf, plane.origin, *plane.axes)


def project(plane: Plane, params: Params | Trajectory) -> Projection:
    """The coordinates of the nearest points of a plane, and the distances that the plane hides.

    Args:
        plane: a plane or a line; its axes may be skew.
        params: one point (a tree like the origin), stacked points (each leaf with one more axis in front), or
            a `Trajectory`. Leaves may be arrays on disk (see `open_trajectory`), which are read some columns at a
            time, or be split over devices as the plane's are.

    Returns:
        `.coordinates` of shape (axes,) or (points, axes), `.residual` and its share of the distance from the
        origin `.share` of shape () or (points,), float64; `.explained`; `.steps` of a trajectory. A point that is
        not finite has coordinates and distances that are not.

    Raises:
        ValueError: the axes are parallel, zero or not finite, or the tree does not match the plane's.

    Example:
        >>> import jax.numpy as jnp, nagviz as nv
        >>> plane = nv.Plane(jnp.zeros(3), (jnp.array([1.0, 0.0, 0.0]), jnp.array([1.0, 1.0, 0.0])))
        >>> seen = nv.project(plane, jnp.array([3.0, 2.0, 6.0]))
        >>> print(seen.coordinates, seen.residual, seen.share.round(3))
        [1. 2.] 6.0 0.857
    """
    steps, params = params if isinstance(params, Trajectory) else (None, params)
    points, stacked = leaves_like(plane.origin, params)
    count = 1 if stacked is None else stacked
    trees = ((points, count), *_plane_trees(plane))
    team = team_of(*trees)
    metric = gram(plane)
    with np.errstate(invalid="ignore", over="ignore"):  # points that are not finite are data
        inner, squares, hidden = np.zeros((count, len(plane.axes))), np.zeros(count), np.zeros(count)
        for difference, axes in _differences(*trees):
            inner = inner + difference @ axes.T
            squares = squares + np.sum(difference**2, axis=1)
        inner, squares = total(team, inner), total(team, squares)
        coordinates = np.linalg.solve(metric, inner.T).T
        # Not by Pythagoras from the sums above: a small residual would drown in their rounding.
        for difference, axes in _differences(*trees):
            hidden = hidden + np.sum((difference - coordinates @ axes) ** 2, axis=1)
        hidden = total(team, hidden)
    share = np.sqrt(np.divide(hidden, squares, out=np.zeros_like(squares), where=squares != 0))
    seen = (coordinates, np.sqrt(hidden), share)
    coordinates, residual, share = seen if stacked is not None else (field[0] for field in seen)
    return Projection(coordinates, residual, steps, share, explained_by(metric, *seen[:2]))


def _differences(points, origin, *axes) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Points less origin (points, columns) and the axes (axes, columns), some columns at a time."""
    for point, start, *along in blocks(points, origin, *axes):
        yield point - start, np.concatenate(along)


def explained_by(metric: np.ndarray, coordinates: np.ndarray, residual: np.ndarray) -> tuple[float, ...]:
    """Shares of the squared distances along the axes, made orthonormal in their order: metric = L L'.

    Args:
        metric: of `gram`.
        coordinates: (points, axes).
        residual: (points,); what is not finite is left out.
    """
    finite = np.isfinite(residual) & np.isfinite(coordinates).all(axis=1)
    along = np.sum((np.linalg.cholesky(metric).T @ coordinates[finite].T) ** 2, axis=1)
    total = along.sum() + np.sum(residual[finite] ** 2)
    return tuple((along / total).tolist()) if total > 0 else (0.0,) * len(along)


def gram(plane: Plane) -> np.ndarray:
    """The inner products of a plane's axes, which is also the check that they span it.

    The distance between two points of the plane whose coordinates differ by c is sqrt(c' G c).

    Returns:
        (axes, axes), float64.

    Raises:
        ValueError: an axis that is no tree like the origin (the first differing path is named), is not finite or
            zero; axes that are parallel; an origin that is not finite.

    Example:
        >>> import jax.numpy as jnp, nagviz as nv
        >>> print(nv.gram(nv.Plane(jnp.zeros(2), (jnp.array([1.0, 0.0]), jnp.array([1.0, 2.0])))))
        [[1. 1.]
         [1. 5.]]
    """
    return spanned(plane, "plane.axes")


def spanned(plane: Plane, name: str, origin: str = "plane.origin") -> np.ndarray:
    """The inner products of the axes, under the names that they and the origin have for whoever gave them."""
    if not plane.axes:
        raise ValueError(f"{name} must hold one axis (a line) or two, got none")
    trees, lost = _plane_trees(plane, name, origin), np.zeros(1)
    products, team = np.zeros((len(plane.axes),) * 2), team_of(*trees)
    with np.errstate(invalid="ignore", over="ignore"):
        for centre, *axes in blocks(*trees):
            stacked = np.concatenate(axes)
            products = products + stacked @ stacked.T
            lost += np.sum(~np.isfinite(centre))
        products = total(team, products)
    if total(team, lost):
        raise ValueError(f"{origin} must be finite; cut through a point that training has not lost")
    _require_independent(products, name)
    return products


def _plane_trees(plane: Plane, name: str = "plane.axes", origin: str = "plane.origin") -> list[tuple[list, int]]:
    """The leaves of the origin and the axes, each one point."""
    parts = {origin: plane.origin} | {f"{name}[{i}]": axis for i, axis in enumerate(plane.axes)}
    trees = []
    for part, tree in parts.items():
        leaves, stacked = leaves_like(plane.origin, tree, part, origin)
        if stacked is not None:
            raise ValueError(f"{part} must have the shapes of {origin}, got one axis more in every leaf")
        trees.append((leaves, 1))
    return trees


def _require_independent(products: np.ndarray, name: str) -> None:
    lengths = np.sqrt(np.diag(products))
    if not np.all(lengths > 0) or not np.all(np.isfinite(products)):
        raise ValueError(f"{name} must be finite and not zero, got lengths {lengths.tolist()}")
    # float32 axes that are multiples of one another have a cosine within 1e-7 of 1, so a sine below 1e-3.
    cosines = products / np.outer(lengths, lengths)
    if np.linalg.eigvalsh(cosines)[0] < 1e-7:
        raise ValueError(
            f"{name} must not be parallel: their cosine is {cosines[0, -1]:.9f}; give a line, or another second axis"
        )
