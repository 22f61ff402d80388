"""Where the loss bends most: extreme eigenvectors of the Hessian, found without the Hessian.

A Hessian-vector product is the derivative of the gradient along v, forward over reverse,

    H v = d/de grad L(theta + e v) at e = 0

which costs a few gradients. The eigenpairs at the ends of the spectrum come from such products alone (LOBPCG,
Knyazev 2001); "largest" and "smallest" are meant with their sign.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental.sparse.linalg import lobpcg_standard
from jax.flatten_util import ravel_pytree
from jax.sharding import AxisType

from nagviz.landscape.filters import Key, as_key
from nagviz.landscape.parameters import Params, by_path, require_floating
from nagviz.landscape.plane import Plane
from nagviz.landscape.shards import split_of

# (largest, smallest): how many axes are taken from each end of the spectrum.
_ENDS = {"largest": (2, 0), "smallest": (0, 2), "both": (1, 1)}
_WRITTEN_OUT = 64  # parameters up to which the Hessian is made as a matrix: LOBPCG needs more than five an axis
_TOLD = 0.05  # of its eigenvalue: a residual that the label has to tell


def hessian_plane(
    loss: Callable[..., jax.Array],
    params: Params,
    *,
    batches: Iterable[Any] | None = None,
    ends: str = "largest",
    key: Key = 0,
    tolerance: float = 1e-4,
    iterations: int = 100,
) -> Plane:
    """The plane of two eigenvectors of the loss's Hessian, by default those of the two largest eigenvalues.

    Along such an axis v the loss is L(theta) + a <g, v> + a^2 lambda / 2 + O(a^3).

    Args:
        loss: `loss(params)`, or `loss(params, batch)` with batches, a mean over the batch; twice differentiable.
        params: where the Hessian is taken, and the plane's origin. Computed in float32 at least.
        batches: trees of arrays whose leading axis numbers the samples; weighted by it. All are held on the device.
        ends: "largest" (algebraic), "smallest" (of negative curvature, where there is any), or "both": the largest
            on the first axis and the smallest on the second.
        key: a seed or key for the vectors that the iteration starts from.
        tolerance: stop at residuals |H v - lambda v| of this share of the eigenvalue.
        iterations: stop after so many in any case, of eight products each.

    Returns:
        A plane with orthonormal axes, each turned so that its largest entry is positive, and `.eigenvalues` and
        `.residuals`. A label tells a residual that is more than 5% of its eigenvalue.

    Raises:
        ValueError: fewer than two parameters, complex ones, or none that float; such as are split over processes, or
            over explicit axes of a mesh; an unknown end; no batch; a Hessian that is not finite.

    Example:
        >>> import nagviz as nv
        >>> plane = nv.hessian_plane(lambda w: jnp.sum(jnp.array([1.0, 3.0, 2.0]) * w**2), jnp.ones(3))
        >>> print([round(value, 4) for value in plane.eigenvalues], plane.axes[0])
        [6.0, 4.0] [0. 1. 0.]
        >>> plane.labels[0]
        'Hessian eigenvector (eigenvalue 6)'

    Source: Knyazev (2001); Pearlmutter (1994) for the product.
    """
    require_floating("params", params)
    _require_whole("params", params)
    if ends not in _ENDS:
        raise ValueError(f"ends must be one of {[*_ENDS]}, got {ends!r}")
    wide = jax.tree.map(
        lambda leaf: jnp.asarray(leaf).astype(jnp.promote_types(jnp.result_type(leaf), jnp.float32)), params
    )
    flat, restore = ravel_pytree(wide)
    if flat.size < 2 or jnp.iscomplexobj(flat):
        raise ValueError(
            f"params must be at least two real numbers to have a Hessian plane, got {flat.size} {flat.dtype}"
        )
    groups = jax.device_put(_groups(batches))
    # Data are arguments of what is compiled: constants would be copied into the program.
    product = jax.jit(partial(_product, loss, restore))
    search = jax.jit(partial(_search, product, iterations, tolerance / (20 * flat.size)))
    _require_finite(product(flat, groups, jnp.ones((flat.size, 1), flat.dtype)))
    if flat.size <= _WRITTEN_OUT:
        vectors = _of_matrix(np.asarray(product(flat, groups, jnp.eye(flat.size, dtype=flat.dtype))), *_ENDS[ends])
    else:
        keys = jax.random.split(as_key(key)[0])
        starts = [jax.random.normal(k, (flat.size, n), flat.dtype) for k, n in zip(keys, _ENDS[ends], strict=True)]
        vectors = np.concatenate(
            [search(flat, groups, sign, start) for sign, start in zip((1, -1), starts, strict=True) if start.size],
            axis=1,
        )
    return _plane(params, vectors, np.asarray(product(flat, groups, vectors)), restore)


class Curvatures(NamedTuple):
    """The largest eigenvalues of the Hessian along a path."""

    values: np.ndarray  # (points, count) falling in each row; NaN where the Hessian is not finite
    residuals: np.ndarray  # (points, count): |H v - lambda v|


def curvatures(
    loss: Callable[..., jax.Array],
    points: Params,
    *,
    batches: Iterable[Any] | None = None,
    count: int = 1,
    key: Key = 0,
    tolerance: float = 1e-3,
    iterations: int = 100,
    report: Callable[[], None] = lambda: None,
) -> Curvatures:
    """The largest eigenvalues of the loss's Hessian at each point of a path.

    Each search starts from the eigenvectors of the point before, which on a path of small steps are nearly right, with
    a vector of chance beside them so that one that was small before is not missed.

    Args:
        loss: `loss(params)`, or `loss(params, batch)` with batches, a mean over the batch; twice differentiable.
        points: parameters with one more axis in front of each leaf, in the order of the path.
        batches: trees of arrays whose leading axis numbers the samples; weighted by it. All are held on the device.
        count: eigenvalues of each point.
        key: a seed or key for the vectors that the searches start from.
        tolerance: stop at residuals of this share of the eigenvalue.
        iterations: stop after so many in any case.
        report: called after each point.

    Raises:
        ValueError: complex parameters, none that float, or fewer than `count`; such as are split over processes, or
            over explicit axes of a mesh; no batch.

    Example:
        >>> points = jnp.array([[1.0, 0.0, 0.5], [2.0, 0.0, 0.5]])
        >>> found = curvatures(lambda w: jnp.sum(w**4) / 12, points, count=2)  # the Hessian has w^2 on its diagonal
        >>> print(found.values.round(4).tolist())
        [[1.0, 0.25], [4.0, 0.25]]

    Source: Knyazev (2001); Cohen et al. (2021) for what it shows of training.
    """
    require_floating("points", points)
    _require_whole("points", points)
    wide = jax.tree.map(lambda leaf: jnp.promote_types(jnp.result_type(leaf), jnp.float32), points)
    at = [jax.tree.map(lambda leaf, d, i=i: jnp.asarray(leaf[i], d), points, wide) for i in range(_length(points))]
    flat, restore = ravel_pytree(at[0])
    if not 1 <= count <= flat.size or jnp.iscomplexobj(flat):
        raise ValueError(f"count must be from 1 to the {flat.size} real parameters, got {count} of {flat.dtype}")
    groups = jax.device_put(_groups(batches))
    product = partial(_product, loss, restore)
    find = jax.jit(partial(_along, product, count, iterations, tolerance))
    keys = jax.random.split(as_key(key)[0], len(at) + 1)
    kept = jax.random.normal(keys[0], (flat.size, count), flat.dtype)
    rows = []
    for point, chance in zip(at, keys[1:], strict=True):
        values, residuals, found = find(ravel_pytree(point)[0], groups, kept, chance)
        kept = found if np.all(np.isfinite(found)) else kept
        rows.append((np.asarray(values, np.float64), np.asarray(residuals, np.float64)))
        report()
    return Curvatures(*(np.stack(column) for column in zip(*rows, strict=True)))


def _length(points) -> int:
    return len(jax.tree.leaves(points)[0])


def _along(product, count, iterations, tolerance, flat, groups, kept, key):
    """Eigenvalues, residuals and eigenvectors, the largest first."""
    n = flat.size
    if n <= max(_WRITTEN_OUT, 5 * (count + 1)):  # the search wants more than five times its vectors
        matrix = product(flat, groups, jnp.eye(n, dtype=flat.dtype))
        vectors = jnp.linalg.eigh((matrix + matrix.T) / 2)[1][:, ::-1][:, :count]
    else:
        start = jnp.concatenate([kept, jax.random.normal(key, (n, 1), flat.dtype)], axis=1)
        vectors = _search(product, iterations, tolerance / (20 * n), flat, groups, 1, start)[:, :count]
    images = product(flat, groups, vectors)
    values = jnp.sum(vectors * images, axis=0)
    falling = jnp.argsort(-values)
    values, vectors, images = values[falling], vectors[:, falling], images[:, falling]
    return values, jnp.linalg.norm(images - values * vectors, axis=0), vectors


def _groups(batches) -> list[tuple[Any, np.ndarray]] | None:
    """Batches of equal shapes stacked, with their shares of all samples."""
    if batches is None:
        return None
    held = [jax.tree.map(np.asarray, batch) for batch in batches]
    if not held:
        raise ValueError("batches must hold at least one batch, got none; leave it out for loss(params)")
    alike: dict[Any, list] = {}
    for batch in held:
        leaves, structure = jax.tree.flatten(batch)
        alike.setdefault((structure, *(np.shape(leaf) for leaf in leaves)), []).append(batch)
    sizes = [[len(jax.tree.leaves(batch)[0]) for batch in group] for group in alike.values()]
    total = sum(map(sum, sizes))
    stacked = [jax.tree.map(lambda *leaves: np.stack(leaves), *group) for group in alike.values()]
    return [(tree, np.array(size) / total) for tree, size in zip(stacked, sizes, strict=True)]


def _product(loss, restore, flat, groups, vectors):
    """H V for the (parameters, columns) of V."""

    def on(weight, *batch):
        gradient = jax.grad(lambda point: loss(restore(point), *batch))
        along = jax.vmap(lambda v: jax.jvp(gradient, (flat,), (v,))[1], in_axes=1, out_axes=1)
        return weight * along(vectors)

    if groups is None:
        return on(1)

    def add(so_far, part):
        batch, weight = part
        return so_far + on(weight.astype(flat.dtype), batch), None

    total = jnp.zeros_like(vectors)
    for alike in groups:
        total, _ = jax.lax.scan(add, total, alike)
    return total


def _of_matrix(matrix: np.ndarray, largest: int, smallest: int) -> np.ndarray:
    """Orthonormal columns: from the largest eigenvalue down, then from the smallest up."""
    rising = np.linalg.eigh((matrix + matrix.T) / 2)[1]
    return np.concatenate([rising[:, ::-1][:, :largest], rising[:, :smallest]], axis=1)


def _search(product, iterations, tolerance, flat, groups, sign, start) -> jax.Array:
    """The same of sign H, by LOBPCG; its own bound on residuals is tolerance * 10 n (lambda + |H v|)."""
    return lobpcg_standard(lambda v: sign * product(flat, groups, v), start, iterations, tolerance)[1]


def _require_whole(name: str, tree: Params) -> None:
    """Refuse what cannot be laid out as one vector, of which a search holds several."""
    for path, leaf in by_path(tree).items():
        split = split_of(leaf)
        explicit = AxisType.Explicit in getattr(getattr(split, "mesh", None), "axis_types", ())
        if split is not None and (explicit or not split.is_fully_addressable):
            raise ValueError(
                f"{name}{path} must be whole on one device, since a search lays all parameters out as vectors, got it "
                f"split by {split}; give jax.device_put({name}, jax.devices()[0]), gathered before where it is split "
                "over processes, and a loss of such parameters"
            )


def _require_finite(matrix) -> None:
    if not np.all(np.isfinite(matrix)):
        raise ValueError("loss must have a finite Hessian at params; give a point that training has not lost")


def _plane(params, vectors, images, restore) -> Plane:
    """The record: Rayleigh quotients, residuals, signs."""
    columns = np.asarray(vectors, np.float64)
    columns = columns / np.linalg.norm(columns, axis=0)
    images = images.astype(np.float64)
    values = np.sum(columns * images, axis=0)
    residuals = np.linalg.norm(images - values * columns, axis=0)
    columns = columns * np.sign(np.take_along_axis(columns, np.abs(columns).argmax(0)[None], 0))
    labels = tuple(map(_label, values, residuals))
    axes = tuple(_like(params, restore(jnp.asarray(column, vectors.dtype))) for column in columns.T)
    return Plane(params, axes, labels, eigenvalues=tuple(values.tolist()), residuals=tuple(residuals.tolist()))


def _label(value: float, residual: float) -> str:
    told = f", residual {residual:.2g}" if residual > _TOLD * abs(value) else ""
    return f"Hessian eigenvector (eigenvalue {value:.3g}{told})"


def _like(params, axis):
    return jax.tree.map(lambda leaf, wide: wide.astype(jnp.result_type(leaf)), params, axis)
