"""A loss on a line or a plane: f(a, b) = L(origin + a u + b v)."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from nagviz.landscape.plane import Plane, embed


class Slice(NamedTuple):
    """A loss on a grid over a plane, or along a line."""

    x: np.ndarray  # (columns,), increasing; coordinates along the first axis
    y: np.ndarray | None  # (rows,), likewise along the second; None on a line
    values: np.ndarray  # (rows, columns), float64; (columns,) on a line. NaN and infinity are data
    labels: tuple[str, ...] = ()  # what the axes are
    quantity: str = "loss"  # what the values are


def evaluate(
    loss: Callable[..., jax.Array],
    plane: Plane,
    x: np.ndarray,
    y: np.ndarray | None = None,
    *,
    batches: Iterable[Any] | None = None,
    quantity: str = "loss",
    report: Callable[[int, int], None] = lambda done, total: None,
) -> Slice:
    """Evaluate a loss on a grid: values[i, j] = L(origin + x_j u + y_i v).

    Every point is computed afresh from the plane, in float32 or what the parameters are; batches are
    averaged in float64 with their sizes as weights.

    Args:
        loss: `loss(params)`, or `loss(params, batch)` with batches, a mean over the batch; jit-able.
        plane: a plane, or a line where `y` is left out.
        x: coordinates along the first axis, strictly increasing.
        y: coordinates along the second.
        batches: trees of arrays whose leading axis numbers the samples, each put through `loss` at every
            point. All but the last should have one size: each size is compiled once.
        quantity: the name of what is evaluated, for a colour bar.
        report: called with the number of rows done and their total.

    Returns:
        A slice whose rows follow y and whose columns follow x.

    Raises:
        ValueError: a grid that is empty, not increasing or not finite, or that does not fit the plane; no
            batch; a loss that is no scalar.

    Example:
        >>> import jax.numpy as jnp, nagviz as nv
        >>> plane = nv.Plane(jnp.zeros(2), (jnp.array([1.0, 0.0]), jnp.array([0.0, 1.0])))
        >>> cut = nv.evaluate(lambda w: w[0] + 10 * w[1], plane, [0.0, 1.0, 2.0], [0.0, 1.0])
        >>> print(cut.values)
        [[ 0.  1.  2.]
         [10. 11. 12.]]
    """
    x, y = _axis("x", x), None if y is None else _axis("y", y)
    if len(plane.axes) != (1 if y is None else 2):
        raise ValueError(f"plane must have an axis for each of x and y, got {len(plane.axes)} axes")
    held = [None] if batches is None else list(batches)
    if not held:
        raise ValueError("batches must hold at least one batch, got none; leave it out for loss(params)")
    rows = _grid(x, y)
    values = _mean(_row_function(loss), plane, rows, held, report)
    return Slice(x, y, values if y is not None else values[0], plane.labels, quantity)


def _axis(name: str, coordinates) -> np.ndarray:
    axis = np.asarray(coordinates, np.float64)
    if axis.ndim != 1 or not axis.size or not np.all(np.isfinite(axis)) or np.any(np.diff(axis) <= 0):
        raise ValueError(f"{name} must be a strictly increasing vector of finite numbers, got {coordinates}")
    return axis


def _grid(x: np.ndarray, y: np.ndarray | None) -> np.ndarray:
    """Coordinates as (rows, columns, axes)."""
    if y is None:
        return x[None, :, None]
    return np.stack(np.meshgrid(x, y), axis=-1)


def _row_function(loss):
    """A compiled function of the plane, a row's coordinates and a batch: the loss at each point."""

    @jax.jit
    def row(plane, coordinates, batch):
        def point(c):
            params = embed(plane, c)
            value = loss(params) if batch is None else loss(params, batch)
            if jnp.shape(value) != ():
                raise ValueError(f"loss must return a scalar, got shape {jnp.shape(value)}")
            return value

        return jax.lax.map(point, coordinates)

    return row


def _mean(row_function, plane, rows, batches, report) -> np.ndarray:
    """The mean over batches, weighted by their sizes."""
    sizes = [1 if batch is None else len(jax.tree.leaves(batch)[0]) for batch in batches]
    plane = jax.device_put(plane)
    values = np.zeros(rows.shape[:2])
    for done, coordinates in enumerate(rows, 1):
        for size, batch in zip(sizes, batches, strict=True):
            values[done - 1] += size * np.asarray(row_function(plane, coordinates, batch), np.float64)
        report(done, len(rows))
    return values / sum(sizes)
